"""Does anything grow, and is anything lost, when a run goes on for long at full load?

    python benchmarks/soak.py [--minutes 30] [--folder FOLDER]

Emulates `tests/run/soaking.py`: two floods that fill their links through acknowledged streams, cameras, a detector, a trainer
that publishes twice a second, and a command that prints. Each second the memory of every process of the run is looked at: of the
conductor, the keeper, relays, agents, services. From the warm-up on (a fifth of the time, at least a minute if there are three) a
line is fitted through what each process has resident (Theil and Sen: the median of slopes between pairs); it must not rise by more
than 5 % of the median over the time that it is fitted to. What a page costs that several share (PSS) is told, but not judged: a
process's part grows when others stop sharing it. Every message of acknowledged streams must have come once and in order; the
receiver of the floods raises at the first that is not the next one.
Prints a table and exits with status 1 if any of this does not hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from estran.run.journal import processes_of
from tests.run.experiments import record, run_folder
from tests.run.soaking import write_soak

MOST = 0.05
LEAST = 10
PERIOD = 1.0
Series = list[tuple[float, float, float]]
"""Seconds, resident bytes, and bytes with shared pages by their share."""


@dataclass(frozen=True)
class Growth:
    """Of one process: its median memory, and by how much it rose from the beginning to the end of what was fitted."""

    name: str
    samples: int
    median: float
    rise: float
    shared: float

    @property
    def share(self) -> float:
        return self.rise / self.median

    @property
    def fine(self) -> bool:
        return self.share <= MOST


def growth(name: str, series: Series, begin: float, end: float) -> Growth | None:
    """None for a process that was not there all the time."""
    looked = np.array([point for point in series if point[0] >= begin]).reshape(-1, 3)
    if len(looked) < LEAST or looked[0, 0] > begin + (end - begin) / 10 or looked[-1, 0] < end - (end - begin) / 10:
        return None
    times, values, shared = looked.T
    one, other = np.triu_indices(len(times), 1)
    apart = times[other] > times[one]
    slope = float(np.median((values[other] - values[one])[apart] / (times[other] - times[one])[apart]))
    return Growth(name, len(times), float(np.median(values)), slope * float(times[-1] - times[0]), float(np.median(shared)))


def memory(pid: int) -> tuple[float, float]:
    """Bytes that a process has resident, and with shared pages by their share."""
    found = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return 1024.0 * int(found["Rss:"]), 1024.0 * int(found["Pss:"])


class Names:
    """What processes of a run are, by their folder, their parents and their command lines."""

    def __init__(self, conductor: int) -> None:
        self._conductor = conductor
        self._known: dict[int, str] = {}

    def of(self, pid: int) -> str:
        found = self._known.get(pid)
        if found is None or found.startswith("?"):
            found = self._known[pid] = self._find(pid)
        return found

    def _find(self, pid: int) -> str:
        if pid == self._conductor:
            return "conductor"
        place, stat = Path(f"/proc/{pid}/cwd").readlink(), Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        parent = int(stat[1])
        if place.parent.name == "work":
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return place.name if "keeper" in str(command) else f"{place.name}: {command[0].decode()}"
        if parent == self._conductor:
            return "stub of the keeper"
        if self._known.get(parent) == "stub of the keeper":
            return "keeper"
        children = [self._known.get(int(one), "") for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        if services := [one for one in children if one and not one.startswith("?")]:
            return f"agent of {', '.join(sorted(services))}"
        return f"? child of the keeper {pid}"


def watch(process: subprocess.Popen[bytes], cwd: Path) -> dict[str, Series]:
    """Look at all processes until the run has measured."""
    names, found = Names(process.pid), defaultdict[str, Series](list)
    begun = time.monotonic()
    while process.poll() is None:
        time.sleep(PERIOD)
        run = record(cwd) if list(cwd.glob("runs/*/*/run.json")) else None
        phase = run["phases"][-1]["name"] if run and run["phases"] else ""
        if phase in ("finalise", "give back", "collect"):
            break
        if run is None or phase != "measure":
            begun = time.monotonic()
            continue
        now = time.monotonic() - begun
        look([process.pid, *sorted(processes_of(run["id"]))], now, names, found)
    return found


def look(pids: Sequence[int], now: float, names: Names, found: dict[str, Series]) -> None:
    """Add what each process has resident now."""
    for pid in pids:
        with suppress(OSError):  # it has just ended
            name, sizes = names.of(pid), memory(pid)
            found[name].append((now, *sizes))


def losses(folder: Path) -> list[str]:
    """What is wrong with the messages of acknowledged streams."""
    query = """SELECT stream, origin, receiver, count(*), count(DISTINCT seq), max(seq) + 1, count(*) FILTER (seq < before) FROM
        (SELECT *, lag(seq) OVER (PARTITION BY stream, origin, receiver ORDER BY done, seq) before FROM read_parquet(?))
        WHERE stream NOT LIKE '%models%' GROUP BY ALL"""
    told, total = [], 0
    for stream, origin, receiver, count, distinct, numbered, back in duckdb.execute(
        query, [str(folder / "messages.parquet")]
    ).fetchall():
        total += count
        if not (count == distinct == numbered) or back:
            told.append(
                f"{stream} from {origin} to {receiver}: {count} came, {distinct} different, of {numbered}; {back} out of order"
            )
    print(f"{total} messages of acknowledged streams")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, help="for the run and memory.json; a temporary one if not given")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="estran-soak-") as temporary:
        cwd = (asked.folder or Path(temporary)).resolve()
        cwd.mkdir(parents=True, exist_ok=True)
        write_soak(cwd, f"{60 * asked.minutes:g}s")
        argv = [sys.executable, "-m", "estran.cli.main", "run", "experiment.yaml", "--json"]
        with (cwd / "said").open("wb") as said:
            process = subprocess.Popen(argv, cwd=cwd, stdout=said, stderr=said)
            try:
                found = watch(process, cwd)
                process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if process.returncode:
            sys.exit(f"the run failed:\n{(cwd / 'said').read_text()[-2000:]}")
        (cwd / "memory.json").write_text(json.dumps(found))
        sys.exit(judged(cwd, found, 60 * asked.minutes))


def judged(cwd: Path, found: dict[str, Series], seconds: float) -> int:
    """Print the table; return the exit status."""
    begin = max(0.2 * seconds, min(60.0, 0.4 * seconds))
    end = max(series[-1][0] for series in found.values())
    rows = [one for name, series in found.items() if (one := growth(name, series, begin, end)) is not None]
    print(f"{'process':40} {'samples':>7} {'MiB':>10}{'PSS, MiB':>10}{'rise, MiB':>10} {'rise':>8}")
    for one in sorted(rows, key=lambda one: -one.share):
        mark = "" if one.fine else "  grows"
        sizes = "".join(f"{size / 2**20:10.3f}" for size in (one.median, one.shared, one.rise))
        print(f"{one.name:40} {one.samples:7} {sizes} {one.share:8.2%}{mark}")
    wrong = losses(run_folder(cwd))
    responses = json.loads((run_folder(cwd) / "responses.json").read_text())
    for name in ("loss", "duplicates", "reordered", "unprocessed", "throughput", "utilisation"):
        if name in responses:
            print(f"{name:12} {responses[name]['value']:g} {responses[name]['unit']}")
    print(*wrong, sep="\n")
    lost = wrong or any(responses[name]["value"] for name in ("loss", "duplicates", "reordered"))
    return 1 if lost or not rows or not all(one.fine for one in rows) else 0


if __name__ == "__main__":
    main()
