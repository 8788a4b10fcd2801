"""Several fidelities against one, on problems whose best is known: ``python benchmarks/optimize_fidelities.py [SEEDS] [PROBLEM]…``.

For each problem (fidelity_problems.py; ``NAME-reversed`` has a simulator that says the opposite of the truth) and seed, both
searches have the time of so many runs at the highest fidelity by the clock of the problem, where a simulated run costs a tenth of
an emulated one. Runs are noisy; points are judged by their true values: printed is the hypervolume of the points that each search
takes for its front, as a share of that of the exhaustive front. The reference point lies a tenth of the range beyond the worst of
the exhaustive front and the default. ``top`` is the share of the space's points that were run at the highest fidelity, for spaces
that are searched exhaustively. Replicates are left out on both sides. Searches of recorded runs of the examples: optimize.py.

Results are kept in ``FOLDER/NAME.jsonl`` (environment variable FOLDER, ``.`` if not given): what is there is not made again.
``python benchmarks/optimize_fidelities.py ask`` prints how long a choice takes at 300 cheap and 40 dear runs with eight factors.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from fidelity_problems import Problem, Values, branin_currin, deployment, many, pools, reversed_

from estran.optimize.fidelities.candidates import Cube
from estran.optimize.fidelities.ladder import Ladder, Rung
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.pareto import hypervolume, on_front
from estran.optimize.sampling import Sampling
from estran.optimize.single import Single
from estran.optimize.strategy import Ask, Strategy, Told

MADE = {
    "branin-currin": lambda: branin_currin(None), "branin-currin-grid": lambda: branin_currin(1 / 16),
    "deployment": lambda: deployment(False), "deployment-grid": lambda: deployment(True), "pools": pools, "dtlz2-8": many,
}  # fmt: skip
RUNS = {"dtlz2-8": 40}
USUAL = 30
SPREAD = 8192
"""Points of a continuous space that stand for all of it."""
TOP = "emulate"
TOLERATED = 0.03
"""By how much of its bound a limit may truly be broken by a point that kept it in its noisy run."""


def problem_of(name: str) -> Problem:
    made = MADE[name.removesuffix("-reversed")]()
    if not name.endswith("-reversed"):
        return made
    return replace(made, models={"simulate": reversed_(made.models[TOP]), TOP: made.models[TOP]})


def budget(name: str) -> int:
    return RUNS.get(name.removesuffix("-reversed"), USUAL)


def exhaustive(problem: Problem) -> tuple[int | None, np.ndarray, float]:
    """Points of the space if all are looked at, the reference point, and the hypervolume of the front."""
    whole = all(factor.range is None or factor.range.step is not None for factor in problem.factors)
    if problem.name == "dtlz2-8":  # its front is known
        points = [{**{f"x{i}": 0.6 for i in range(8)}, "x0": share} for share in np.linspace(0, 1, 400).tolist()]
    else:
        points = problem.grid() if whole else Cube.of(problem.space).spread(SPREAD, np.random.default_rng(1))
    goals, model = problem.goals, problem.models[TOP]
    values = [model(point) for point in points]
    costs = np.array([goals.costs(value) for value in values if all(broken <= 0 for broken in goals.violations(value))])
    front = costs[on_front(costs)]
    worst = np.maximum(front.max(axis=0), goals.costs(model(problem.space.default)))
    beyond = worst + 0.1 * (worst - front.min(axis=0))
    return len(points) if whole else None, beyond, hypervolume(costs, beyond)


def searched(problem: Problem, strategy: Strategy, seed: int, seconds: float) -> tuple[list[Ask], list[Values], list[float]]:
    """Everything that was run until the time is over, and how long choices took."""
    rng, spent = np.random.default_rng([seed, 77]), 0.0
    asks, values, took = list[Ask](), list[Values](), list[float]()
    while True:
        since = time.perf_counter()
        ask = strategy.ask()
        took.append(time.perf_counter() - since)
        if ask is None or (spent := spent + problem.seconds[ask.fidelity]) > seconds:
            return asks, values, took
        strategy.recall(ask)
        truth = problem.models[ask.fidelity](ask.levels)
        measured = {name: value * float(1 + problem.noise * rng.normal()) for name, value in truth.items()}
        goals = problem.goals
        told = Told("done", goals.costs(measured), goals.violations(measured), problem.seconds[ask.fidelity], measured)
        strategy.tell(ask.number, told)
        asks.append(ask)
        values.append(measured)


def quality(problem: Problem, asks: Iterable[Ask], values: Iterable[Values], beyond: np.ndarray) -> float:
    """True hypervolume of the points that seem to be on the front."""
    goals = problem.goals
    kept = [
        (ask.levels, goals.costs(value))
        for ask, value in zip(asks, values, strict=True)
        if ask.fidelity == TOP and all(broken <= 0 for broken in goals.violations(value))
    ]
    if not kept:
        return 0.0
    front = on_front(np.array([costs for _, costs in kept]))
    truths = [problem.models[TOP](levels) for (levels, _), on in zip(kept, front, strict=True) if on]
    true = [goals.costs(truth) for truth in truths if _tolerable(problem, truth)]
    return hypervolume(np.array(true), beyond) if true else 0.0


def _tolerable(problem: Problem, truth: Mapping[str, float]) -> bool:
    goals = problem.goals
    return all(b <= TOLERATED * abs(limit.bound) for b, limit in zip(goals.violations(truth), goals.limits, strict=True))


def single(problem: Problem, seed: int, runs: int) -> Single:
    drawn = Sampling(problem.space, problem.goals, sampler="tpe", seed=seed, budget=runs)
    return Single(problem.space, problem.goals, drawn, fidelity=TOP, budget=runs, replicates=1, seed=seed)


def several(problem: Problem, seed: int, runs: int) -> MultiFidelity:
    ladder = Ladder(tuple(map(Rung, problem.models)))
    return MultiFidelity(problem.space, problem.goals, ladder, single(problem, seed, runs), trials=runs, seed=seed)


def race(name: str, seed: int) -> dict[str, Any]:
    problem, runs = problem_of(name), budget(name)
    whole, beyond, best = exhaustive(problem)
    seconds = runs * problem.seconds[TOP]
    asks, values, took = searched(problem, several(problem, seed, runs), seed, seconds)
    others = searched(problem, single(problem, seed, runs), seed, seconds)
    top = sum(ask.fidelity == TOP for ask in asks)
    return {
        "seed": seed,
        "several": quality(problem, asks, values, beyond) / best,
        "alone": quality(problem, *others[:2], beyond) / best,
        "top": top / whole if whole else None,
        "runs": [len(asks) - top, top],
        "slowest": max(took),
    }


def kept(name: str) -> Path:
    return Path(os.environ.get("FOLDER", ".")) / f"{name}.jsonl"


def report(name: str, found: list[dict[str, Any]]) -> None:
    mine, theirs = [one["several"] for one in found], [one["alone"] for one in found]
    wins = sum(one > other for one, other in zip(mine, theirs, strict=True))
    top = "" if found[0]["top"] is None else f", {statistics.median(one['top'] for one in found):.1%} of all points emulated"
    print(
        f"{name}: median {statistics.median(mine):.3f}, TPE alone {statistics.median(theirs):.3f} "
        f"(ratio {statistics.median(mine) / max(statistics.median(theirs), 1e-9):.3f}), better in {wins} of {len(found)}{top}"
    )
    print("  all seeds:", " ".join(f"{one:.2f}/{other:.2f}" for one, other in zip(mine, theirs, strict=True)), flush=True)


def asking() -> None:
    problem = many()
    strategy, rng = several(problem, 1, 1000), np.random.default_rng(1)
    points = [problem.space.default, *Cube.of(problem.space).spread(299, rng)]
    for number, levels in enumerate(points):
        for fidelity, what in (("simulate", "first"), (TOP, "test"))[: 1 + (number < 40)]:
            ask = Ask(number + (300 if fidelity == TOP else 0), number, levels, fidelity, 1, 0, {"what": what})
            strategy.recall(ask)
            values = problem.models[fidelity](levels)
            strategy.tell(ask.number, Told("done", problem.goals.costs(values), (), problem.seconds[fidelity], values))
    wall, cpu = list[float](), list[float]()
    for _ in range(6):
        since, used = time.perf_counter(), time.process_time()
        ask = strategy.ask()
        wall.append(time.perf_counter() - since)
        cpu.append(time.process_time() - used)
    assert ask is not None
    assert ask.why["what"] == "improve"
    print(f"first choice {wall[0]:.2f} s, {cpu[0]:.2f} s of CPU; later ones {statistics.median(wall[1:]):.2f} s, ", end="")
    print(f"{statistics.median(cpu[1:]):.2f} s of CPU")


def main(seeds: int, names: list[str]) -> None:
    for name in names:
        path = kept(name)
        known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        todo = sorted(set(range(seeds)) - {one["seed"] for one in known})
        with ProcessPoolExecutor(2) as pool, path.open("a") as file:
            for one in pool.map(race, repeat(name), todo):
                known.append(one)
                file.write(json.dumps(one) + "\n")
                file.flush()
        report(name, sorted(known, key=lambda one: one["seed"])[:seeds])


if __name__ == "__main__":
    if sys.argv[1:] == ["ask"]:
        asking()
    else:
        main(int((sys.argv[1:] or ["10"])[0]), sys.argv[2:] or [*MADE, *(f"{name}-reversed" for name in MADE)])
