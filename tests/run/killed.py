"""A conductor that is killed -9 at a chosen moment, and everything on this machine that it may have left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.run.experiments import environment, left_groups, left_processes

PHASES = ("provision", "verify", "launch", "warm up", "measure", "finalise", "give back", "collect")
"""In the order in which they begin."""

MORTAL = """
import contextlib, os, signal, sys, threading
from estran.cli.main import main
from estran.run import record, session

phase, moment = sys.argv[1], sys.argv[2]
whole = record.RunRecord.phase

def die():
    os.kill(os.getpid(), signal.SIGKILL)

@contextlib.contextmanager
def phase_of_death(self, name, expected=None):
    with whole(self, name, expected):
        if name == phase and moment != "end":
            threading.Timer(float(moment), die).start() if float(moment) else die()
        yield
        if name == phase and moment == "end":
            die()

record.RunRecord.phase = phase_of_death
if phase == "describe":
    session.describe = lambda *_: die()
if phase == "record":
    record.RunRecord.end = lambda *_: die()
sys.argv = ["estran", *sys.argv[3:]]
sys.exit(main())
"""
"""The command line, that dies so many seconds after a phase has begun, or at its ``end``; ``describe`` comes before the first
phase, ``record`` is written after the last one."""


ATTEMPTS = 3
"""A machine that is busy with other things may be refused before the phase is reached."""


def mortal(phase: str, moment: str, argv: Sequence[str], cwd: Path, through: Sequence[str] = ()) -> None:
    """Run the command line until it is killed by itself."""
    temporary = cwd / "tmp"
    temporary.mkdir(exist_ok=True)
    if through and os.geteuid() == 0:
        os.chown(temporary, cwd.stat().st_uid, cwd.stat().st_gid)
    for _ in range(ATTEMPTS):
        done = subprocess.run(
            [*through, sys.executable, "-c", MORTAL, phase, moment, *argv],
            cwd=cwd, env=environment(cwd, {"TMPDIR": str(temporary)}), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode == -9:
            return
        for place in ("runs", "state"):
            shutil.rmtree(cwd / place, ignore_errors=True)
    raise AssertionError(f"it lived on after {phase}: {done.returncode}\n{done.stdout}\n{done.stderr}")


def left(cwd: Path, run_id: str) -> list[str]:
    """What of a run is still here after `estran clean`: processes, control groups, temporary and half-written files, journals."""
    found = [f"process {line}" for line in left_processes(run_id)]
    found += [f"control group {path}" for path in left_groups(run_id)]
    found += [f"namespace {path}" for path in Path("/run/netns").glob("*estran*")]
    found += [f"file {path}" for path in (cwd / "tmp").glob("**/*")]
    found += [f"file {path}" for path in (cwd / "state").glob("**/*") if path.is_file()]
    for pattern in ("*.part", "*.reserve", "live.sqlite*", "hosts"):
        found += [f"file {path}" for path in cwd.glob(f"runs/*/*/{pattern}")]
    return found


def gone(cwd: Path, run_id: str, within: float = 5.0) -> list[str]:
    """What is still `left` after some seconds: what the kernel ends may take a moment."""
    deadline = time.monotonic() + within
    while (found := left(cwd, run_id)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
