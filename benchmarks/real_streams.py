"""Real streams, each row answered before it is learned: learners of the catalogue beside the no-change and the majority baseline.

``python benchmarks/real_streams.py elec.csv weather.csv``: tables with a header, the class (0 or 1) in the last column. Learners
have default settings, or those printed; nothing was searched, but which of them to list was chosen with results in view.

``raw`` rows are as in the file. ``scaled`` ones are standardised by the mean and deviation of the rows so far (`{scaled: …}`), so
nothing is peeked at. ``and label`` adds the label of the row before as a feature: fair where labels come before the next row, but
another task.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from estran.learning import registry
from estran.learning.evaluation import prequential
from estran.learning.learner import Features, Labels

FULL = {"covariance": "full"}
CHOICES: list[registry.Choice] = [
    "perceptron",
    "pa",
    "pa1",
    {"pa1": {"c": 0.1}},
    "ogd",
    {"ogd": {"loss": "logistic"}},
    "adagrad",
    "ftrl",
    "arow",
    {"arow": FULL},
    "scw1",
    {"scw1": FULL},
    {"scw2": FULL},
    "mlp",
    {"hbp": {"depth": 5, "width": 32}},
]
CHUNK = 1000


def accuracy(choice: registry.Choice, x: Features, y: Labels) -> tuple[float, float]:
    """Share of rows that are answered rightly before they are learned, and rows per CPU second."""
    learner = registry.create(choice, x.shape[1], 2, np.random.default_rng(0))
    registry.warm(choice)
    chunks = [(x[at : at + CHUNK], y[at : at + CHUNK]) for at in range(0, len(y), CHUNK)]
    start = time.process_time()
    answers = prequential(learner, chunks, 2)
    return float((answers.answer == answers.truth).mean()), len(y) / (time.process_time() - start)


def table(path: Path) -> tuple[Features, Labels]:
    numbers = np.loadtxt(path, delimiter=",", skiprows=1)
    return np.ascontiguousarray(numbers[:, :-1]), numbers[:, -1].astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+")
    for path in parser.parse_args().paths:
        x, y = table(path)
        known = np.column_stack([x, np.concatenate([[0], y[:-1]])])
        beside = prequential(registry.create("perceptron", x.shape[1], 2, np.random.default_rng(0)), [(x, y)], 2).overall()
        print(f"{path.stem}: {len(y):,} rows, {x.shape[1]} features; no change {beside.no_change[-1]:.3f}", end="")
        print(f", majority {beside.majority[-1]:.3f}")
        print(f"{'':44}{'raw':>8}{'scaled':>8}{'and label':>11}{'rows per CPU s, scaled':>24}")
        for choice in CHOICES:
            scaled: dict[str, Any] = {"scaled": {"learner": choice}}
            name, settings = registry.read(choice)
            label = ", ".join([name, *(f"{key} {value}" for key, value in settings.items())])
            raw, (right, speed), aided = accuracy(choice, x, y)[0], accuracy(scaled, x, y), accuracy(scaled, known, y)[0]
            print(f"{label:44}{raw:8.3f}{right:8.3f}{aided:11.3f}{speed:24,.0f}", flush=True)


if __name__ == "__main__":
    main()
