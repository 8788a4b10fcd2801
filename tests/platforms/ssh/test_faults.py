"""Faults on hosts over SSH: that they happen, that the run itself is not cut off, and that all is as before in the end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from tests.platforms.ssh.sshd import Machine, usable
from tests.platforms.ssh.test_runs import nothing_stays, written
from tests.run.experiments import estran, record, run_folder, start, wait_for_phase

pytestmark = [usable, pytest.mark.root]

FAULTS = """
faults:
  apart: {partition: [edge-0, cloud], at: 0.5s, for: 1s}
  skewed: {clock-skew: edge-0, offset: 30s, at: 2.5s, for: 1s}
  stuck: {hang: meter-1, at: 2.5s, for: 1s}
  down: {crash: edge-1, at: 4s, for: 1s}
  tired: {slow: edge-0, speed: 0.5, at: 4s, for: 1s}
  full: {disk-full: cloud, at: 4s, for: 1s}
  tight: {memory-pressure: cloud, memory: 32MiB, at: 4s, for: 1s}
  boom: {kill: note, at: 5.5s, for: 0.3s}
"""


def broken(folder: Path, hosts: Mapping[str, Machine], duration: str, faults: str = FAULTS) -> None:
    written(folder, hosts, duration=duration)
    with (folder / "experiment.yaml").open("a") as file:
        file.write(faults)


def queues(hosts: Mapping[str, Machine]) -> list[str]:
    """Hosts that have rules of ours."""
    return [name for name, machine in hosts.items() if "htb" in machine.queues()]


def test_faults_happen_to_what_the_run_has_there_and_are_over_when_they_are_healed(
    hosts: Mapping[str, Machine], tmp_path: Path
) -> None:
    broken(tmp_path, hosts, "7s")
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    faults = json.loads((run_folder(tmp_path) / "faults.json").read_text())["faults"]
    assert len(faults) == 8
    assert all(one["begun"] is not None and one["ended"] is not None for one in faults), faults
    folder = run_folder(tmp_path)
    sent = duckdb.sql(f"SELECT origin, seq, created, received FROM '{folder}/messages.parquet' ORDER BY received").fetchall()
    first = [row[1] for row in sent if row[0] == "meter-0"]
    assert first == list(range(len(first))), "what was sent into the partition has come, once and in order"
    apart = next(one for one in faults if one["fault"] == "apart")
    assert not [row for row in sent if row[0] == "meter-0" and apart["begun"] + 0.3 < row[3] < apart["ended"] - 0.3]
    assert [row for row in sent if row[0] == "meter-1" and apart["begun"] + 0.3 < row[3] < apart["ended"] - 0.3]
    stuck = next(one for one in faults if one["fault"] == "stuck")
    assert not [row for row in sent if row[0] == "meter-1" and stuck["begun"] + 0.3 < row[3] < stuck["ended"] - 0.3]
    events = duckdb.sql(f"SELECT replica, event FROM '{folder}/events.parquet' WHERE event = 'started'").fetchall()
    assert sorted(replica for replica, _ in events) == ["meter-0", "meter-1", "meter-1", "note-0", "note-0", "total-0"]
    nothing_stays(hosts)
    assert queues(hosts) == []


def test_a_real_machine_is_not_rebooted(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    broken(tmp_path, hosts, "2s", "faults: {again: {reboot: edge-0, at: 0.5s, for: 1s}}\n")
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "real machines are not rebooted" in done.stderr
    nothing_stays(hosts)


def test_a_conductor_that_is_killed_amid_faults_leaves_all_as_it_was(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    lasting = """
faults:
  apart: {partition: [edge-0, cloud], at: 0.1s}
  stuck: {hang: meter-1, at: 0.1s}
  tired: {slow: edge-0, speed: 0.5, at: 0.1s}
  tight: {memory-pressure: cloud, memory: 32MiB, at: 0.1s}
"""
    broken(tmp_path, hosts, "60s", lasting)
    process = start("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure", 90)
    deadline = time.monotonic() + 20
    while not any("hog.py" in line for machine in hosts.values() for line in machine.processes()):
        assert time.monotonic() < deadline, "the fault never began"
        time.sleep(0.05)
    assert queues(hosts)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    nothing_stays(hosts)
    deadline = time.monotonic() + 20
    while queues(hosts) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert queues(hosts) == []
    estran("clean", cwd=tmp_path)
    assert record(tmp_path)["status"] != "done"
