"""How many simulations steering saves on the example heat-surrogate: ``python benchmarks/steering.py [SEEDS] [KEY=VALUE]…``.

The example runs simulated, with each way of choosing parameters and each seed. An ensemble with random parameters ends with some
error on the held-out simulations (mean of the last five records, after the last simulation). ``reached`` is the number of
simulations that had begun when the error of a steered ensemble first was no greater than that in three records running; ``share``
is that over all of its simulations. Where it was never reached, the share is written as 1+ and counts as above every other in the
median.
"""

from __future__ import annotations

import math
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np

from estran.run.prepare import Simulation, prepare
from estran.run.record import QuietProgress
from estran.run.session import execute

EXAMPLE = Path(__file__).parents[1] / "examples" / "heat-surrogate" / "experiment.yaml"
WAYS = ("none", "variance", "loss")
RECORDS = "SELECT time, value FROM '{}/metrics.parquet' WHERE replica = 'trainer-0' AND metric = '{}' ORDER BY time"
RUNNING = 3
FIRST = 100
"""The seeds below it were looked at when the defaults of steering were chosen."""

Curve = tuple[list[int], list[float]]


def curve(way: str, seed: int, overrides: list[str]) -> Curve:
    """Simulations that had begun, and the error on the held-out ones, at each record."""
    with TemporaryDirectory() as folder:
        chosen = [f"steering={way}", *overrides]
        prepared = prepare(str(EXAMPLE), overrides=chosen, seed=seed, on="simulate", simulation=Simulation("none"))
        run, _ = execute(prepared, out=Path(folder), progress=QuietProgress())
        errors = duckdb.sql(RECORDS.format(run, "rmse")).fetchnumpy()
        begun = duckdb.sql(RECORDS.format(run, "learned_simulations")).fetchnumpy()
    # The newest count at the time of each error; the one after it where they were recorded together.
    counts = np.interp(errors["time"], begun["time"], begun["value"])
    return [math.ceil(count) for count in counts], errors["value"].tolist()


def reached(found: Curve, wanted: float) -> int | None:
    """Simulations that it took, or None."""
    counts, errors = found
    for at in range(len(errors) - RUNNING + 1):
        if all(error <= wanted for error in errors[at : at + RUNNING]):
            return counts[at]
    return None


def main(seeds: int, overrides: list[str]) -> None:
    shares: dict[str, list[float]] = {way: [] for way in WAYS[1:]}
    with ProcessPoolExecutor(2) as pool:
        chosen = range(FIRST, FIRST + seeds)
        jobs = {(way, seed): pool.submit(curve, way, seed, overrides) for seed in chosen for way in WAYS}
        for seed in chosen:
            counts, errors = jobs["none", seed].result()
            wanted, total = statistics.fmean(errors[-5:]), counts[-1]
            print(f"seed {seed}: random parameters end at {wanted:.4f} after {total} simulations", flush=True)
            for way in WAYS[1:]:
                steered = jobs[way, seed].result()
                found, final = reached(steered, wanted), statistics.fmean(steered[1][-5:])
                shares[way].append(math.inf if found is None else found / total)
                share = "1+" if found is None else f"{found / total:.2f}"
                print(f"  {way:9} ends at {final:.4f} ({final / wanted:.2f} of random), reached {found}, share {share}", flush=True)
    for way in WAYS[1:]:
        print(f"{way}: median share of the simulations {statistics.median(shares[way]):.2f}, worst {max(shares[way]):.2f}")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    main(numbers[0] if numbers else 5, [word for word in sys.argv[1:] if "=" in word])
