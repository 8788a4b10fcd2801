"""Run folders, and the server over them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import browser
from tests.report.synthetic import Scene, fail, hostile, write_run

from .served import Served, served

__all__ = ["browser"]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs of each kind, and of one study; tests add to it only what they remove."""
    root = tmp_path_factory.mktemp("watched")
    done = write_run(root / "runs" / "visual-inspection" / "done", Scene(duration=8), started="2026-11-23T18:45:03Z")
    fail(shutil.copytree(done, done.with_name("failed")))
    hostile(shutil.copytree(done, done.with_name("hostile")))
    write_run(root / "runs" / "visual-inspection" / "other", Scene(duration=8, seed=7), started="2026-11-23T18:45:01Z")
    write_study(root / "studies" / "placements", done)
    return root


def write_study(folder: Path, run: Path) -> Path:
    """A study of four rows, of which two are done and one goes on."""
    asked: dict[str, Any] = {
        "experiment": "visual-inspection", "file": "experiment.yaml", "digest": "0", "on": "emulate", "calibration": None,
        "overrides": [], "design": "full", "samples": None, "replicates": 2, "seed": 42, "retries": 1,
        "factors": {"placement": ["fog", "edge"]}, "engine": "local", "engine_options": [], "schema": 1,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(asked))
    (folder / "design.csv").write_text("run,block,point,seed,placement\n1,1,1,42,fog\n2,1,2,42,edge\n3,2,1,43,fog\n4,2,2,43,edge\n")
    (folder / "explain.html").write_text("<!doctype html><title>x</title><script>document.title = 'explained'</script>")
    for name, status in (("1-1", "failed"), ("1-2", "done"), ("2-1", "done"), ("3-1", "running")):
        shutil.copytree(run, folder / "runs" / name)
        document = json.loads((run / "run.json").read_text()) | {"id": f"study-{name}", "status": status}
        (folder / "runs" / name / "run.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Served]:
    """A server over all of them, entered."""
    with served([root]) as one:
        one.enter()
        yield one
