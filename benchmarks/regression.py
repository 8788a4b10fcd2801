"""Online regression: speed beside River and a pass over memory, and errors beside baselines and River.

``--speed`` answers and learns d = 50 float64 rows, in chunks of 64 and one at a time, in samples per CPU second, beside River's
LinearRegression and one read-only pass over the same rows, which no regressor can beat.

``--errors`` prints prequential mean absolute errors on data that scikit-learn and River bundle, and on Friedman's function with two
abrupt drifts: the best of a small grid of settings for each method, River's included. Features are standardised by the mean and the
deviation of the rows so far, for all alike; targets are as they come. Beside them stand what answering the last target or the mean
so far would have got, and least squares on the whole stream, which looks into the future but cannot change its mind.

Without either, both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from learners import WIDTH, one_pass, rate
from river import datasets, optim
from river.linear_model import LinearRegression, PARegressor
from sklearn.datasets import load_diabetes

from estran.learning.learner import Features, NotFiniteError
from estran.learning.regression.adapters import RiverRegressor
from estran.learning.regression.evaluation import Estimates
from estran.learning.regression.regressor import Regressor, create
from estran.learning.regression.rows import Numbers
from estran.learning.streams.classic import Friedman

ORDERS = 5
TENS = [10.0**power for power in range(-3, 2)]
GRIDS: dict[str, dict[str, list[Any]]] = {
    "pa-regression": {"c": TENS, "variant": ["pa1", "pa2"]},
    "ogd-regression": {"learning_rate": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0], "steps": ["decaying", "fixed"]},
    "adagrad-regression": {"learning_rate": [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]},
    "ftrl-regression": {"alpha": [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]},
    "ridge": {"l2": TENS, "forgetting": [1.0, 0.999, 0.99, 0.9]},
    "forward-ridge": {"l2": TENS},
    "ons-regression": {"gamma": [10.0**power for power in range(-6, 1)], "epsilon": [1.0, 1e2, 1e4, 1e6]},
}
PEERS: dict[str, tuple[Callable[[float], Any], list[float]]] = {
    "River LinearRegression": (
        lambda step: LinearRegression(optimizer=optim.SGD(step), intercept_lr=step),
        [0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
    ),
    "River PARegressor": (lambda c: PARegressor(C=c, mode=1, eps=0.1), TENS),
}


def speed() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200_000, WIDTH))
    y = x @ rng.normal(size=WIDTH) + rng.normal(scale=2.0, size=len(x))
    one_pass(x)
    start = time.process_time()
    for _ in range(5):
        one_pass(x)
    memory = 5 * len(x) / (time.process_time() - start)
    peer = {chunk: rate(RiverRegressor(LinearRegression(), WIDTH).predict_then_learn, x, y, chunk) for chunk in (64, 1)}
    print(f"one pass over memory: {memory:,.0f} samples per CPU second; River LinearRegression: {peer[1]:,.0f} to {peer[64]:,.0f}")
    print(f"{'samples per CPU second':24}{'chunk 64':>12}{'x River':>9}{'of pass':>9}{'one by one':>12}{'x River':>9}")
    for name in GRIDS:
        many, one = (rate(create(name, WIDTH, rng).predict_then_learn, x, y, chunk) for chunk in (64, 1))
        print(f"{name:24}{many:12,.0f}{many / peer[64]:8.0f}x{many / memory:9.3f}{one:12,.0f}{one / peer[1]:8.0f}x", flush=True)


def standardised(x: Features) -> Features:
    """Each row by the mean and deviation of the rows up to it; 0 where a column has not varied yet."""
    counts = np.arange(1.0, len(x) + 1)[:, None]
    mean = np.cumsum(x, axis=0) / counts
    spread = np.sqrt(np.maximum(0, np.cumsum((x - x[0]) ** 2, axis=0) / counts - (mean - x[0]) ** 2))
    return np.asarray(np.where(spread > 1e-9, (x - mean) / np.where(spread > 1e-9, spread, 1), 0.0))


def streams() -> Iterable[tuple[str, list[tuple[Features, Numbers]]]]:
    x, y = load_diabetes(return_X_y=True)
    orders = [np.random.default_rng(seed).permutation(len(y)) for seed in range(ORDERS)]
    yield "diabetes", [(x[order], y[order]) for order in orders]
    for name, data in (("TrumpApproval", datasets.TrumpApproval()), ("ChickWeights", datasets.ChickWeights())):
        pairs = list(data)
        yield (
            name,
            [(np.array([list(row.values()) for row, _ in pairs], dtype=float), np.array([y for _, y in pairs], dtype=float))],
        )
    drifting = Friedman(drift="recurring", positions=(2000, 4000))
    yield "Friedman, drifting", [drifting.take(6000, np.random.default_rng(0))]


def error(make: Callable[[int], Regressor], runs: list[tuple[Features, Numbers]]) -> float:
    """Prequential mean absolute error, the mean of all runs; infinite where learning diverges."""
    found = []
    for x, y in runs:
        try:
            answers = make(x.shape[1]).predict_then_learn(x, y)
        except NotFiniteError:
            return float("inf")
        found.append(float(np.abs(answers - y).mean()))
    return float(np.mean(found))


def _of_river(make: Callable[[float], Any], step: float, features: int) -> Regressor:
    return RiverRegressor(make(step), features)


def choices(grid: dict[str, list[Any]]) -> Iterable[dict[str, Any]]:
    return (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))


def errors() -> None:
    rng = np.random.default_rng(0)
    for name, raw in streams():
        runs = [(standardised(x), y) for x, y in raw]
        finals = [Estimates(y, y).overall() for _, y in runs]
        least = []
        for x, y in runs:
            z = np.column_stack([x, np.ones(len(x))])
            least.append(np.abs(z @ np.linalg.lstsq(z, y, rcond=None)[0] - y).mean())
        print(f"{name}: {len(runs[0][1])} rows, {runs[0][0].shape[1]} features; mean absolute error, and settings")
        print(f"  {'no change':24}{np.mean([curve.no_change_mae[-1] for curve in finals]):9.3f}")
        print(f"  {'mean so far':24}{np.mean([curve.mean_mae[-1] for curve in finals]):9.3f}")
        print(f"  {'least squares, all rows':24}{np.mean(least):9.3f}")
        for learner, grid in GRIDS.items():
            found = [(error(partial(create, {learner: chosen}, rng=rng), runs), chosen) for chosen in choices(grid)]
            best, settings = min(found, key=lambda pair: pair[0])
            print(f"  {learner:24}{best:9.3f}  {', '.join(f'{key} {value}' for key, value in settings.items())}", flush=True)
        for peer, (make, grid) in PEERS.items():
            best, step = min((error(partial(_of_river, make, step), runs), step) for step in grid)
            print(f"  {peer:24}{best:9.3f}  {step}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--errors", action="store_true")
    given = parser.parse_args()
    if given.errors or not given.speed:
        errors()
    if given.speed or not given.errors:
        speed()


if __name__ == "__main__":
    main()
