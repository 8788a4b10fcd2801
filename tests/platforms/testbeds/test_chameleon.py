"""EnOSlib's own providers for Chameleon, and OpenStack's clients, against a site on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estran.errors import EstranError, PlatformError
from estran.platforms.testbeds.ledger import entries
from estran.platforms.testbeds.models import CloudFile
from estran.platforms.testbeds.provisioning import ProvisionError
from estran.platforms.testbeds.reservation import reserved
from tests.platforms.testbeds.conftest import missing
from tests.platforms.testbeds.fake_api import Fault
from tests.platforms.testbeds.fake_openstack import RC, SECRET, FakeOpenStack

pytestmark = pytest.mark.skipif(bool(missing("chameleon")), reason=str(missing("chameleon")))
SKYLAKE, MEDIUM = {"flavour": "compute_skylake"}, {"flavour": "m1.medium"}


@pytest.fixture
def api(home: Path) -> Iterator[FakeOpenStack]:
    with FakeOpenStack() as api:
        (home / "rc.sh").write_text(RC.format(url=api.url, secret=SECRET))
        yield api


@pytest.fixture
def base(home: Path) -> dict[str, Any]:
    shared = {"network": "sharednet1", "subnet": "sharednet1-subnet", "key_name": "mine", "rc_file": str(home / "rc.sh")}
    return {"platform": "testbed", "provider": "chameleon", "job": "tide", "wait": "30s", "patience": "5s", **shared}


async def refused(file: CloudFile) -> EstranError:
    with pytest.raises(PlatformError) as raised:
        async with reserved(file):
            pass
    return raised.value


async def test_leased_nodes_are_hosts_behind_one_public_address(api: FakeOpenStack, base: dict[str, Any]) -> None:
    api.servers["old"] = {"id": "old", "name": "enos-of-somebody-else-0", "status": "ACTIVE", "addresses": {}, "links": []}
    api.faults = [Fault("POST", "/leases$", 503, after=True)]
    async with reserved(CloudFile.model_validate(base | {"layers": {"cloud": {**SKYLAKE, "nodes": 2}}})) as inventory:
        assert [(host.layer, host.user, host.jump) for host in inventory.hosts] == [("cloud", "cc", ("cc@192.5.87.1",))] * 2
        assert len({host.address for host in inventory.hosts}) == 2
        assert inventory.ends_at == pytest.approx(time.time() + 7200, abs=120)
        (lease,) = api.leases.values()
        assert {server["hints"]["reservation"] for name, server in api.servers.items() if name != "old"} == {f"{lease['id']}-r"}
    assert list(api.servers) == ["old"], "what others made is not ours to delete"
    assert not api.leases
    assert not entries()


async def test_virtual_machines_start_anew_after_half_a_start(api: FakeOpenStack, base: dict[str, Any]) -> None:
    api.faults = [Fault("GET", "/servers/server-1$", 200, times=0), Fault("POST", "/servers$", 503, after=True)]
    layers = {"edge": MEDIUM, "cloud": {**MEDIUM, "nodes": 2}}
    async with reserved(CloudFile.model_validate(base | {"provider": "chameleon-kvm", "layers": layers})) as inventory:
        assert sorted(host.layer for host in inventory.hosts) == ["cloud", "cloud", "edge"]
        assert len(api.servers) == 3
    assert not api.servers


@pytest.mark.parametrize(
    ("changes", "settings", "kind", "words"),
    [
        ({"layers": {"cloud": {**SKYLAKE, "nodes": 9}}}, {}, "no-resources", "Not enough hosts"),
        ({"layers": {"cloud": SKYLAKE}}, {"fate": "ERROR"}, "job-ended", "ERROR"),
        ({"layers": {"cloud": SKYLAKE}}, {"later": 7200.0}, "too-late", "would begin at"),
        ({"layers": {"cloud": SKYLAKE}, "image": "CC-Lost"}, {}, "configuration", "CC-Lost"),
        ({"provider": "openstack", "layers": {"cloud": {"flavour": "m9"}}}, {}, "configuration", "baremetal, m1.medium"),
        ({"provider": "openstack", "layers": {"cloud": {**MEDIUM, "nodes": 2}}}, {"capacity": 1}, "no-resources", "No valid host"),
    ],
    ids=["no such nodes", "lease in error", "busy", "no image", "no flavour", "full"],
)
async def test_what_cannot_be_had_is_said_and_nothing_is_left(
    api: FakeOpenStack, base: dict[str, Any], changes: dict[str, Any], settings: dict[str, Any], kind: str, words: str
) -> None:
    for name, value in settings.items():
        setattr(api, name, value)
    error = await refused(CloudFile.model_validate(base | changes))
    assert isinstance(error, ProvisionError)
    assert (error.kind, words in str(error)) == (kind, True), str(error)
    assert not api.servers
    assert not [lease for lease in api.leases.values() if lease["status"] != "ERROR"]
    assert not entries()


@pytest.mark.parametrize("secret", ["guess", None])
async def test_bad_credentials_are_said_without_telling_them(
    api: FakeOpenStack, base: dict[str, Any], home: Path, secret: str | None
) -> None:
    (home / "rc.sh").unlink()
    if secret is not None:
        (home / "rc.sh").write_text(RC.format(url=api.url, secret=secret))
    error = await refused(CloudFile.model_validate(base | {"layers": {"cloud": SKYLAKE}}))
    assert isinstance(error, ProvisionError)
    assert error.kind == "credentials"
    assert "guess" not in str(error)
