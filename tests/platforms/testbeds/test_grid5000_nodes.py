"""EnOSlib's own provider for Grid'5000 to the end: nodes are reached over SSH, become root's, are deployed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estran.platforms.testbeds.environment import VARIABLE
from estran.platforms.testbeds.inventory import Machine
from estran.platforms.testbeds.ledger import entries
from estran.platforms.testbeds.provisioning import ProvisionError
from estran.platforms.testbeds.reservation import release, reserved
from tests.platforms.testbeds.conftest import hurrying, missing
from tests.platforms.testbeds.fake_g5k import FakeGrid5000
from tests.platforms.testbeds.nodes import GATE, NEEDS, Nodes, nodes
from tests.platforms.testbeds.test_grid5000 import asked, credentials

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing("g5k")), reason=str(missing("g5k"))),
    pytest.mark.skipif(NEEDS is not None, reason=str(NEEDS)),
]
AZUR = [f"azur-{n}.midi.grid5000.fr" for n in (1, 2)]


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    names = [*AZUR, "craie-1.nord.grid5000.fr", "azur-3-kavlan-4.midi.grid5000.fr"]
    with nodes(tmp_path_factory.mktemp("nodes") / "it", names) as made:
        yield made


@pytest.fixture
def api(home: Path, reachable: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGrid5000]:
    (home / ".ssh").symlink_to(reachable.folder / "ssh")
    hurrying(home / "environment", reachable.within)
    monkeypatch.setenv(VARIABLE, str(home / "environment"))
    with FakeGrid5000(GATE) as api:
        credentials(home, api)
        yield api


async def test_nodes_become_hosts_are_kept_taken_over_and_released(api: FakeGrid5000, reachable: Nodes) -> None:
    async with reserved(asked(keep=True)) as inventory:
        assert inventory.layer("cloud") == [Machine(name, "cloud", name, "root") for name in AZUR]
        assert [job["state"] for job in inventory.jobs] == ["running"]
        assert inventory.ends_at == pytest.approx(api.jobs[1000]["started_at"] + 3600)
        assert (reachable.folder / "granted").read_text().startswith("ssh-ed25519")
        done = reachable.run("ssh", AZUR[0], "echo reached")
        assert done.stdout == "reached\n", done.stderr
    async with reserved(asked(keep=True)) as again:
        assert again.hosts == inventory.hosts
    assert [job["uid"] for job in api.alive()] == [1000]
    assert await release("tide") == ["job 1000 on midi"]
    assert not api.alive()
    assert not entries()


async def test_nodes_of_two_sites_are_reserved_and_given_back_together(api: FakeGrid5000) -> None:
    layers: dict[str, Any] = {"edge": {"servers": ["craie-1.nord.grid5000.fr"]}, "cloud": {"cluster": "azur"}}
    async with reserved(asked(layers=layers)) as inventory:
        assert {host.layer: host.name for host in inventory.hosts} == {"edge": "craie-1.nord.grid5000.fr", "cloud": AZUR[0]}
        assert {job["site"] for job in inventory.jobs} == {"midi", "nord"}
    assert not api.alive()
    assert not entries()


async def test_deployed_nodes_in_a_vlan_are_reached_by_their_name_there(api: FakeGrid5000) -> None:
    layers = {"cloud": {"servers": ["azur-3.midi.grid5000.fr"], "network": "kavlan"}}
    async with reserved(asked(layers=layers, env="debian12-min")) as inventory:
        assert inventory.hosts == (
            Machine("azur-3-kavlan-4.midi.grid5000.fr", "cloud", "azur-3-kavlan-4.midi.grid5000.fr", "root"),
        )
    (deployment,) = api.deployments.values()
    assert (deployment["environment"], deployment["vlan"]) == ("debian12-min", "4")
    assert deployment["key"].startswith("ssh-ed25519")


async def test_fewer_deployed_nodes_than_asked_for_are_given_back(api: FakeGrid5000) -> None:
    api.broken = {AZUR[1]}
    with pytest.raises(ProvisionError, match="cloud 1 of 2; not usable: azur-2") as raised:
        async with reserved(asked(env="debian12-min")):
            pass
    assert raised.value.kind == "partial"
    assert len(api.deployments) == 3, "EnOSlib tries three times"
    assert not api.alive()
