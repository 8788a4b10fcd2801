"""What recording provenance costs: events to a file beside Flowcept's, and the share of a run that all capture takes.

    python benchmarks/provenance.py [--flowcept PYTHON]

PYTHON is the interpreter of an environment with Flowcept (`pip install flowcept`), which needs other versions of some packages. An
activity starts, uses two entities, generates one and ends: five lines of ours, one task with `used` and `generated` of Flowcept's,
which captures offline and writes its buffer at the end; writing is counted on both sides. ProvLight claims to capture 26–37 times
faster than ProvLake (CLUSTER 2023); it was not run here.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ACTIVITIES = 5_000
LINES = 5
ROUNDS = 7
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "visual-inspection"

PEER = """
import sys, time
from flowcept import Flowcept, FlowceptTask
with Flowcept(start_persistence=False, save_workflow=False) as flowcept:
    begun = time.perf_counter()
    for number in range({activities}):
        task = FlowceptTask(activity_id="service", used={{"data": "file/data.npz", "model": number}}, capture_telemetry=False)
        task.end(generated={{"model": number + 1}})
    flowcept.dump_buffer("buffer.jsonl")
    print(time.perf_counter() - begun)
"""


def ours(folder: Path) -> float:
    """Seconds for all activities, to the file."""
    from estran.observe.provenance import Provenance

    provenance = Provenance(folder)
    begun = time.perf_counter()
    for number in range(ACTIVITIES):
        activity = f"task/{number}/host-0"
        provenance.started(activity, time=0.5)
        provenance.used(activity, ("file/data.npz", f"model/trainer-0/{number}"))
        provenance.generated(activity, (f"model/trainer-0/{number + 1}",))
        provenance.ended(activity, time=0.6)
    provenance.flush()
    return time.perf_counter() - begun


def rows(folder: Path) -> float:
    """Seconds for as many events, as they come from hosts."""
    from estran.observe.provenance import Provenance

    provenance = Provenance(folder)
    provenance.feeds({"predictor-0": ["trainer-0"]})
    batch = [(1.0, "host-0", "trainer-0", "published", f'{{"version": {number}, "samples": 64}}') for number in range(ACTIVITIES)]
    begun = time.perf_counter()
    provenance.take(batch)
    provenance.flush()
    return time.perf_counter() - begun


def theirs(python: str, folder: Path) -> float:
    """Seconds for all activities with Flowcept."""
    done = subprocess.run(
        [python, "-c", PEER.format(activities=ACTIVITIES)], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    lines = (folder / "buffer.jsonl").read_text().count("\n")
    if lines < ACTIVITIES:
        sys.exit(f"Flowcept has written {lines} lines for {ACTIVITIES} activities")
    return float(done.stdout.split()[-1])


def events(python: str | None) -> None:
    """Print the costs of events, rounds of both taking turns."""
    found: dict[str, list[float]] = {"ours": [], "rows": [], "theirs": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            for kind, measured in (("ours", ours), ("rows", rows)):
                place = Path(name, kind)
                place.mkdir()
                found[kind].append(measured(place))
            if python is not None:
                found["theirs"].append(theirs(python, Path(name)))
    own = statistics.median(found["ours"]) / ACTIVITIES
    print(f"a line                {own / LINES * 1e6:8.2f} µs  {own / LINES / 5e-6:.2f} of the limit of 5 µs")
    print(f"an event of a host    {statistics.median(found['rows']) / ACTIVITIES * 1e6:8.2f} µs")
    print(f"an activity           {own * 1e6:8.2f} µs")
    if python is not None:
        ratio = statistics.median(b / a for a, b in zip(found["ours"], found["theirs"], strict=True))
        peer = statistics.median(found["theirs"]) / ACTIVITIES
        print(f"an activity, Flowcept {peer * 1e6:8.2f} µs  {ratio:.0f}× ours (median of {ROUNDS} rounds)")


def capture() -> None:
    """Print the share of simulated runs that their capture takes: before they start, and hashes at their end."""
    from estran.run import record, session
    from estran.run.prepare import Simulation, prepare
    from estran.run.record import QuietProgress

    spent: list[float] = []
    for place, name in ((session, "describe"), (record.RunRecord, "_artefacts")):
        setattr(place, name, _timed(getattr(place, name), spent))
    shares = []
    with tempfile.TemporaryDirectory() as out:
        for seed in range(5):
            spent.clear()
            begun = time.perf_counter()
            prepared = prepare(str(EXAMPLE), seed=seed, on="simulate", simulation=Simulation("none"))
            session.execute(prepared, out=Path(out), progress=QuietProgress())
            shares.append(sum(spent) / (time.perf_counter() - begun))
    print(f"capture, first run of a process {shares[0]:8.2%} of the run")
    print(f"capture, each further run       {statistics.median(shares[1:]):8.2%} of the run (limit 3 %)")


def _timed(function: object, spent: list[float]) -> object:
    def timed(*arguments: object, **options: object) -> object:
        begun = time.perf_counter()
        try:
            return function(*arguments, **options)  # type: ignore[operator]
        finally:
            spent.append(time.perf_counter() - begun)

    return timed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--flowcept", metavar="PYTHON")
    events(parser.parse_args().flowcept)
    capture()
