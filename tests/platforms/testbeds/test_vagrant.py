"""EnOSlib's own provider for Vagrant with a stand-in for the program, which makes no machines but remembers what it was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.testbeds.inventory import Machine
from estran.platforms.testbeds.ledger import entries, ledger_folder
from estran.platforms.testbeds.models import VagrantFile
from estran.platforms.testbeds.reservation import reserved
from tests.platforms.testbeds.conftest import missing

pytestmark = pytest.mark.skipif(bool(missing("vagrant")), reason=str(missing("vagrant")))
PROGRAM = """#!/bin/sh
echo "$*" >> {log}
case "$1" in
  ssh-config) printf 'Host %s\\n  HostName 192.0.2.7\\n  User root\\n  Port 2222\\n  IdentityFile /keys/%s\\n' "$2" "$2" ;;
  status) printf '1,edge,state,running\\n' ;;
  up) {up} ;;
esac
"""


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, up: str = "true") -> Path:
    log = folder / "told"
    (folder / "bin").mkdir()
    (folder / "bin" / "vagrant").write_text(PROGRAM.format(log=log, up=up))
    (folder / "bin" / "vagrant").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return log


def asked() -> VagrantFile:
    layers = {"edge": {"cores": 2, "memory": 1024, "nodes": 2}}
    return VagrantFile.model_validate({"platform": "testbed", "provider": "vagrant", "job": "tide", "layers": layers})


async def test_machines_are_started_and_destroyed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = program(tmp_path, monkeypatch)
    async with reserved(asked()) as inventory:
        names = ["tide-edge-1", "tide-edge-2"]
        assert list(inventory.hosts) == [Machine(name, "edge", "192.0.2.7", "root", 2222, f"/keys/{name}") for name in names]
        (written,) = ledger_folder().glob("vagrant-tide/Vagrantfile")
        text = written.read_text()
        assert "generic/debian12" in text
        assert "1024" in text
    told = log.read_text().splitlines()
    assert [line.split()[0] for line in told if line.split()[0] in ("up", "destroy")] == ["up", "destroy"]
    assert not list(ledger_folder().glob("vagrant-tide"))
    assert not entries()


async def test_machines_that_do_not_start_are_destroyed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = program(tmp_path, monkeypatch, up="exit 1")
    with pytest.raises(PlatformError, match="vagrant"):
        async with reserved(asked()):
            pass
    assert "destroy" in log.read_text()
    assert not entries()


async def test_without_the_program_it_is_said(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlatformError, match="no program vagrant"):
        async with reserved(asked()):
            pass
    assert not entries()
