from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reproduce.experiments import simulated_run, simulated_study


@pytest.fixture(scope="session")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def _study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def run(_run: Path) -> Path:
    """The folder of a finished run, not to be changed."""
    return _run


@pytest.fixture
def study(_study: Path) -> Path:
    """The folder of a finished study of four runs, not to be changed."""
    return _study


@pytest.fixture
def own_run(_run: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of a finished run with its experiment beside it, to be changed."""

    def copy() -> Path:
        home = _run.parents[2]
        shutil.copytree(home, tmp_path / "copy")
        folder = tmp_path / "copy" / _run.relative_to(home)
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace(str(home), str(tmp_path / "copy")))
        record = json.loads((folder / "run.json").read_text())
        record["artefacts"].pop("manifest.json")  # it says now where the copy is
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return copy
