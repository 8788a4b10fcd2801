"""Whole runs that go wrong: each says what, where and why, keeps what there was, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.experiments import (
    PARTS,
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

SHORT = TINY.replace("hosts: 2", "hosts: 1").replace("duration: 1.5s", "duration: 0.4s").replace("warmup: 0.3s", "warmup: 0.1s")
LONG = SHORT.replace("duration: 0.4s", "duration: 50s")
BAD = """
import os, signal, subprocess, sys, time
from pathlib import Path

class Bad(Component):
    values: Output[Reading]

"""


def write_bad(folder: Path, body: str, text: str = SHORT) -> None:
    """Write an experiment whose meter is a component with this body."""
    write(folder, text.replace('"parts:Meter", with: {rate: 40}', '"parts:Bad"').replace('"parts:Meter"', '"parts:Bad"'))
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / "parts.py").write_text(PARTS + BAD + indented)


@pytest.mark.parametrize(
    ("body", "phase", "what"),
    [
        ("async def setup(self): raise OSError('no disk')\nasync def run(self): pass", "launch", "OSError: no disk"),
        ("async def run(self):\n    sys.exit(3)", None, "ended with status 3"),
        ("async def run(self):\n    os.kill(os.getpid(), signal.SIGSEGV)", None, "signal 11 (SIGSEGV)"),
        ("async def run(self):\n    raise ValueError('caf\\udce9')", None, "ValueError: caf"),
        ("async def run(self):\n    await self.values.send(Reading(object()))", None, "cannot be encoded"),
    ],
    ids=["setup raises", "sys.exit", "crash", "undecodable text", "unsendable payload"],
)
def test_a_failing_component_is_named_with_its_host_and_reason(tmp_path: Path, body: str, phase: str | None, what: str) -> None:
    write_bad(tmp_path, body, LONG)
    failed = estran("run", "experiment.yaml", cwd=tmp_path)
    assert failed.returncode == 1
    run = record(tmp_path)
    failure = run["failure"]
    assert what in failure["what"]
    assert (failure["host"], failure["service"]) == ("edge-0", "meter-0")
    assert phase is None or failure["phase"] == phase
    assert [p["status"] for p in run["phases"] if p["name"] == failure["phase"]] == ["failed"]
    assert all("\n" not in line for line in failure["log_tail"])
    assert "Traceback" not in failed.stderr
    assert (run_folder(tmp_path) / "report.html").exists()
    assert_nothing_left(run["id"])


def test_a_module_that_raises_when_imported_is_a_wrong_request(tmp_path: Path) -> None:
    write(tmp_path)
    for mistake in ("raise RuntimeError('no licence')", "raise SystemExit(7)"):
        (tmp_path / "parts.py").write_text(mistake)
        refused = estran("check", "experiment.yaml", cwd=tmp_path)
        assert refused.returncode == 2
        assert "its module raised" in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        (
            "async def run(self):\n    try:\n        await asyncio.sleep(99)\n    finally:\n        raise OSError('late')",
            "OSError: late",
        ),
        ("async def run(self):\n    time.sleep(99)", "was killed"),
    ],
    ids=["raises", "blocks"],
)
def test_a_component_that_ends_badly_when_asked_is_warned_of(tmp_path: Path, body: str, warning: str) -> None:
    write_bad(tmp_path, body)
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert any(warning in line and "meter-0" in line for line in record(tmp_path)["warnings"])
    assert_nothing_left(record(tmp_path)["id"])


LIVES = """
async def run(self):
    lives = Path(self.folder) / "lives"
    before = len(lives.read_text()) if lives.exists() else 0
    with lives.open("a") as file:
        file.write("x")
    if before == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if before == 1:
        raise ValueError("the sensor is on fire")
