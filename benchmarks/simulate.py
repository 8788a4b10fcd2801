"""How fast virtual time passes, and what a thousand hosts take.

    python benchmarks/simulate.py

Three figures: simulated seconds per wall second of the visual-inspection example; a thousand sources with one trainer for 60
simulated seconds, against the goal of 60 s of wall time; and events per processor second of the virtual loop against SimPy's on the
same ping model, measured in the same run.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import simpy

from estran.platforms.simulated.loop import VirtualLoop

EXAMPLE = Path(__file__).parents[1] / "examples" / "visual-inspection" / "experiment.yaml"
THOUSAND = """
experiment: thousand
seed: 1
layers: {edge: {hosts: 1000, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-8}}
network: [{between: [edge, cloud], delay: 5ms, rate: 100mbit}]
services:
  sensor: {on: edge, component: source, with: {data: digits, rate: 5/s}}
  trainer: {on: cloud, component: trainer, with: {learner: {mlp: {hidden: [32]}}, publish: {every: 1s}}}
streams: [{from: sensor.samples, to: trainer.samples}]
measure: {duration: 60s}
"""
GOAL_RATIO, GOAL_SECONDS = 50.0, 60.0
PAIRS, PINGS = 200, 500


def run(file: Path, *options: str) -> tuple[dict[str, float], float, float]:
    """Simulate in a process of its own: seconds by phase, wall seconds of the whole command, and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as out:
        argv = [sys.executable, "-m", "estran.cli.main", "run", str(file), "--on", "simulate", "--json", "--out", out, *options]
        begun = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - begun
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)
        phases = {phase["name"]: phase["seconds"] for phase in json.loads(done.stdout)["phases"]}
    return phases, wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def example(seconds: int) -> None:
    phases, wall, _ = run(EXAMPLE, "--set", f"measure.duration={seconds}s", "--calibration", "none")
    measured = seconds / phases["measure"]
    print(
        f"visual-inspection, {seconds:3} s measured   {measured:6.0f} x real time while measuring (goal {GOAL_RATIO:g} x), "
        f"{(seconds + 2) / wall:5.1f} x for the whole command ({wall:.2f} s)"
    )


def thousand() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.yaml"
        file.write_text(THOUSAND)
        phases, wall, peak = run(file)
    print(
        f"1,000 sources, one trainer, 60 s    {wall:5.1f} s of wall time, {wall / GOAL_SECONDS:.2f} x the goal of "
        f"{GOAL_SECONDS:g} s, peak {peak:.0f} MB"
    )
    print("  by phase: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in phases.items() if seconds >= 0.1))


def pings_of_the_loop() -> int:
    """Pairs that wait a while, call each other, and wait again, on the virtual loop; returns the number of events."""

    async def ping(near: asyncio.Queue[int], far: asyncio.Queue[int], pause: float) -> None:
        for number in range(PINGS):
            await asyncio.sleep(pause)
            far.put_nowait(number)
            await near.get()

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for pair in range(PAIRS):
                one: asyncio.Queue[int] = asyncio.Queue()
                other: asyncio.Queue[int] = asyncio.Queue()
                group.create_task(ping(one, other, 0.01 + 1e-5 * pair))
                group.create_task(ping(other, one, 0.02 + 1e-5 * pair))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scene())
    return 2 * PAIRS * PINGS * 2


def pings_of_simpy() -> int:
    """The same with SimPy's processes and stores."""
    world = simpy.Environment()

    def ping(near: simpy.Store, far: simpy.Store, pause: float):
        for number in range(PINGS):
            yield world.timeout(pause)
            far.put(number)
            yield near.get()

    for pair in range(PAIRS):
        one, other = simpy.Store(world), simpy.Store(world)
        world.process(ping(one, other, 0.01 + 1e-5 * pair))
        world.process(ping(other, one, 0.02 + 1e-5 * pair))
    world.run()
    return 2 * PAIRS * PINGS * 2


def rate(model: Callable[[], int]) -> float:
    """Events per processor second: the best of three, since what else runs can only slow it down."""
    best = 0.0
    for _ in range(3):
        begun = time.process_time()
        events = model()
        best = max(best, events / (time.process_time() - begun))
    return best


def main() -> None:
    ours, theirs = rate(pings_of_the_loop), rate(pings_of_simpy)
    print(f"pings: {ours / 1e3:.0f} k events per processor second, {ours / theirs:.2f} x SimPy's {theirs / 1e3:.0f} k")
    for seconds in (20, 200):
        example(seconds)
    thousand()


if __name__ == "__main__":
    main()
