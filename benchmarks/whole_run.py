"""What a run costs beside its measurement, and how fast a hundred services on a hundred hosts are ready.

    python benchmarks/whole_run.py

The physical limit beside the first figure is the time that an empty Python process with the same imports takes; the peer's figure
(E2Clab 3.7.0 on EnOSlib: 69 s for three trivial shell tasks on three SSH hosts) is quoted, not measured here.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "visual-inspection" / "experiment.yaml"
IMPORTS = "import numpy, msgspec, zenoh, pydantic, ruamel.yaml, cyclopts, rich, duckdb"
E2CLAB_SECONDS = 69.0

HUNDRED = """
experiment: hundred
layers: {edge: {hosts: 100, device: cloud-vm-2}}
services: {idle: {on: edge, component: "idle:Idle"}}
measure: {duration: 0.5s}
"""
IDLE = """
import asyncio
from estran.runtime.component import Component

class Idle(Component):
    async def run(self) -> None:
        await asyncio.Event().wait()
"""


def run(file: Path, *options: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as out:
        argv = [sys.executable, "-m", "estran.cli.main", "run", str(file), "--json", "--out", out, *options]
        begun = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - begun
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)
        return {**json.loads(done.stdout), "wall": wall}


def phases(result: dict[str, object]) -> dict[str, float]:
    return {phase["name"]: phase["seconds"] for phase in result["phases"]}  # type: ignore[attr-defined,union-attr]


def empty_process() -> float:
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    overheads, last = [], {}
    for _ in range(3):
        result = run(EXAMPLE, "--set", "measure.duration=3s", "--set", "measure.warmup=0.5s")
        last = phases(result)
        overheads.append(float(result["wall"]) - last["warm up"] - last["measure"])  # type: ignore[arg-type]
    overhead, limit = statistics.median(overheads), empty_process()
    print(f"example, all but the measurement   {overhead:5.2f} s   (goal 6 s; {overhead / limit:.1f}x bare imports, {limit:.2f} s)")
    print(f"  E2Clab, trivial tasks (quoted)   {E2CLAB_SECONDS:5.0f} s   {E2CLAB_SECONDS / overhead:.0f}x as long")
    print("  by phase: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in last.items()))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "idle.py").write_text(IDLE)
        (Path(folder) / "experiment.yaml").write_text(HUNDRED)
        ready = phases(run(Path(folder) / "experiment.yaml"))
    print(f"100 services on 100 hosts ready    {ready['launch']:5.2f} s   (goal 5 s)   hosts and agents {ready['provision']:.2f} s")


if __name__ == "__main__":
    main()