"""


def test_a_component_that_was_killed_or_raises_is_restarted_if_asked_and_finds_its_folder_as_it_was(tmp_path: Path) -> None:
    write_bad(tmp_path, LIVES, LONG.replace("with: {rate: 40}}", "restart: on-failure}"))
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert record(tmp_path)["ended_by"] == "all sources ended"
    assert (run_folder(tmp_path) / "work" / "meter-0" / "lives").read_text() == "xxx"
    restarts = [warning for warning in record(tmp_path)["warnings"] if "was restarted" in warning]
    assert ["signal 9" in restarts[0], "on fire" in restarts[1], len(restarts)] == [True, True, 2]


def test_children_that_ignore_signals_do_not_outlive_the_run(tmp_path: Path) -> None:
    child = "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"
    body = f"async def run(self):\n    subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
    write_bad(tmp_path, body + "    await asyncio.sleep(99)")
    assert estran("run", "experiment.yaml", cwd=tmp_path).returncode == 0
    assert_nothing_left(record(tmp_path)["id"])


def test_an_impatiently_interrupted_run_keeps_its_results_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, LONG)
    process = start("run", "experiment.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in output
    assert record(tmp_path)["status"] == "interrupted"
    assert (run_folder(tmp_path) / "messages.parquet").exists()
    assert_nothing_left(record(tmp_path)["id"])


def test_a_killed_keeper_fails_the_run(tmp_path: Path) -> None:
    write(tmp_path, LONG)
    process = start("run", "experiment.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    os.kill(_child_of(process.pid), signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in output
    assert record(tmp_path)["failure"]["phase"] == "measure"
    assert_nothing_left(record(tmp_path)["id"])


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0])


def test_cleaning_leaves_a_live_run_alone(tmp_path: Path) -> None:
    write(tmp_path, LONG)
    process = start("run", "experiment.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    before = left_processes(record(tmp_path)["id"])
    assert "nothing was left behind" in estran("clean", cwd=tmp_path).stderr
    assert left_processes(record(tmp_path)["id"]) == before
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert record(tmp_path)["status"] == "interrupted"


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write(folder, LONG)
    processes = [start("run", "experiment.yaml", cwd=folder) for folder in folders]
    for folder in folders:
        wait_for_phase(folder, "measure")
    processes[0].send_signal(signal.SIGINT)
    processes[0].communicate(timeout=20)
    assert_nothing_left(record(folders[0])["id"])
    assert processes[1].poll() is None
    assert record(folders[1])["phases"][-1]["name"] == "measure"
    processes[1].send_signal(signal.SIGINT)
    processes[1].communicate(timeout=20)
    assert record(folders[1])["failure"] is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB for run folders."""
    runs = tmp_path / "runs"
    runs.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(runs)], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    yield runs
    subprocess.run(["umount", "-l", str(runs)], check=True)


@pytest.mark.parametrize("phase", ["verify", "measure"])
def test_a_full_disk_is_said_and_what_was_recorded_is_recovered(tmp_path: Path, small_disk: Path, phase: str) -> None:
    write(tmp_path, LONG)
    process = start("run", "experiment.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, phase)
    ballast = small_disk / "ballast"
    _fill(ballast)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in output
    run = record(tmp_path)
    assert run["status"] == "failed"
    assert "full" in run["failure"]["what"] or "No space left" in run["failure"]["what"]
    assert_nothing_left(run["id"])
    ballast.unlink()
    assert estran("clean", cwd=tmp_path).returncode == 0
    assert (run_folder(tmp_path) / "messages.parquet").exists()
    assert list((tmp_path / "state").glob("**/*.jsonl")) == []


def _fill(file: Path) -> None:
    """Write until the disk is full, byte by byte at the end."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 4096, 1):
            try:
                while True:
                    os.write(handle, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(handle)


def test_an_impossible_network_fails_in_verify_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, SHORT.replace("rate: 20mbit", "rate: 400gbit"))
    failed = estran("run", "experiment.yaml", "--json", cwd=tmp_path)
    assert failed.returncode in (1, 2)
    if failed.returncode == 1:
        failure = json.loads(failed.stdout)["failure"]
        assert failure["phase"] == "verify"
        assert failure["host"]
    assert "Traceback" not in failed.stderr
