"""How close `estran optimize` comes to the exhaustive optimum, and its cost: ``python benchmarks/optimize.py [OPTIONS] [CASE]…``.

Every point of a grid of levels is run at the fidelity that counts, several times, and once at the cheaper one (``estran study``;
kept in ``--cache``, where an interrupted recording goes on). Searches are then replayed against these tables: an ask is answered
with one of the runs that were really made at those levels, drawn by chance, and is charged the seconds that this run took. So many
seeds cost seconds; the same seed draws the same runs.

``--on emulate``: simulate leads, emulate counts, on 24 to 36 points of short runs, three times each. To record them, on a machine
that does nothing else (15 to 30 minutes a case)::

    python benchmarks/optimize.py --on emulate --record --cache FOLDER

and to search what was recorded, with 10 seeds that nothing was tuned on, then with a simulator that says the opposite::

    python benchmarks/optimize.py --on emulate --cache FOLDER --seeds 10
    python benchmarks/optimize.py --on emulate --cache FOLDER --seeds 10 --reversed

``--on simulate``, a quick stand-in: simulate counts, on more points, and a worse simulation leads. With ``--calibration CASE=FILE``
that is one by estimates; else one of shorter runs (visual-inspection, smart-grid), or of threads that do not disturb each other
(served-engine). The runs that count are then taken to cost 15 times as much as the others. ``--reversed`` plants a cheaper fidelity
that orders all points the wrong way round.

For each case: the share of the exhaustive hypervolume that the reported front has (its true one: by the means over all replicates)
after as many runs as a tenth of the exhaustive ones (``--share``); then for TPE alone in the same time: as `estran optimize` has it
at one fidelity, and Optuna's as it is, run after run. Of single goals also how many runs a search needs until what it would report
is within 5 % of the optimum (``--within``): against TPE, random search and the grid in random order. Hypervolumes are of what is
better than the worst of the table in each goal.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from ruamel.yaml import YAML

from estran.explain.table import Table, read_table
from estran.optimize.fidelities.ladder import Ladder, Rung
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.goals import Goals
from estran.optimize.pareto import hypervolume, on_front
from estran.optimize.sampling import Sampling
from estran.optimize.single import Single
from estran.optimize.space import Space
from estran.optimize.strategy import Strategy, Told
from estran.run.prepare import read_experiment
from estran.study.factors import factors_of
from estran.study.rows import cell

EXAMPLES = Path(__file__).parents[1] / "examples"
Floats = NDArray[np.float64]
Key = tuple[str, ...]
LOW, HIGH = "low", "high"
STAND_IN = 15
"""How much dearer a simulated run is taken to be than one by worse models: about what emulation costs beside simulation."""
SAME = 1e-9
"""Shares that differ by less are the same."""


@dataclass(frozen=True)
class Case:
    """An example on a grid.

    Attributes
    ----------
    factors
        Levels of the grid; the first one is the default.
    places
        Factors that the example does not have, with the place in the document where they go.
    changes
        Of the document, such as a shorter measurement.
    naive
        Changes that make a worse simulation of it.
    fewer, shorter
        Levels of the grid, and changes of the document, where runs are emulated.
    """

    minimize: tuple[str, ...]
    maximize: tuple[str, ...]
    factors: Mapping[str, Sequence[Any]]
    places: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    naive: tuple[str, ...] = ()
    fewer: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    shorter: Mapping[str, Any] = field(default_factory=dict)

    def emulated(self) -> Case:
        """The case as it is emulated."""
        return replace(self, factors={**self.factors, **self.fewer}, changes={**self.changes, **self.shorter})


CASES = {
    "visual-inspection": Case(
        ("latency_p99",),
        ("accuracy",),
        {"placement": ["fog", "edge", "cloud"], "publish_every": ["0.5s", "0.1s", "0.2s", "1s", "2s", "5s"], "batch": [16, 1, 4]},
        {"batch": "services.detector.with.batch.max_size"},
        {"measure.duration": "12s"},
        ("measure.duration=4s",),
        {"publish_every": ["0.5s", "0.1s", "1s", "5s"]},
        {"measure.warmup": "1s", "measure.duration": "6s"},
    ),
    "served-engine": Case(
        ("latency",),
        (),
        {"http": [40, 8, 16, 24], "download": [40, 4, 8], "extract": [8, 1, 2, 4], "simsearch": [40, 2, 4, 8]},
        {},
        {"measure.warmup": "5s", "measure.duration": "13s"},
        ("services.engine.with.contention=0", "services.engine.with.crowding=0"),
        {"http": [40, 16], "download": [40, 4], "extract": [8, 2, 4], "simsearch": [40, 4]},
        {"measure.warmup": "4s", "measure.duration": "16s"},
    ),
    "smart-grid": Case(
        ("bytes_sent",),
        ("accuracy",),
        {
            "threshold": ["80%", "60%", "70%", "90%", "95%"],
            "serving": ["swap", "ensemble"],
            "publish": [{"every": "1s"}, {"every": "4s"}, {"drift": "adwin", "every": "10s"}],
            "send": ["full", "int8", "delta"],
        },
        {},
        {"measure.duration": "25s"},
        ("measure.duration=5s",),
        {"threshold": ["80%", "60%", "95%"], "send": ["full", "int8"], "publish": [{"every": "1s"}, {"every": "4s"}]},
        {"measure.warmup": "2s", "measure.duration": "8s"},
    ),
}


@dataclass(frozen=True)
class Tabled:
    """All runs of one fidelity.

    Attributes
    ----------
    costs
        Of each point, by its levels as cells: a row for each replicate, a column for each goal.
    took
        Seconds that each of these runs took.
    goals
        Whose costs they are.
    """

    costs: Mapping[Key, Floats]
    took: Mapping[Key, Floats]
    goals: Goals

    @property
    def runs(self) -> int:
        """In all."""
        return sum(map(len, self.costs.values()))

    @property
    def seconds(self) -> float:
        """That a run takes: the median."""
        return float(np.median(np.concatenate(list(self.took.values()))))

    def costing(self, seconds: float) -> Tabled:
        """The same runs, if each had taken so long."""
        return replace(self, took={key: np.full(len(rows), seconds) for key, rows in self.costs.items()})

    def told(self, key: Key, rng: np.random.Generator) -> Told:
        """One of the runs that were made there."""
        which = rng.integers(len(self.costs[key]))
        costs = tuple(self.costs[key][which].tolist())
        responses = {goal.response: goal.cost(cost) for goal, cost in zip(self.goals.goals, costs, strict=True)}
        return Told("done", costs, (), float(self.took[key][which]), responses)

    def reversed(self) -> Tabled:
        """The same points with their costs handed out in the opposite order, goal for goal."""
        keys = list(self.costs)
        means = np.array([self.costs[key].mean(axis=0) for key in keys])
        ranks = means.argsort(axis=0).argsort(axis=0)
        turned = np.take_along_axis(np.sort(means, axis=0), len(keys) - 1 - ranks, axis=0)
        turned_runs = {key: turned[i][None, :] for i, key in enumerate(keys)}
        return Tabled(turned_runs, {key: np.full(1, self.seconds) for key in keys}, self.goals)


@dataclass(frozen=True)
class Truth:
    """What the exhaustive runs say: points by their levels, means over replicates, and the worst of each goal."""

    means: Mapping[Key, Floats]
    worst: Floats

    @classmethod
    def of(cls, tabled: Tabled) -> Truth:
        means = {key: runs.mean(axis=0) for key, runs in tabled.costs.items()}
        return cls(means, np.max(list(means.values()), axis=0))

    @property
    def whole(self) -> float:
        """The hypervolume of all points."""
        return hypervolume(np.array(list(self.means.values())), self.worst)

    def share(self, found: Mapping[Key, list[Floats]]) -> float:
        """Of the exhaustive hypervolume, by the front that a search would report."""
        return hypervolume(np.array([self.means[key] for key in reported(found)]), self.worst) / self.whole if found else 0.0

    def behind(self, found: Mapping[Key, list[Floats]]) -> float:
        """How much worse than the optimum the point is that a search for a single goal would report, as a share of the optimum."""
        best = min(float(mean[0]) for mean in self.means.values())
        return (float(self.means[reported(found)[0]][0]) - best) / abs(best)


def reported(found: Mapping[Key, list[Floats]]) -> list[Key]:
    """Points that nothing beats by the means of what a search has measured of them."""
    keys = list(found)
    front = on_front(np.array([np.mean(found[key], axis=0) for key in keys]))
    return [key for key, best in zip(keys, front, strict=True) if best]


# -- exhaustive runs


def laid_out(name: str, case: Case, folder: Path) -> Path:
    """The example with the grid's factors, in a folder of its own."""
    shutil.copytree(EXAMPLES / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    yaml = YAML()
    file = folder / "experiment.yaml"
    document = yaml.load(file.read_text())
    for place, value in {**{at: f"${{{factor}}}" for factor, at in case.places.items()}, **case.changes}.items():
        *way, last = place.split(".")
        inner = document
        for step in way:
            inner = inner[step]
        inner[last] = value
    document["factors"] = {factor: list(levels) for factor, levels in case.factors.items()}
    document.pop("claims", None)  # they are about levels that the grid need not have
    with file.open("w") as target:
        yaml.dump(document, target)
    return file


def exhaustive(file: Path, out: Path, options: Sequence[str], jobs: int) -> Table:
    """Run every point, or what is left of it after an interruption."""
    begun = sorted(out.glob("*/*/study.json"))
    verb = ["resume", str(begun[0].parent)] if begun else ["study", str(file), "--out", str(out), *options]
    command = [sys.executable, "-m", "estran.cli.main", *verb, "--jobs", str(jobs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # what goes on is told on stderr
    return read_table(sorted(out.glob("*/*/study.json"))[0].parent)


def tabled(table: Table, names: Sequence[str], goals: Goals) -> Tabled:
    """The finished runs of a study; a point without any is an error."""
    unmeasured = [
        name
        for goal in goals.goals
        if (name := goal.response) not in table.responses or not all(map(math.isfinite, table.responses[name][table.done]))
    ]
    if unmeasured:
        raise SystemExit(f"{', '.join(unmeasured)} was not measured in every run of {table.folder.path}: measure for longer")
    costs: dict[Key, list[tuple[float, ...]]] = {}
    took: dict[Key, list[float]] = {}
    outcomes = table.folder.outcomes()
    for row in range(table.runs):
        key = tuple(table.levels[name][table.codes[name][row]] for name in names)
        if not table.done[row]:
            if not any(table.done[table.points == table.points[row]]):
                raise SystemExit(f"no run at {', '.join(key)} is done: estran resume {table.folder.path}")
            continue
        values = {goal.response: float(table.responses[goal.response][row]) for goal in goals.goals}
        costs.setdefault(key, []).append(goals.costs(values))
        made = outcomes[table.folder.rows[row].run].folder
        assert made is not None
        took.setdefault(key, []).append(seconds(made))
    return Tabled({key: np.array(rows) for key, rows in costs.items()}, {key: np.array(rows) for key, rows in took.items()}, goals)


def seconds(run: Path) -> float:
    """That a run took by the wall clock."""
    record = json.loads((run / "run.json").read_text())
    return (datetime.fromisoformat(record["ended"]) - datetime.fromisoformat(record["started"])).total_seconds()


# -- searches


@dataclass
class Search:
    """What a search has measured at the fidelity that counts, run after run."""

    found: dict[Key, list[Floats]] = field(default_factory=dict)
    runs: int = 0
    low: int = 0
    spent: float = 0.0

    def take(self, key: Key, told: Told, fidelity: str) -> None:
        self.spent += told.seconds
        if fidelity == HIGH:
            self.runs += 1
            self.found.setdefault(key, []).append(np.array(told.costs))
        else:
            self.low += 1


def ladder(space: Space, goals: Goals, tables: Mapping[str, Tabled], runs: int, seed: int) -> Iterator[Search]:
    """Several fidelities, with so many runs at the one that counts."""
    sampling = Sampling(space, goals, sampler="tpe", seed=seed, budget=runs)
    single = Single(space, goals, sampling, fidelity=HIGH, budget=runs, replicates=1, seed=seed)
    strategy = MultiFidelity(space, goals, Ladder((Rung(LOW), Rung(HIGH))), single, trials=runs, seed=seed)
    yield from replayed(strategy, tables, seed)


def one_fidelity(space: Space, goals: Goals, tables: Mapping[str, Tabled], seed: int) -> Iterator[Search]:
    """The search at the fidelity that counts by itself, to the end of the space."""
    runs = len(tables[HIGH].costs)
    sampling = Sampling(space, goals, sampler="tpe", seed=seed, budget=runs)
    yield from replayed(Single(space, goals, sampling, fidelity=HIGH, budget=runs, replicates=1, seed=seed), tables, seed)


def replayed(strategy: Strategy, tables: Mapping[str, Tabled], seed: int) -> Iterator[Search]:
    """What a strategy asks for, run after run."""
    search, rng = Search(), np.random.default_rng([seed, 5])
    while (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        told = tables[ask.fidelity].told(keyed(ask.levels), rng)
        strategy.tell(ask.number, told)
        search.take(keyed(ask.levels), told, ask.fidelity)
        yield search


def alone(space: Space, goals: Goals, high: Tabled, sampler: BaseSampler, seed: int) -> Iterator[Search]:
    """A sampler of Optuna's with runs at the fidelity that counts; the default comes first, as with `estran optimize`."""
    study = optuna.create_study(directions=["minimize"] * len(goals.goals), sampler=sampler)
    study.enqueue_trial(space.parameters(space.default)[0])
    search, rng = Search(), np.random.default_rng([seed, 5])
    while True:
        trial = study.ask()
        key = keyed(space.suggest(trial))
        told = high.told(key, rng)
        study.tell(trial, list(told.costs or ()))
        search.take(key, told, HIGH)
        yield search


def shuffled(high: Tabled, seed: int) -> Iterator[Search]:
    """The grid in random order, each point once."""
    search, keys, rng = Search(), list(high.costs), np.random.default_rng(seed)
    for place in rng.permutation(len(keys)):
        search.take(keys[place], high.told(keys[place], rng), HIGH)
        yield search


def keyed(levels: Mapping[str, Any]) -> Key:
    """Levels as a table has them."""
    return tuple(cell(level) for level in levels.values())


def until(searches: Iterator[Search], enough: Callable[[Search], bool]) -> Search:
    """Search on until it is enough, or to its end."""
    last = Search()
    for last in searches:
        if enough(last):
            break
    return last


# -- what is printed


def compare(space: Space, goals: Goals, tables: Mapping[str, Tabled], seeds: Sequence[int], share: float) -> None:
    """A part of the runs, and TPE with the same time."""
    truth, high = Truth.of(tables[HIGH]), tables[HIGH]
    points, most = len(truth.means), max(3, int(high.runs * share))
    ours = [until(ladder(space, goals, tables, most, seed), lambda _: False) for seed in seeds]
    cheap = middle([search.low for search in ours])
    mine = [truth.share(search.found) for search in ours]
    of = f"{most / high.runs:.0%} of the {high.runs} exhaustive ones, {most / points:.0%} of the points"
    print(f"  several fidelities, {most} runs ({of}) and {cheap:.0f} cheap ones: {shown(mine)}")
    rivals: dict[str, Callable[[int], Iterator[Search]]] = {
        "TPE alone": lambda seed: one_fidelity(space, goals, tables, seed),
        "Optuna's TPE as it is": lambda seed: alone(space, goals, high, TPESampler(seed=seed), seed),
    }
    for name, begin in rivals.items():
        theirs = [within(begin(seed), search.spent) for seed, search in zip(seeds, ours, strict=True)]
        its = [truth.share(search.found) for search in theirs]
        print(f"  {name} in the same time, {middle([search.runs for search in theirs]):.0f} runs: {shown(its)}")
        more = sum(one > other + SAME for one, other in zip(mine, its, strict=True))
        less = sum(one < other - SAME for one, other in zip(mine, its, strict=True))
        both = sum(min(one, other) > 1 - SAME for one, other in zip(mine, its, strict=True))
        ratios = f"of medians {middle(mine) / max(middle(its), SAME):.3f}, of means {sum(mine) / max(sum(its), SAME):.3f}"
        print(
            f"    several have more with {more} of {len(mine)} seeds, less with {less}; both have all with {both}; ratio {ratios}"
        )


def within(searches: Iterator[Search], seconds: float) -> Search:
    """Search on as long as runs end in time."""
    last = Search()
    for now in searches:
        if now.spent > seconds:
            break
        last = deepcopy(now)
    return last


def evaluations(space: Space, goals: Goals, tables: Mapping[str, Tabled], seeds: Sequence[int], within: float) -> None:
    """Runs until the reported best is close to the optimum."""
    truth, high = Truth.of(tables[HIGH]), tables[HIGH]
    near = sum(truth.behind({key: [mean]}) <= within for key, mean in truth.means.items())
    default = truth.behind({keyed(space.default): [truth.means[keyed(space.default)]]})
    print(f"  {near} of {len(truth.means)} points are within {within:.0%} of the optimum; the default is {default:.0%} behind it")
    searches: dict[str, Callable[[int], Iterator[Search]]] = {
        "several fidelities": lambda seed: ladder(space, goals, tables, len(truth.means), seed),
        "TPE": lambda seed: alone(space, goals, high, TPESampler(seed=seed), seed),
        "random": lambda seed: alone(space, goals, high, RandomSampler(seed=seed), seed),
        "grid": lambda seed: shuffled(high, seed),
    }
    for name, begin in searches.items():
        found = [
            until(begin(seed), lambda one: bool(one.found) and (truth.behind(one.found) <= within or one.runs >= len(truth.means)))
            for seed in seeds
        ]
        cheap = f", and {middle([one.low for one in found]):.0f} cheap ones" if any(one.low for one in found) else ""
        print(f"    runs until within {within:.0%}, {name}: {shown([one.runs for one in found], '{:.0f}')}{cheap}")


def middle(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def shown(values: Sequence[float], form: str = "{:.1%}") -> str:
    return f"median {form.format(middle(values))} (all: {', '.join(form.format(one) for one in sorted(values))})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all if none is given")
    parser.add_argument("--on", choices=("simulate", "emulate"), default="simulate")
    parser.add_argument("--cache", type=Path, default=Path("studies-exhaustive"))
    parser.add_argument("--record", action="store_true", help="only make the exhaustive runs, or what is left of them")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--replicates", type=int, help="of each point at the fidelity that counts (3 emulated, 2 simulated)")
    parser.add_argument("--share", type=float, default=0.1, help="runs at the fidelity that counts, as a share of the exhaustive")
    parser.add_argument("--within", type=float, default=0.05, help="how close to the optimum is close enough, as a share of it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--calibration", action="append", default=[], metavar="CASE=FILE")
    parser.add_argument("--reversed", action="store_true")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    calibrations = dict(one.split("=", 1) for one in asked.calibration)
    emulated = asked.on == "emulate"
    replicates = asked.replicates or (3 if emulated else 2)
    for name in asked.cases or CASES:
        case = CASES[name].emulated() if emulated else CASES[name]
        folder = asked.cache / asked.on / name
        file = laid_out(name, case, folder / "experiment")
        calibration = calibrations.get(name, "none")
        better = ["--on", asked.on, "--replicates", str(replicates)]
        better += [] if emulated else ["--calibration", calibration]
        worse = ["--on", "simulate", "--replicates", "1", "--calibration", calibration if emulated else "none"]
        worse += [word for change in (case.naive if not emulated and calibration == "none" else ()) for word in ("--set", change)]
        goals = Goals.read(case.minimize, case.maximize, ())
        space = Space(factors_of(read_experiment(str(file))[0].variations, {}))
        tables = {
            HIGH: tabled(exhaustive(file, folder / HIGH, better, asked.jobs), list(case.factors), goals),
            LOW: tabled(exhaustive(file, folder / LOW, worse, 1 if emulated else asked.jobs), list(case.factors), goals),
        }
        low, high = tables[LOW].seconds, tables[HIGH].seconds
        print(f"{name} on {asked.on}: a run takes {high:.2f} s, a cheap one {low:.2f} s")
        if asked.record:
            continue
        if asked.reversed:
            tables[LOW] = tables[HIGH].reversed().costing(low)
        if not emulated:
            tables[LOW] = tables[LOW].costing(high / STAND_IN)
        seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
        compare(space, goals, tables, seeds, asked.share)
        if goals.single:
            evaluations(space, goals, tables, seeds, asked.within)


if __name__ == "__main__":
    main()
