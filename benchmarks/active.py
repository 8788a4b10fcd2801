"""What labels are worth: accuracy against the share of labels asked for, beside as many drawn by chance; rankings, averages, tasks.

``python benchmarks/active.py`` prints all tables; ``--only labels ranking averages tasks speed`` some. ``--file elec.csv --label
class`` adds a stream of your own, in its order, standardised, to the first table. Every figure is the mean of ``--seeds`` with its
standard deviation.

labels: each rule learns the stream once; beside it stands rule ``random`` with as large a share of the same stream. ranking: area
under the ROC curve of 20 000 rows held out after one pass over as many, and of answers before learning; every learner has its best
setting of four, found with three other seeds. averages: accuracy of rows held out, of the last weights and of averages of the same
learner. tasks: share of mistakes. speed: rows a CPU second of chunks of 64, beside the inner learner's alone, or the perceptron's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from estran.learning import registry
from estran.learning.active.model import Active
from estran.learning.datasets import Data, load
from estran.learning.learner import Features, Labels
from estran.learning.ranking import area, prequential_ranking
from estran.learning.streams.classic import Hyperplane
from estran.learning.streams.rbf import Rbf

Rows = tuple[Features, Labels]
RULES: list[dict[str, Any]] = [
    *({"rule": "margin", "b": b} for b in (0.01, 0.1, 1.0)),
    *({"rule": "second-order", "b": b} for b in (0.01, 0.1, 1.0)),
    *({"rule": rule, "budget": budget, "window": 1000} for budget in (0.03, 0.1) for rule in ("variable-uncertainty", "split")),
]


def said(values: list[float]) -> str:
    return f"{statistics.mean(values):6.3f} ± {statistics.stdev(values):.3f}"


def streams(file: str | None, label: str) -> dict[str, Callable[[int], Rows]]:
    digits = load("digits")

    def shuffled(seed: int) -> Rows:
        order = np.random.default_rng(seed).permutation(len(digits.y))
        return digits.x[order], digits.y[order]

    def drifting(seed: int) -> Rows:
        x, y = Hyperplane(features=10, turning=5, change=0.5).take(20_000, np.random.default_rng(seed))
        return x - 0.5, y

    found: dict[str, Callable[[int], Rows]] = {
        "hyperplane, drifting": drifting,
        "rbf, 3 classes": lambda seed: Rbf(features=10, classes=3, centres=15).take(20_000, np.random.default_rng(seed)),
        "digits, shuffled": shuffled,
    }
    if file is not None:
        own = load(Data(file=file, label=label, scale="standard"))
        found[own.name] = lambda seed: (own.x, own.y)
    return found


def asked(x: Features, y: Labels, seed: int, **settings: Any) -> tuple[float, float]:
    """Share of labels asked for, and of right answers."""
    active = Active(x.shape[1], int(y.max()) + 1, np.random.default_rng(seed), learner="arow", **settings)
    right = float((active.predict_then_learn(x, y) == y).mean())
    return active.asked / active.seen, right


def labels(seeds: int, file: str | None, label: str) -> None:
    print("accuracy of arow, answered before learning, by who chose the labels")
    print(f"{'stream':22}{'rule':34}{'asked':>7}{'accuracy':>17}{'by chance':>17}{'gain':>17}")
    for name, draw in streams(file, label).items():
        everything = [asked(*draw(seed), seed, rule="always")[1] for seed in range(seeds)]
        print(f"{name:22}{'all labels':34}{1:7.1%}{said(everything):>17}", flush=True)
        for rule in RULES:
            shares, rights, chances = [], [], []
            for seed in range(seeds):
                x, y = draw(seed)
                share, right = asked(x, y, seed, **rule)
                # A window of ten streams: chance spends its whole budget.
                drawn = asked(x, y, seed + 1000, rule="random", budget=share, window=10 * len(y))[1]
                shares.append(share)
                rights.append(right)
                chances.append(drawn)
            gains = [right - chance for right, chance in zip(rights, chances, strict=True)]
            settings = ", ".join(f"{key} {value}" for key, value in rule.items() if key not in ("rule", "window"))
            print(
                f"{name:22}{rule['rule'] + ', ' + settings:34}{statistics.mean(shares):7.1%}"
                f"{said(rights):>17}{said(chances):>17}{said(gains):>17}",
                flush=True,
            )


POWERS = [1e-4, 1e-3, 1e-2, 1e-1]
RANKERS: dict[str, list[Any]] = {
    "opauc": [{"opauc": {"learning_rate": rate}} for rate in (0.0003, 0.001, 0.003, 0.01)],
    "oam, sequential": [{"oam": {"c": c}} for c in POWERS],
    "oam, gradient": [{"oam": {"c": c, "update": "gradient"}} for c in (1e-6, 1e-5, *POWERS[:2])],
    "perceptron": ["perceptron"],
    "pa1": [{"pa1": {"c": c}} for c in POWERS],
    "ogd, hinge": [{"ogd": {"learning_rate": rate}} for rate in (0.01, 0.1, 1.0, 10.0)],
    "ogd, logistic": [{"ogd": {"loss": "logistic", "learning_rate": rate}} for rate in (0.01, 0.1, 1.0, 10.0)],
    "arow": [{"arow": {"r": r}} for r in (0.1, 1.0, 10.0, 100.0)],
}


def rare(seed: int, rows: int, flipped: float = 0.0) -> Rows:
    """Two clouds, one of which has a row in fifty; of unlike shapes, and with some of the other's labels."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.02).astype(np.int64)
    x = rng.normal(size=(rows, 20))
    x[:, :6] += 0.5 * y[:, None]
    x[:, 6:12] *= np.where(y == 1, 2.0, 1.0)[:, None]
    return x, np.where(rng.random(rows) < flipped, 1 - y, y)


