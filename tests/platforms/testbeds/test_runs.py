"""Whole runs on reserved nodes by the command line: what the testbed does wrong, and that nodes are given back all the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from estran.platforms.testbeds.environment import VARIABLE
from tests.platforms.testbeds.conftest import hurrying, missing
from tests.platforms.testbeds.fake_api import Fault
from tests.platforms.testbeds.fake_g5k import FakeGrid5000
from tests.platforms.testbeds.nodes import GATE, NEEDS, Nodes, nodes
from tests.platforms.testbeds.test_grid5000 import credentials
from tests.platforms.testbeds.test_source import EXPERIMENT, FILE, NAMES
from tests.run.experiments import PARTS, estran, record, run_folder, start, wait_for_phase

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing("g5k")), reason=str(missing("g5k"))),
    pytest.mark.skipif(NEEDS is not None, reason=str(NEEDS)),
]


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes(tmp_path_factory.mktemp("nodes") / "it", NAMES) as made:
        yield made


@pytest.fixture
def api(home: Path, reachable: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGrid5000]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    hurrying(home / "environment")
    monkeypatch.setenv(VARIABLE, str(home / "environment"))
    (home / ".ssh").symlink_to(reachable.folder / "ssh")
    with FakeGrid5000(GATE) as api:
        credentials(home, api)
        yield api


def prepare(folder: Path, *, duration: str = "1s", more: str = "") -> None:
    """Write an experiment and the platform file."""
    (folder / "parts.py").write_text(PARTS)
    (folder / "experiment.yaml").write_text(EXPERIMENT.replace("duration: 1.5s", f"duration: {duration}"))
    (folder / "tide.yaml").write_text(more + FILE.format(python=sys.executable))


def run(folder: Path, reachable: Nodes, *options: str, duration: str = "1s", more: str = "") -> subprocess.CompletedProcess[str]:
    """Run on nodes; the command line is where their names are known."""
    prepare(folder, duration=duration, more=more)
    argv = ("run", "experiment.yaml", "--on", "tide.yaml", *options)
    return estran(*argv, cwd=folder, timeout=400, through=[reachable.within])


def failure(done: subprocess.CompletedProcess[str], folder: Path, phase: str) -> str:
    """The one line that says why a run failed; it has a remedy, and nobody sees a traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    found = record(folder)
    assert (found["status"], found["failure"]["phase"]) == ("failed", phase), found["failure"]
    assert found["failure"]["remedy"]
    assert "\n" not in found["failure"]["what"]
    return str(found["failure"]["what"])


def test_an_api_that_falters_is_borne_and_one_that_stays_away_at_the_end_is_told(
    api: FakeGrid5000, reachable: Nodes, tmp_path: Path
) -> None:
    api.faults = [
        Fault("GET", "/sites$", 429, times=2),
        Fault("POST", "/jobs$", 503, after=True),
        Fault("DELETE", "/jobs/", 500, times=10_000),
    ]
    done = run(tmp_path, reachable, more="patience: 3s\n")
    what = failure(done, tmp_path, "give back")
    assert "nodes could not be given back" in what
    assert "500" in what
    assert "429" in done.stderr, "nobody was told that the API falters"
    assert json.loads((run_folder(tmp_path) / "responses.json").read_text())["throughput"]["n"] > 10, "what was measured is lost"
    assert len(api.alive()) == 2, "a job whose answer was lost was submitted again"
    api.faults = []
    cleaned = estran("clean", cwd=tmp_path)
    assert "g5k-tide: gave back job" in cleaned.stdout
    assert not api.alive()


def test_a_reservation_is_kept_until_it_is_released(api: FakeGrid5000, reachable: Nodes, tmp_path: Path) -> None:
    done = run(tmp_path, reachable, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path)["kept"] == ["tide on g5k is kept for later runs; `estran testbeds release tide` gives it back"]
    assert len(api.alive()) == 2
    assert not estran("clean", cwd=tmp_path).stdout
    assert len(api.alive()) == 2, "clean has given back what is kept"
    estran("testbeds", "release", "tide", cwd=tmp_path)
    assert not api.alive()


def test_jobs_that_the_testbed_ends_are_told_and_what_was_measured_is_kept(
    api: FakeGrid5000, reachable: Nodes, tmp_path: Path
) -> None:
    prepare(tmp_path, duration="60s")
    process = start("run", "experiment.yaml", "--on", "tide.yaml", cwd=tmp_path, through=[reachable.within])
    wait_for_phase(tmp_path, "measure", 300)
    time.sleep(1)
    for job in api.alive():
        job["state"] = "terminated"  # as a besteffort job whose nodes somebody else wants
    reachable.cut()
    said, _ = process.communicate(timeout=120)
    what = failure(subprocess.CompletedProcess([], process.returncode, said, ""), tmp_path, "measure")
    assert what.startswith("the testbed has ended job ")
    assert all(f" on {site}" in what for site in ("midi", "nord"))
    assert json.loads((run_folder(tmp_path) / "responses.json").read_text())["throughput"]["n"] > 10


def test_without_an_api_nothing_runs_and_nothing_stays_reserved(api: FakeGrid5000, reachable: Nodes, tmp_path: Path) -> None:
    api.faults = [Fault("GET", "/clusters$", 429, times=10_000)]
    done = run(tmp_path, reachable, more="patience: 0s\n")
    assert "the testbed's API keeps answering 429" in failure(done, tmp_path, "provision")
    assert not api.alive()


@pytest.mark.alone
def test_the_end_of_the_walltime_is_told_and_what_was_measured_is_kept(api: FakeGrid5000, reachable: Nodes, tmp_path: Path) -> None:
    for left in (15, 60, 240):  # how long it takes to come to the measurement depends on the machine
        api.elapsed = 3600 - left
        folder = tmp_path / str(left)
        folder.mkdir()
        done = run(folder, reachable, duration="300s")
        if record(folder)["failure"]["phase"] == "measure":
            break
    assert failure(done, folder, "measure") == "tide.yaml:4:11: the reservation's walltime is over"
    assert json.loads((run_folder(folder) / "responses.json").read_text())["throughput"]["n"] > 0
    assert not api.alive()
