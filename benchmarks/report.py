"""How long a report takes, beside what merely reading the run's tables takes: `python benchmarks/report.py`."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parent.parent))

from estran.report import render
from tests.report.synthetic import Scene, write_run

SCENES = {
    "example: 8 k messages": Scene(),
    "100 hosts: 20 k messages": Scene(cameras=98, rate=5),
    "100 hosts: 1 M messages": Scene(cameras=98, rate=260),
}


def median_seconds(work: Callable[[], object], times: int) -> float:
    """Median wall seconds of some calls."""
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


def read(folder: Path) -> None:
    """Read every column of every table once, with nothing done to it."""
    with duckdb.connect() as connection:
        for path in sorted(folder.glob("*.parquet")):
            connection.read_parquet(str(path)).create(path.stem)


def main() -> None:
    """Print one row per run."""
    print(f"{'run':26} {'report':>8} {'reading':>8} {'ratio':>6} {'page':>8}")
    with tempfile.TemporaryDirectory() as root:
        for name, scene in SCENES.items():
            folder = write_run(Path(root) / name.split(":")[0].replace(" ", "-") / str(scene.rate), scene)
            size = len(render(folder).encode())
            report, reading = median_seconds(lambda f=folder: render(f), 3), median_seconds(lambda f=folder: read(f), 3)
            print(f"{name:26} {report:6.2f} s {reading:6.2f} s {report / reading:6.1f} {size / 1e3:5.0f} kB")


if __name__ == "__main__":
    main()
