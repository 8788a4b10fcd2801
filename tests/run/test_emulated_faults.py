"""Faults of whole emulated runs: with and without privilege, at random, and when the conductor itself is killed amid them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.run import unprivileged
from tests.run.experiments import (
    TINY,
    assert_nothing_left,
    estran,
    left_processes,
    record,
    run_folder,
    start,
    wait_for_phase,
    write,
)
from tests.run.unprivileged import need, through

CHECKOUT = Path(__file__).parents[2]
FAULTS = """
faults:
  apart: {partition: [edge-0, cloud], at: 0.3s, for: 1s}
  stuck: {hang: meter-1, at: 0.5s, for: 0.5s}
  tight: {memory-pressure: cloud, memory: 32MiB, at: 0.3s, for: 1s}
  tired: {slow: edge, speed: 0.5, at: 0.3s, for: 1s}
  full: {disk-full: cloud, at: 0.3s, for: 1s}
  down: {crash: edge-1, at: 1.6s, for: 0.5s}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with unprivileged.home() as folder:
        yield folder


@pytest.mark.parametrize("place", ["open", "barred"])
def test_faults_need_no_privilege(home: Path, place: str) -> None:
    need(place)
    write(home, TINY.replace("duration: 1.5s", "duration: 5s") + FAULTS)
    done = estran("run", "experiment.yaml", cwd=home, through=through(place), timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    faults = json.loads((run_folder(home) / "faults.json").read_text())["faults"]
    assert len(faults) == 6
    assert all(one["begun"] is not None and one["ended"] is not None for one in faults), faults
    messages = str(run_folder(home) / "messages.parquet")
    rows = duckdb.execute(
        "SELECT seq, received FROM read_parquet(?) WHERE origin = 'meter-0' ORDER BY received", [messages]
    ).fetchall()
    assert [seq for seq, _ in rows] == list(range(len(rows)))
    apart = faults[0]
    assert not [at for _, at in rows if apart["begun"] + 0.2 < at < apart["ended"] - 0.2]
    assert rows[-1][1] > apart["ended"] + 1
    assert_nothing_left(record(home)["id"])


def test_a_conductor_that_is_killed_amid_faults_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("duration: 1.5s", "duration: 60s") + FAULTS.replace("for: 1s", "for: 50s"))
    process = start("run", "experiment.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure", 60)
    run_id = record(tmp_path)["id"]
    deadline = time.monotonic() + 20
    while not any("hog.py" in line for line in left_processes(run_id)):
        assert time.monotonic() < deadline, "the fault never began"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    estran("clean", cwd=tmp_path)
    assert_nothing_left(run_id)


def test_whatever_breaks_nothing_acknowledged_is_lost() -> None:
    argv = [sys.executable, str(CHECKOUT / "benchmarks" / "chaos_emulated.py"), "--first", "3", "--runs", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all holds  [reboot" in done.stdout
