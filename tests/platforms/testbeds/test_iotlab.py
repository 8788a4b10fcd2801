"""EnOSlib's own provider for FIT IoT-LAB, and iotlabcli, against an API on this machine."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estran.errors import EstranError, PlatformError
from estran.platforms.testbeds.environment import VARIABLE
from estran.platforms.testbeds.inventory import Machine
from estran.platforms.testbeds.ledger import entries
from estran.platforms.testbeds.models import IotLabFile
from estran.platforms.testbeds.provisioning import ProvisionError, provision
from estran.platforms.testbeds.reservation import reserved
from tests.platforms.testbeds.conftest import hurrying, missing
from tests.platforms.testbeds.fake_api import PASSWORD, USER, Fault
from tests.platforms.testbeds.fake_iotlab import FakeIotLab
from tests.platforms.testbeds.nodes import GATE, NEEDS, nodes

pytestmark = pytest.mark.skipif(bool(missing("iotlab")), reason=str(missing("iotlab")))
M3, A8 = {"archi": "m3:at86rf231", "site": "grenoble"}, {"archi": "a8:at86rf231", "site": "grenoble"}


@pytest.fixture
def api(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIotLab]:
    with FakeIotLab() as api:
        monkeypatch.setenv("IOTLAB_API_URL", f"{api.url}/api/")
        credentials(home, PASSWORD)
        yield api


def credentials(home: Path, password: str) -> None:
    (home / ".iotlabrc").write_text(f"{USER}:{base64.b64encode(password.encode()).decode()}")


def asked(**changes: Any) -> IotLabFile:
    base = {"platform": "testbed", "provider": "iotlab", "job": "tide", "walltime": "20min", "wait": "30s", "patience": "5s"}
    return IotLabFile.model_validate(base | {"layers": {"edge": {**M3, "nodes": 2}}} | changes)


async def refused(file: IotLabFile) -> EstranError:
    with pytest.raises(PlatformError) as raised:
        async with reserved(file):
            pass
    return raised.value


async def test_microcontrollers_are_flashed_listed_and_what_they_cannot_is_said(api: FakeIotLab, tmp_path: Path) -> None:
    firmware = tmp_path / "blink.elf"
    firmware.write_bytes(b"\x7fELF firmware")
    layers = {"edge": {**M3, "nodes": 2, "image": str(firmware)}}
    api.faults = [Fault("POST", "/experiments$", 503, after=True), Fault("POST", "/flash$", 502)]
    async with reserved(asked(layers=layers)) as inventory:
        assert [(node.name, node.layer, node.state) for node in inventory.idle] == [
            ("m3-1.grenoble.iot-lab.info", "edge", "Alive"),
            ("m3-2.grenoble.iot-lab.info", "edge", "Alive"),
        ]
        assert "no service can run on it" in inventory.idle[0].why
        assert not inventory.hosts
        assert inventory.ends_at == pytest.approx(time.time() + 1200, abs=60)
        assert len(api.alive()) == 1
    assert set(api.flashed) == {"m3-1.grenoble.iot-lab.info", "m3-2.grenoble.iot-lab.info"}
    assert len(api.experiments) == 1, "the experiment whose answer was lost was submitted again"
    assert not api.alive()
    assert not entries()


async def test_boards_that_take_no_firmware_are_named(api: FakeIotLab, tmp_path: Path) -> None:
    firmware = tmp_path / "blink.elf"
    firmware.write_bytes(b"\x7fELF firmware")
    api.dull = {"m3-2.grenoble.iot-lab.info"}
    error = await refused(asked(layers={"edge": {**M3, "nodes": 3, "image": str(firmware)}}))
    assert "edge 2 of 3; not usable: m3-2.grenoble" in str(error)
    assert not api.alive()


async def test_boards_that_do_not_boot_are_named(api: FakeIotLab, tmp_path: Path) -> None:
    request = {
        **asked(layers={"edge": A8}).request(),
        "boot": 1,
        "undo": True,
    }  # the name of the board's site leads nowhere from here
    with pytest.raises(ProvisionError, match=r"edge 0 of 1; not usable: a8-1\.grenoble"):
        await provision("reserve", request, tmp_path / "log", print)
    assert not api.alive()


@pytest.mark.parametrize(
    ("changes", "settings", "kind", "words"),
    [
        ({"layers": {"edge": {**M3, "nodes": 9}}}, {}, "no-resources", "not enough resources"),
        (
            {"layers": {"edge": {"boards": ["m3-1.grenoble.iot-lab.info"]}}},
            {"refusal": "Invalid nodes state : [m3-1.grenoble.iot-lab.info]"},
            "no-resources",
            "m3-1.grenoble",
        ),
        ({}, {"begins": time.time() + 7200}, "too-late", "would begin at"),
        ({}, {"fate": "Error"}, "job-ended", "'Error'"),
        ({}, {"broken": {"m3-2.grenoble.iot-lab.info"}}, "partial", "edge 1 of 2; not usable: m3-2"),
    ],
    ids=["too many", "dead board", "busy", "error", "broken"],
)
async def test_what_cannot_be_had_is_said_and_nothing_is_left(
    api: FakeIotLab, changes: dict[str, Any], settings: dict[str, Any], kind: str, words: str
) -> None:
    for name, value in settings.items():
        setattr(api, name, value)
    error = await refused(asked(**changes))
    assert isinstance(error, ProvisionError)
    assert (error.kind, words in str(error)) == (kind, True), str(error)
    assert not api.alive()
    assert not entries()


@pytest.mark.parametrize("password", ["guess", None])
async def test_bad_credentials_are_said_without_telling_them(api: FakeIotLab, home: Path, password: str | None) -> None:
    if password is None:
        (home / ".iotlabrc").unlink()
    else:
        credentials(home, password)
    error = await refused(asked())
    assert isinstance(error, ProvisionError)
    assert error.kind == "credentials"
    assert "guess" not in str(error)


@pytest.mark.root
@pytest.mark.skipif(NEEDS is not None, reason=str(NEEDS))
async def test_boards_with_linux_are_hosts_behind_the_gate_of_their_site(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["grenoble.iot-lab.info", "node-a8-1.grenoble.iot-lab.info"]
    with nodes(tmp_path / "nodes", names) as made, FakeIotLab(GATE) as api:
        (home / ".ssh").symlink_to(made.folder / "ssh")
        hurrying(home / "environment", made.within)
        monkeypatch.setenv(VARIABLE, str(home / "environment"))
        monkeypatch.setenv("IOTLAB_API_URL", f"{api.url}/api/")
        credentials(home, PASSWORD)
        async with reserved(asked(layers={"edge": A8, "sensors": M3})) as inventory:
            (host,) = inventory.hosts
            assert [node.layer for node in inventory.idle] == ["sensors"]
            jump = ("root@grenoble.iot-lab.info",)
            assert host == Machine("a8-1.grenoble.iot-lab.info", "edge", names[1], "root", jump=jump)
            done = made.run("ssh", "-J", host.jump[0], f"{host.user}@{host.address}", "echo reached")
            assert done.stdout == "reached\n", done.stderr
        assert not api.alive()