def ranking(seeds: int) -> None:
    print("area under the ROC curve, a row in 50 of class 1: held out; answered before learning, windows of 1000, second half")
    print(f"{'learner':20}{'clean':>17}{'':>17}{'1 % flipped':>17}{'':>17}")

    def measured(choice: Any, seed: int, flipped: float) -> tuple[float, float]:
        learner: Any = registry.create(choice, 20, 2, np.random.default_rng(seed))
        x, y = rare(seed, 20_000, flipped)
        sliding = prequential_ranking(learner, [(x, y)]).sliding(1000)[10_000:]
        test = rare(seed + 500, 20_000)
        return area(test[1], learner.decision_function(test[0])), float(np.nanmean(sliding))

    for name, grid in RANKERS.items():
        line = f"{name:20}"
        for flipped in (0.0, 0.01):
            scored = [statistics.mean(measured(choice, 100 + k, flipped)[0] for k in range(3)) for choice in grid]
            best = grid[int(np.argmax(scored))]
            found = [measured(best, seed, flipped) for seed in range(seeds)]
            line += f"{said([one[0] for one in found]):>17}{said([one[1] for one in found]):>17}"
        print(line, flush=True)


def averages(seeds: int) -> None:
    print("accuracy of 10 000 rows held out after 5 000, 20 features, labels of a noisy linear model")
    print(f"{'learner':16}{'last weights':>17}{'all':>17}{'suffix':>17}{'fading':>17}")

    def noisy(seed: int) -> Rows:
        rng = np.random.default_rng(seed)
        x, plane = rng.normal(size=(15_000, 20)), rng.normal(size=20)
        return x, (x @ plane + rng.normal(scale=4.0, size=15_000) > 0).astype(np.int64)

    for choice in ("perceptron", "pa1", "ogd", "adagrad", "arow"):
        found: dict[str, list[float]] = {window: [] for window in ("last", "all", "suffix", "fading")}
        for seed in range(seeds):
            x, y = noisy(seed)
            for window in ("all", "suffix", "fading"):
                learner: Any = registry.create(
                    {"averaged": {"learner": choice, "window": window}}, 20, 2, np.random.default_rng(seed)
                )
                learner.learn_many(x[:5000], y[:5000])
                found[window].append(float((learner.predict(x[5000:]) == y[5000:]).mean()))
            found["last"].append(float((learner.base.predict(x[5000:]) == y[5000:]).mean()))
        print(f"{choice:16}" + "".join(f"{said(values):>17}" for values in found.values()), flush=True)


