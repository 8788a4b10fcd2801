"""Cost-sensitive learners beside those that do not mind costs, where one row in 21 or 34 is positive.

    python benchmarks/costs.py                      a generated stream, about 10 s
    python benchmarks/costs.py --data w8a           and that table, 20 s (LIBSVM's format: 49,749 rows, 300 features, 3 % positives)

Two measures of the answers given before learning, each over all rows once: the sum of sensitivity and specificity (1 is no better
than one answer for all, 2 is perfect), and the cost of all mistakes per 1000 rows, where a missed positive costs .95 and a false
alarm .05. For each measure a learner has the settings of its grid that did best on 3 orders of the rows; printed are mean and
standard deviation of 10 others, and the mean's ratio to the best of those that do not mind costs. Where one gives costs, they are
those of the measure: for the sum the inverse frequencies of both classes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from estran.learning import registry
from estran.learning.confusion import Confusion
from estran.learning.learner import Labels

SEARCHED, ORDERS = 3, 10
PRICES = [0.05, 0.95]
POWERS = [4.0**power for power in range(-5, 6)]
MARGINS = [0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]
BLIND = ("perceptron", "pa1", "ogd")


def grid(name: str, measure: str, shares: list[float]) -> Iterable[dict[str, Any]]:
    """All settings of a learner that are tried for a measure."""
    costs = [[1.0, 19.0]] if measure == "cost" else [[1.0, shares[0] / shares[1]]]
    options: dict[str, dict[str, list[Any]]] = {
        "perceptron": {},
        "pa1": {"c": POWERS},
        "ogd": {"learning_rate": POWERS},
        "paum": {"margins": [list(pair) for pair in product(MARGINS, MARGINS) if pair[1] >= pair[0]]},
        "cpa, prediction": {"costs": costs, "c": [None, *POWERS], "form": ["prediction"]},
        "cpa, max loss": {"costs": costs, "c": [None, *POWERS], "form": ["max_loss"]},
        "csogd, margin": {"learning_rate": POWERS, "decay": [True, False], "form": ["margin"]},
        "csogd, gradient": {"learning_rate": POWERS, "decay": [True, False], "form": ["gradient"]},
    }
    found = options[name]
    if name.startswith("csogd"):
        found = found | {"objective": [measure], "costs": costs if measure == "cost" else [1.0]}
    return (dict(zip(found, values, strict=True)) for values in product(*found.values()))


LEARNERS = (*BLIND, "paum", "cpa, prediction", "cpa, max loss", "csogd, margin", "csogd, gradient")


def results(name: str, settings: dict[str, Any], x: Any, y: Labels, orders: list[Labels], measure: str) -> list[float]:
    found = []
    for order in orders:
        learner: Any = registry.create({name.split(",")[0]: settings}, x.shape[1], 2, np.random.default_rng(0))
        confusion = Confusion.of(y[order], learner.predict_then_learn(x[order], y[order]), 2)
        summed = 2 * confusion.balanced_accuracy
        found.append(summed if measure == "sum" else confusion.cost(PRICES) / len(y) * 1000)
    return found


def compare(title: str, x: Any, y: Labels) -> None:
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(y)) for _ in range(SEARCHED + ORDERS)]
    shares = [float((y == 0).mean()), float((y == 1).mean())]
    for measure in ("sum", "cost"):
        print(f"\n{title}, {shares[1]:.1%} positive: {'sensitivity + specificity' if measure == 'sum' else 'cost per 1000 rows'}")
        means: dict[str, float] = {}
        for name in LEARNERS:
            sign = -1 if measure == "sum" else 1
            tried = [
                (sign * statistics.mean(results(name, settings, x, y, orders[:SEARCHED], measure)), settings)
                for settings in grid(name, measure, shares)
            ]
            settings = min(tried, key=lambda pair: pair[0])[1]
            found = results(name, settings, x, y, orders[SEARCHED:], measure)
            means[name] = statistics.mean(found)
            best = (max if measure == "sum" else min)(means[blind] for blind in BLIND if blind in means)
            ratio = "" if name in BLIND else f"{means[name] / best:.2f}x"
            shown = {key: value for key, value in settings.items() if key not in ("form", "objective", "costs")}
            print(f"{name:18}{means[name]:9.3f} ± {statistics.stdev(found):.3f}{ratio:>8}  {shown}", flush=True)


def generated() -> tuple[Any, Labels]:
    """Positives lie a little off, in three of twenty features."""
    rng = np.random.default_rng(1)
    y = (rng.random(20_000) < 1 / 21).astype(np.int64)
    return rng.normal(size=(len(y), 20)) + 1.2 * y[:, None] * (np.arange(20) < 3), y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="w8a")
    given = parser.parse_args()
    compare("generated", *generated())
    if given.data:
        from sklearn.datasets import load_svmlight_file

        x, y = load_svmlight_file(str(given.data))
        compare(given.data.name, x, (y > 0).astype(np.int64))


if __name__ == "__main__":
    main()
