"""What tests of testbeds need: EnOSlib's environment where it is installed, homes and ledgers of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estran.platforms.testbeds.environment import VARIABLE, environment_folder, install_command, installed

HERE = environment_folder()
"""Before any test changes the home."""


def missing(provider: str) -> str | None:
    """Why tests with a provider cannot be made here; None if they can."""
    found = installed()
    if found is None:
        return f"EnOSlib is not in {HERE}: `{install_command(provider)}`"
    return None if found.provides(provider) else f"EnOSlib is in {HERE} without {provider}: `{install_command(provider)}`"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, with EnOSlib's environment as it was found."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(VARIABLE, str(HERE))
    for name in os.environ:
        if name.startswith(("OS_", "IOTLAB_")):
            monkeypatch.delenv(name)
    return home
