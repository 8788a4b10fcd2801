"""Kernel learners: speed beside arithmetic and scikit-learn, and accuracy beside linear learners.

``python benchmarks/kernels.py`` predicts and learns rows of 50 features and two classes, in chunks of 64 and one at a time, with a
budget of 100, or 100 frequencies (200 features). Beside it stands what arithmetic allows: as many rows as the dot product, measured
in the same run on numbers that lie in the first cache, has the multiplications and additions for. The peers are scikit-learn's
``RBFSampler`` with 200 features, and ``Nystroem`` fitted on 100 rows beforehand, each with ``SGDClassifier.partial_fit``, one row
at a time.

``--accuracy`` answers each row before learning it, once through each stream, and prints the share of right answers: an RBF stream
of four classes, the same with centres that move, digits and, with ``--data FOLDER``, elec.csv and weather.csv of that folder
(columns standardised by the first thousand rows). Settings are those of a small grid with the fewest mistakes in the first fifth.
Beside them stand the best of some linear learners, chosen in the same way, and "the same class as the last one".
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import SGDClassifier

from estran.learning import registry
from estran.learning.baselines import no_change
from estran.learning.lanes import dot
from estran.learning.learner import Features, Labels
from estran.learning.streams.rbf import Rbf

WIDTH, PLACES, ROUNDS, SECONDS = 50, 100, 3, 0.3
RATES = [0.05, 0.2, 0.5, 1.0]
GAMMAS = [0.3, 1.0, 3.0, 10.0]

SPEED: dict[str, tuple[dict[str, Any], int]] = {
    "kernel-perceptron": ({"budget": PLACES}, PLACES * WIDTH),
    "forgetron": ({"budget": PLACES}, PLACES * WIDTH),
    "projectron": ({"budget": PLACES}, PLACES * WIDTH),
    "bpa-s": ({"budget": PLACES}, PLACES * WIDTH),
    "fourier": ({"frequencies": PLACES}, PLACES * WIDTH),
    "nystroem": ({"budget": PLACES}, PLACES * (WIDTH + PLACES)),
}
"""Settings, and multiplications a row."""
KERNELS: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "kernel-perceptron, oldest": ("kernel-perceptron", {}),
    "kernel-perceptron, random": ("kernel-perceptron", {"removal": ["random"]}),
    "forgetron": ("forgetron", {}),
    "projectron": ("projectron", {"eta": [0.1, 0.5]}),
    "bpa-s": ("bpa-s", {"c": [0.1, 1.0]}),
    "fourier": ("fourier", {"learning_rate": RATES}),
    "nystroem": ("nystroem", {"learning_rate": RATES}),
}
LINEAR: dict[str, dict[str, list[Any]]] = {
    "pa1": {"c": [0.01, 0.1, 1.0]},
    "ogd": {"learning_rate": [*RATES, 5.0]},
    "arow": {"r": [0.1, 1.0, 10.0], "covariance": ["diagonal", "full"]},
    "scw1": {"c": [0.1, 1.0], "covariance": ["diagonal", "full"]},
    "adagrad": {"learning_rate": [0.03, 0.1, 0.3]},
}

Step = Callable[[Features, Labels], object]


@numba.njit
def _many(a: NDArray[np.float64], b: NDArray[np.float64], times: int) -> float:
    total = 0.0
    for i in range(times):
        total += dot(a[i % len(a)], b)
    return total


def products() -> float:
    """Multiplications and additions of dot products per CPU second."""
    a, b, times = np.ones((4, 512)), np.ones(512), 200_000
    _many(a, b, 1)
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        _many(a, b, times)
        found.append(times * b.size / (time.process_time() - start))
    return max(found)


def rate(step: Step, x: Features, y: Labels, chunk: int) -> float:
    """Rows per CPU second, the best of some rounds."""
    chunks = [(x[at : at + chunk], y[at : at + chunk]) for at in range(0, len(x) - chunk + 1, chunk)][: 12_800 // chunk + 1]
    found = []
    for _ in range(ROUNDS):
        done, start = 0, time.process_time()
        for part in chunks:
            step(*part)
            done += chunk
            if done % 64 == 0 and time.process_time() - start > SECONDS:
                break
        found.append(done / (time.process_time() - start))
    return max(found)


def peer(mapping: Any, x: Features) -> Step:
    model, z = SGDClassifier(random_state=0), mapping.fit(x[:PLACES])
    known = False

    def step(rows: Features, labels: Labels) -> None:
        nonlocal known
        mapped = z.transform(rows)
        if known:
            model.predict(mapped)
        model.partial_fit(mapped, labels, classes=[0, 1])
        known = True

    return step


def speed() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, WIDTH))
    y = ((x[:, :25] ** 2).sum(axis=1) > (x[:, 25:] ** 2).sum(axis=1)).astype(np.int64)
    peers = {
        "fourier": rate(peer(RBFSampler(gamma=1 / WIDTH, n_components=2 * PLACES, random_state=0), x), x, y, 1),
        "nystroem": rate(peer(Nystroem(gamma=1 / WIDTH, n_components=PLACES, random_state=0), x), x, y, 1),
    }
    arithmetic, found = 0.0, {}
    for name, (given, _) in SPEED.items():
        learner: Any = registry.create({name: given}, WIDTH, 2, np.random.default_rng(0))
        learner.learn_many(x, y)
        # Between the learners, since others use this machine, too: the fastest time is nearest to what it can do.
        arithmetic = max(arithmetic, products())
        found[name] = [rate(learner.predict_then_learn, x, y, chunk) for chunk in (64, 1)]
    print(f"dot products: {arithmetic / 1e9:.1f} G multiplications and additions per CPU second")
    for name, one in peers.items():
        print(f"scikit-learn's like of {name}: {one:,.0f} rows per CPU second, one at a time")
    print(f"{'rows per CPU second':20}{'chunk 64':>11}{'of limit':>10}{'one by one':>12}{'x scikit-learn':>16}")
    for name, (many, one) in found.items():
        limit = arithmetic / SPEED[name][1]
        ratio = f"{one / peers[name]:15.0f}x" if name in peers else ""
        print(f"{name:20}{many:11,.0f}{many / limit:10.2f}{one:12,.0f}{ratio}")


def accuracy(name: str, given: dict[str, Any], x: Features, y: Labels) -> float:
    """Share of rows that are answered rightly before they are learned."""
    learner: Any = registry.create({name: given}, x.shape[1], int(y.max()) + 1, np.random.default_rng(0))
    return float((learner.predict_then_learn(x, y) == y).mean())


def best(name: str, grid: dict[str, list[Any]], x: Features, y: Labels) -> tuple[float, float, dict[str, Any]]:
    """Accuracy in the first fifth and on all, with the settings of the grid that are best in the first fifth; and these."""
    fifth = len(y) // 5
    choices = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    early = [accuracy(name, given, x[:fifth], y[:fifth]) for given in choices]
    given = choices[int(np.argmax(early))]
    return max(early), accuracy(name, given, x, y), given


def streams(folder: Path | None) -> dict[str, tuple[Features, Labels]]:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    found = {
        "rbf": Rbf(features=10, classes=4).take(20_000, np.random.default_rng(0)),
        "moving": Rbf(features=10, classes=4, speed=0.001).take(20_000, np.random.default_rng(0)),
        "digits": (x[order] / 4.0, y[order].astype(np.int64)),
    }
    for name in ("elec", "weather") if folder else ():
        table = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)
        found[name] = table[:, :-1], table[:, -1].astype(np.int64)
    scaled = {}
    for name, (x, y) in found.items():
        centre, spread = x[:1000].mean(axis=0), x[:1000].std(axis=0)
        # Three columns of elec do not move at first.
        scaled[name] = x if name == "digits" else (x - centre) / np.where(spread > 1e-6, spread, 1.0), y
    return scaled


def compare(folder: Path | None) -> None:
    data = streams(folder)
    print(f"{'right answers, %':28}" + "".join(f"{name:>10}" for name in data))
    print(f"{'rows':28}" + "".join(f"{len(y):10,}" for _, y in data.values()))
    print(f"{'no change':28}" + "".join(f"{100 * no_change(y).mean():10.1f}" for _, y in data.values()))
    linear = {name: max((best(one, grid, x, y)[:2], one) for one, grid in LINEAR.items()) for name, (x, y) in data.items()}
    shown = [f"{100 * found[1]:.1f}" for found, _ in linear.values()]
    print(f"{'best linear':28}" + "".join(f"{one:>10}" for one in shown) + "  " + ", ".join(one for _, one in linear.values()))
    for label, (name, grid) in KERNELS.items():
        size = "frequencies" if name == "fourier" else "budget"
        for count in (100, 400):
            cells, chosen = [], []
            for x, y in data.values():
                # Widths are per feature, so that they fit streams of many and of few.
                gammas = [gamma / x.shape[1] for gamma in GAMMAS]
                _, whole, given = best(name, {size: [count], "gamma": gammas, **grid}, x, y)
                cells.append(f"{100 * whole:10.1f}")
                chosen.append(" ".join(f"{given[key]:.2g}" for key in given if key not in (size, "removal")))
            print(f"{label + f', {count}':28}" + "".join(cells) + "  " + "; ".join(chosen), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--data", type=Path, help="folder of elec.csv and weather.csv")
    given = parser.parse_args()
    if given.accuracy or given.data:
        compare(given.data)
    else:
        speed()


if __name__ == "__main__":
    main()
