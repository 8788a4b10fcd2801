"""Small experiments, and the command line to run them with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TINY = """
experiment: tiny
seed: 1
layers:
  edge: {hosts: 2, device: cloud-vm-2}
  cloud: {hosts: 1, device: cloud-vm-2}
network:
  - {between: [edge, cloud], delay: 10ms, rate: 20mbit}
services:
  meter: {on: edge, component: "parts:Meter", with: {rate: 40}}
  total: {on: cloud, component: "parts:Total"}
streams:
  - {from: meter.values, to: total.values}
measure: {warmup: 0.3s, duration: 1.5s}
"""
"""Its devices are as fast as any machine: that they get their speed can be shown also where others compute."""

PARTS = """
import asyncio
from dataclasses import dataclass
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output

@dataclass(frozen=True)
class Reading:
    value: float

@dataclass(frozen=True)
class MeterSettings:
    rate: float = 10.0
    fail_after: int = -1
    never_ready: bool = False
    limit: int = -1

class Meter(Component):
    settings: MeterSettings
    values: Output[Reading]

    async def setup(self) -> None:
        if self.settings.never_ready:
            await asyncio.Event().wait()

    async def run(self) -> None:
        sent = 0
        while sent != self.settings.limit:
            if sent == self.settings.fail_after:
                raise ValueError("the sensor is on fire")
            await self.values.send(Reading(float(self.rng.random())))
            sent += 1
            await self.clock.sleep(1 / self.settings.rate)

class Total(Component):
    values: Input[Reading]

    async def run(self) -> None:
        total = 0.0
        async for message in self.values:
            total += await self.compute(abs, message.payload.value, operation="add")
            self.metrics.record("total", total)
"""


def write(folder: Path, text: str = TINY) -> Path:
    """Write an experiment with its components; return the file."""
    (folder / "parts.py").write_text(PARTS)
    file = folder / "experiment.yaml"
    file.write_text(text)
    return file


def estran(
    *argv: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 60, through: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; ``through`` is a program that executes it."""
    program = [*through, *command(argv)]
    return subprocess.run(program, cwd=cwd, env=environment(cwd, env), capture_output=True, text=True, timeout=timeout)


def start(*argv: str, cwd: Path, through: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start the command line."""
    program = [*through, *command(argv)]
    return subprocess.Popen(program, cwd=cwd, env=environment(cwd), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def command(argv: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "estran.cli.main", *argv]


def environment(cwd: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Journals go below the test's own folder."""
    return {**os.environ, "XDG_STATE_HOME": str(cwd / "state"), "COLUMNS": "120", **(extra or {})}


def run_folder(cwd: Path) -> Path:
    """The only run's folder."""
    (found,) = cwd.glob("runs/*/*/")
    return found


def record(cwd: Path) -> dict[str, Any]:
    """The only run's ``run.json``."""
    data: dict[str, Any] = json.loads((run_folder(cwd) / "run.json").read_text())
    return data


def wait_for_phase(cwd: Path, phase: str, timeout: float = 30) -> None:
    """Wait until the only run is in a phase."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        seen = record(cwd) if list(cwd.glob("runs/*/*/run.json")) else {"phases": [], "failure": None}
        if seen["phases"] and seen["phases"][-1]["name"] == phase:
            return
        assert seen["failure"] is None, seen["failure"]
        time.sleep(0.02)
    raise AssertionError(f"the run never came to phase {phase}")


def left_processes(run_id: str) -> list[str]:
    """Command lines of processes that belong to a run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"ESTRAN_RUN={run_id}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def left_groups(run_id: str) -> list[Path]:
    """Control groups of a run."""
    # Not `glob`, which fails when a group of another run goes while it looks.
    ours = [(place, names) for place, names, _ in os.walk("/sys/fs/cgroup") if place.endswith("/estran")]
    return [Path(place, name) for place, names in ours for name in names if name.startswith(run_id)]


def assert_nothing_left(run_id: str, within: float = 5.0) -> None:
    """Processes and control groups of a run are gone, or go soon."""
    deadline = time.monotonic() + within
    while (left := [*left_processes(run_id), *left_groups(run_id)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