def tasks(seeds: int) -> None:
    couplings = (0.0, 1.0, 3.0, 10.0, 1e6)
    print("share of mistakes in 5 000 rows of 10 tasks, 20 features; a task's weights are common ones + apart × own ones")
    print(f"{'apart':>6}" + "".join(f"{f'b = {b:g}':>17}" for b in couplings))
    for apart in (0.0, 0.3, 1.0, 3.0):
        line = f"{apart:6g}"
        for b in couplings:
            wrong = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                planes = rng.normal(size=20) + apart * rng.normal(size=(10, 20))
                x, task = rng.normal(size=(5000, 20)), rng.integers(10, size=5000)
                y = ((x * planes[task]).sum(axis=1) > 0).astype(np.int64)
                learner: Any = registry.create({"multitask": {"tasks": 10, "b": b}}, 21, 2, rng)
                wrong.append(float((learner.predict_then_learn(np.column_stack([x, task]), y) != y).mean()))
            line += f"{said(wrong):>17}"
        print(line, flush=True)


def rate(choice: Any, chunk: int = 64, budget: float = 1.0) -> float:
    """Rows predicted and learned per CPU second; median of three."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(chunk, 50))
    y = (x.sum(axis=1) > 0).astype(np.int64)
    x[:, -1] = 0.0  # the task
    learner: Any = registry.create(choice, 50, 2, rng)
    learner.predict_then_learn(x, y)

    def found() -> Iterator[float]:
        for _ in range(3):
            rows, start = 0, time.process_time()
            while time.process_time() - start < budget / 3:
                learner.predict_then_learn(x, y)
                rows += chunk
            yield rows / (time.process_time() - start)

    return statistics.median(found())


def speed() -> None:
    print("rows per CPU second, d = 50, two classes, chunks of 64")
    print(f"{'':44}{'rows/s':>12}{'beside':>14}{'slower':>9}")
    for choice, peer in (
        ({"active": {"learner": "pa1", "rule": "always"}}, "pa1"),
        ({"active": {"learner": "pa1", "rule": "margin", "b": 0.1}}, "pa1"),
        ({"active": {"learner": "sop", "rule": "second-order", "b": 0.1}}, "sop"),
        ({"active": {"learner": "pa1", "rule": "variable-uncertainty", "budget": 0.1}}, "pa1"),
        ({"averaged": {"learner": "pa1"}}, "pa1"),
        ({"averaged": {"learner": "arow", "window": "suffix"}}, "arow"),
        ("opauc", "perceptron"),
        ({"oam": {"buffer": 100}}, "perceptron"),
        ({"oam": {"buffer": 100, "update": "gradient"}}, "perceptron"),
        ({"multitask": {"tasks": 10}}, "perceptron"),
    ):
        name, settings = registry.read(choice)
        ours, theirs = rate(choice), rate(peer)
        label = f"{name} {' '.join(str(value) for value in settings.values())}"
        print(f"{label:44}{ours:12,.0f}{peer:>14}{theirs / ours:8.1f}x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ["labels", "ranking", "averages", "tasks", "speed"]
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--file")
    parser.add_argument("--label", default="label")
    chosen = parser.parse_args()
    if chosen.seeds < 2:
        parser.error("give two seeds or more: one has no spread")
    work: dict[str, Callable[[], None]] = {
        "labels": lambda: labels(chosen.seeds, chosen.file, chosen.label),
        "ranking": lambda: ranking(chosen.seeds),
        "averages": lambda: averages(chosen.seeds),
        "tasks": lambda: tasks(chosen.seeds),
        "speed": speed,
    }
    for one in chosen.only:
        work[one]()
        print()


if __name__ == "__main__":
    main()
