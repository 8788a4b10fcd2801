"""Learning online, predict then learn, in samples per CPU second: the compiled perceptron against its peers.

Rows are scikit-learn's digits in [0, 1] (64 features, 10 classes), in chunks of 1 and of 64; each figure is the median of
several rounds. Peers: River's softmax regression (one row at a time by nature), scikit-learn's SGDClassifier and MLPClassifier
by partial_fit. A numpy step of the same 64-64-10 perceptron, row by row, shows what compiling is worth.

Then a perceptron 50-32-2, one row at a time inside chunks of 64, by each optimizer; beside it the physical limit: how often a
second its weights can be fetched from the first cache and put back (``w += c``, which any step must). Last, what a second
process pays before its first answer, where machine code has been kept.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray
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

    return learner.predict_then_learn


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


@numba.njit
def touch(weights: NDArray[np.float32], times: int) -> None:
    for t in range(times):
        for i in range(weights.size):
            weights[i] += np.float32(t)


def small() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4096, 50)), rng.integers(2, size=4096)
    weights = np.zeros(50 * 32 + 32 + 32 * 2 + 2, np.float32)
    touch(weights, 1)

    def limit(x: Features, y: Labels) -> None:
        touch(weights, len(x))

    print(f"\n{'mlp 50-32-2, chunks of 64':28}{'rate':>12}{'limit is':>10}")
    top = statistics.median(rate(limit, x, y, 64) for _ in range(ROUNDS))
    for optimizer, step in (("sgd", 0.05), ("momentum", 0.005), ("adam", 0.001)):
        mlp = Mlp(50, 2, np.random.default_rng(0), hidden=[32], optimizer=optimizer, learning_rate=step)
        found = statistics.median(rate(mlp.predict_then_learn, x, y, 64) for _ in range(ROUNDS))
        print(f"{optimizer:28}{found:12,.0f}{top / found:9.1f}x", flush=True)
    print(f"{'limit: weights touched once':28}{top:12,.0f}")


START = """
import sys, time
import numpy, numba
start = time.process_time()
from estran.learning.registry import create
learner = create(sys.argv[1], 50, 2, numpy.random.default_rng(0))
learner.learn_many(numpy.zeros((2, 50)), numpy.array([0, 1]))
learner.predict(numpy.zeros((2, 50)))
print(time.process_time() - start)
"""


def starting() -> None:
    print("\nCPU seconds of a second process until it has learned and answered, beyond importing numpy and numba")
    for name in ("arow", "mlp"):
        command = [sys.executable, "-c", START, name]
        found = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(4)]
        print(f"{name:28}{statistics.median(found[1:]):12.2f}", flush=True)


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
    small()
    starting()


if __name__ == "__main__":
    main()
