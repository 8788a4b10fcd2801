"""Learning online, predict then learn, in samples per CPU second: the compiled perceptron against its peers.

Rows are scikit-learn's digits in [0, 1] (64 features, 10 classes), in chunks of 1 and of 64; each figure is the median of
several rounds. Peers: River's softmax regression (one row at a time by nature), scikit-learn's SGDClassifier and MLPClassifier
by partial_fit. A numpy step of the same 64-64-10 perceptron, row by row, shows what compiling is worth.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from river import linear_model as river_linear
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from estran.learning.learner import Features, Labels
from estran.learning.mlp import Mlp
from estran.learning.softmax import Softmax

ROUNDS, BUDGET = 5, 0.25
CLASSES = np.arange(10)

Step = Callable[[Features, Labels], object]


def ours(kind: type[Mlp]) -> Step:
    learner = kind(64, 10, np.random.default_rng(0))
    kind.warm()

    def step(x: Features, y: Labels) -> None:
        learner.predict(x)
        learner.learn_many(x, y)

    return step


def sklearn(estimator: SGDClassifier | MLPClassifier) -> Step:
    estimator.partial_fit(np.zeros((1, 64)), [0], classes=CLASSES)

    def step(x: Features, y: Labels) -> None:
        estimator.predict(x)
        estimator.partial_fit(x, y)

    return step


def river() -> Step:
    model = river_linear.SoftmaxRegression()

    def step(x: Features, y: Labels) -> None:
        for row, label in zip(x.tolist(), y.tolist(), strict=True):
            features = dict(enumerate(row))
            model.predict_one(features)
            model.learn_one(features, label)

    return step


def plain_numpy() -> Step:
    rng = np.random.default_rng(0)
    w0, b0 = rng.uniform(-0.3, 0.3, (64, 64)), np.zeros(64)
    w1, b1 = rng.uniform(-0.3, 0.3, (64, 10)), np.zeros(10)

    def step(x: Features, y: Labels) -> None:
        np.maximum(x @ w0 + b0, 0) @ w1 + b1
        for row, label in zip(x, y, strict=True):
            hidden = np.maximum(row @ w0 + b0, 0)
            odds = np.exp(hidden @ w1 + b1)
            blame = odds / odds.sum()
            blame[label] -= 1
            below = (w1 @ blame) * (hidden > 0)
            w1[:] -= 0.05 * np.outer(hidden, blame)
            b1[:] -= 0.05 * blame
            w0[:] -= 0.05 * np.outer(row, below)
            b0[:] -= 0.05 * below

    return step


def rate(step: Step, x: Features, y: Labels, chunk: int) -> float:
    """Samples per CPU second of one round."""
    step(x[:chunk], y[:chunk])
    done, start = 0, time.process_time()
    while time.process_time() - start < BUDGET:
        place = done % (len(x) - chunk)
        step(x[place : place + chunk], y[place : place + chunk])
        done += chunk
    return done / (time.process_time() - start)


def main() -> None:
    warnings.filterwarnings("ignore")
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(1797)
    x, y = digits.data[rows] / 16, digits.target[rows].astype(np.int64)
    makers: dict[str, Callable[[], Step]] = {
        "estran mlp 64-64-10": lambda: ours(Mlp),
        "estran softmax": lambda: ours(Softmax),
        "numpy mlp 64-64-10": plain_numpy,
        "sklearn MLPClassifier(64)": lambda: sklearn(MLPClassifier((64,), solver="sgd", learning_rate_init=0.05)),
        "sklearn SGDClassifier": lambda: sklearn(SGDClassifier(loss="log_loss")),
        "river SoftmaxRegression": river,
    }
    print(f"{'samples per CPU second':28}{'chunk 1':>12}{'mlp is':>10}{'chunk 64':>12}{'mlp is':>10}")
    mine: dict[int, float] = {}
    for name, make in makers.items():
        line = f"{name:28}"
        for chunk in (1, 64):
            found = statistics.median(rate(make(), x, y, chunk) for _ in range(ROUNDS))
            line += f"{found:12,.0f}{mine.setdefault(chunk, found) / found:9.1f}x"
        print(line, flush=True)


if __name__ == "__main__":
    main()
