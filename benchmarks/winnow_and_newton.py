"""Winnow where most attributes are irrelevant, and the online Newton step and the squared loss beside their neighbours.

    python benchmarks/winnow_and_newton.py                            disjunctions and a generated stream, about 30 s
    python benchmarks/winnow_and_newton.py --data svmguide3.mat       and that table (as LIBOL has it: labels in the first column)

Disjunctions: label 1 where any of 5 out of d attributes is set, in about half of 5000 rows; mistakes, mean of 10 streams, with the
default settings. Then mistake rates of one pass, with the settings of a grid that did best on 3 orders of the rows: mean and
standard deviation of 10 others. The generated stream's features are correlated, and the strongest do not say most.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from estran.learning import registry
from estran.learning.learner import Features, Labels

SEARCHED, ORDERS = 3, 10
POWERS = [4.0**power for power in range(-6, 4)]
GRIDS: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "ogd, hinge": ("ogd", {"loss": ["hinge"], "learning_rate": POWERS}),
    "ogd, logistic": ("ogd", {"loss": ["logistic"], "learning_rate": POWERS}),
    "ogd, squared": ("ogd", {"loss": ["squared"], "learning_rate": [rate / 64 for rate in POWERS]}),
    "adagrad, logistic": ("adagrad", {"loss": ["logistic"], "learning_rate": POWERS}),
    "adagrad, squared": ("adagrad", {"loss": ["squared"], "learning_rate": POWERS}),
    "arow, full": ("arow", {"covariance": ["full"], "r": POWERS}),
    "ons, diagonal": ("ons", {"gamma": POWERS, "prior": [0.1, 1.0, 10.0]}),
    "ons, full": ("ons", {"covariance": ["full"], "gamma": POWERS, "prior": [0.1, 1.0, 10.0]}),
}


def mistakes(name: str, settings: dict[str, Any], x: Features, y: Labels) -> int:
    learner: Any = registry.create({name: settings}, x.shape[1], 2, np.random.default_rng(0))
    return int((learner.predict_then_learn(x, y) != y).sum())


def disjunctions(k: int = 5, n: int = 5000) -> None:
    choices: dict[str, tuple[str, dict[str, Any]]] = {
        "perceptron": ("perceptron", {}),
        "winnow": ("winnow", {}),
        "winnow, plain": ("winnow", {"balanced": False}),
    }
    print(f"{'mistakes, d =':18}" + "".join(f"{d:>10}" for d in (10, 100, 1000, 5000)) + "   with 5 % of labels wrong, d = 1000")
    for label, (name, settings) in choices.items():
        found = []
        for d, noise in ((10, 0.0), (100, 0.0), (1000, 0.0), (5000, 0.0), (1000, 0.05)):
            each = []
            for seed in range(ORDERS):
                rng = np.random.default_rng(seed)
                x = (rng.random((n, d)) < 1 - 0.5 ** (1 / k)).astype(float)
                y = x[:, :k].any(axis=1) ^ (rng.random(n) < noise)
                each.append(mistakes(name, settings, x, y.astype(np.int64)))
            found.append(statistics.mean(each))
        print(f"{label:18}" + "".join(f"{mean:10.0f}" for mean in found), flush=True)


def rates(title: str, x: Features, y: Labels) -> None:
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(y)) for _ in range(SEARCHED + ORDERS)]
    print(f"\n{title}: mistake rate")
    for label, (name, grid) in GRIDS.items():
        tried = []
        for values in product(*grid.values()):
            settings = dict(zip(grid, values, strict=True))
            tried.append((sum(mistakes(name, settings, x[order], y[order]) for order in orders[:SEARCHED]), settings))
        settings = min(tried, key=lambda pair: pair[0])[1]
        found = [mistakes(name, settings, x[order], y[order]) / len(y) for order in orders[SEARCHED:]]
        shown = {key: value for key, value in settings.items() if key not in ("loss", "covariance")}
        print(f"{label:20}{statistics.mean(found):.4f} ± {statistics.stdev(found):.4f}  {shown}", flush=True)


def skewed(n: int = 4000) -> tuple[Features, Labels]:
    rng = np.random.default_rng(0)
    white, turn = rng.normal(size=(n, 20)), np.linalg.qr(rng.normal(size=(20, 20)))[0]
    y = rng.random(n) < 1 / (1 + np.exp(-white @ np.tile([1.0, -1.0], 10)))
    return white * np.geomspace(3.0, 0.2, 20) @ turn, y.astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="svmguide3.mat")
    given = parser.parse_args()
    disjunctions()
    rates("generated", *skewed())
    if given.data:
        from scipy.io import loadmat

        table = loadmat(given.data)["data"]
        rates(given.data.name, np.ascontiguousarray(table[:, 1:]), (table[:, 0] > 0).astype(np.int64))


if __name__ == "__main__":
    main()
