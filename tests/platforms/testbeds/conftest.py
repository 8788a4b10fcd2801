"""What tests of testbeds need: EnOSlib's environment where it is installed, homes and ledgers of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from estran.platforms.testbeds.environment import ENOSLIB, MARK, VARIABLE, environment_folder, install_command, installed

HERE = environment_folder()
FOUND = installed()
"""Before any test changes the home."""
HURRY = "import sys, time; sleep = time.sleep; time.sleep = lambda s: sleep(min(s, 0.05)); exec(sys.argv.pop(1))"
"""EnOSlib looks every few seconds; an API on this machine has its answer at once."""


def missing(provider: str) -> str | None:
    """Why tests with a provider cannot be made here; None if they can."""
    found = installed()
    if found is None:
        return f"EnOSlib is not in {HERE}: `{install_command(provider)}`"
    return None if found.provides(provider) else f"EnOSlib is in {HERE} without {provider}: `{install_command(provider)}`"


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Where ssh keeps connections open: a path of a socket has 107 characters at the most, which folders of tests come near."""
    with TemporaryDirectory(prefix="cp-") as folder:
        yield Path(folder)


@pytest.fixture
def home(tmp_path: Path, sockets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, with EnOSlib's environment as it was found, in a hurry."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", str(sockets))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in list(os.environ):
        if name.startswith(("OS_", "IOTLAB_")):
            monkeypatch.delenv(name)
    hurrying(tmp_path / "environment")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "environment"))
    return home


def hurrying(folder: Path, within: str = "") -> None:
    """Make an environment of which the Python is that of `HERE`, called by ``within``, and does not sleep long."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {within} {HERE}/bin/python -I -c \'{HURRY}\' "$3" "$4"\n')
    python.chmod(0o755)
    (folder / MARK).write_text(json.dumps({"enoslib": ENOSLIB, "extras": sorted(FOUND.extras) if FOUND else []}))
