"""Hedge Backpropagation: rows per second against an O(L²) re-implementation, and error against fixed depths.

``python benchmarks/hbp.py`` learns rows of 50 features in chunks of 64 with 20 layers of 100, and does the same in NumPy
twice: with one backpropagation per classifier, as the method is often programmed, O(L²); and in one sweep, O(L). The physical
limit stands beside it: how often a second the weights can be fetched and put back (``w += c``, which any step on all of them
needs).

``--accuracy`` learns streams like Syn8, CD1 and CD2 of the paper (Sahoo et al., IJCAI 2018; `estran.learning.streams.hedge` says
how they are made) and prints the cumulative error of fixed depths and of Hedge Backpropagation, from He's initial weights and
from those that PyTorch gives. ``--rows 300000 --seeds 3`` is the paper's length; it takes an hour.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

from estran.learning.deep.hbp import HedgeBackprop
from estran.learning.deep.initial import INITIAL, Initial
from estran.learning.evaluation import prequential
from estran.learning.learner import Features, Labels, Learner
from estran.learning.mlp import Mlp
from estran.learning.streams.hedge import CD1, CD2, SYN8

FEATURES, DEPTH, WIDTH, CHUNK = 50, 20, 100, 64


class PlainNumpy:
    """The paper's updates as they stand there, row by row."""

    def __init__(self, state: dict[str, NDArray[np.float32]], squared: bool) -> None:
        self.w = [state[f"w{layer}"] for layer in range(1, DEPTH + 1)]
        self.b = [state[f"b{layer}"] for layer in range(1, DEPTH + 1)]
        self.theta = [state[f"theta{level}"] for level in range(DEPTH + 1)]
        self.c = [state[f"c{level}"] for level in range(DEPTH + 1)]
        self.alpha, self.squared = state["alpha"], squared

    def learn_many(self, x: Features, y: Labels) -> None:
        for row, label in zip(x.astype(np.float32), y.tolist(), strict=True):
            self._learn_one(row, label)

    def _learn_one(self, x: NDArray[np.float32], y: int) -> None:
        h = [x]
        for w, b in zip(self.w, self.b, strict=True):
            h.append(np.maximum(0, h[-1] @ w + b))
        blames, losses = [], np.empty(DEPTH + 1)
        for level in range(DEPTH + 1):
            scores = h[level] @ self.theta[level] + self.c[level]
            odds = np.exp(scores - scores.max())
            odds /= odds.sum()
            losses[level] = -np.log(odds[y])
            odds[y] -= 1
            blames.append((self.alpha[level] * odds).astype(np.float32))
        passed = [self.theta[level] @ blames[level] for level in range(DEPTH + 1)]
        for level in range(DEPTH + 1):
            self.theta[level] -= 0.01 * np.outer(h[level], blames[level])
            self.c[level] -= 0.01 * blames[level]
        self._backward(h, passed)
        self.alpha = np.maximum(self.alpha * 0.99**losses, 0.2 / DEPTH)
        self.alpha /= self.alpha.sum()

    def _backward(self, h: list[NDArray[np.float32]], passed: list[NDArray[np.float32]]) -> None:
        moves = [np.zeros_like(w) for w in self.w], [np.zeros_like(b) for b in self.b]
        starts = range(DEPTH, 0, -1) if self.squared else [DEPTH]
        for start in starts:
            blame = passed[start]
            for layer in range(start - 1, -1, -1):
                blame = blame * (h[layer + 1] > 0)
                moves[0][layer] += np.outer(h[layer], blame)
                moves[1][layer] += blame
                blame = self.w[layer] @ blame
                if not self.squared:
                    blame = blame + passed[layer] if layer else blame
        for layer in range(DEPTH):
            self.w[layer] -= 0.01 * moves[0][layer]
            self.b[layer] -= 0.01 * moves[1][layer]


def rate(learn: Callable[[Features, Labels], object], chunk: int, budget: float = 1.0) -> float:
    """Rows per CPU second; median of three."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(chunk, FEATURES)), rng.integers(2, size=chunk)
    learn(x, y)
    found = []
    for _ in range(3):
        rows, start = 0, time.process_time()
        while time.process_time() - start < budget / 3:
            learn(x, y)
            rows += chunk
        found.append(rows / (time.process_time() - start))
    return statistics.median(found)


@numba.njit
def touch(weights: NDArray[np.float32], times: int) -> None:
    for t in range(times):
        for i in range(weights.size):
            weights[i] += np.float32(t)


def touches(size: int) -> float:
    """How often a CPU second all weights can be fetched and put back."""
    weights = np.zeros(size, np.float32)
    touch(weights, 1)
    found = []
    for _ in range(3):
        start = time.process_time()
        touch(weights, 3000)
        found.append(3000 / (time.process_time() - start))
    return statistics.median(found)


def speed() -> None:
    deep = HedgeBackprop(FEATURES, 2, np.random.default_rng(0), depth=DEPTH, width=WIDTH)
    state = {name: array.copy() for name, array in deep.state().items()}
    squared, linear = PlainNumpy({**state}, squared=True), PlainNumpy({n: a.copy() for n, a in state.items()}, squared=False)
    check = HedgeBackprop(FEATURES, 2, np.random.default_rng(0), depth=DEPTH, width=WIDTH)
    x, y = np.random.default_rng(3).normal(size=(20, FEATURES)), np.arange(20) % 2
    for learner in (check, squared, linear):
        learner.learn_many(x, y)
    for peer in (squared, linear):
        np.testing.assert_allclose(peer.alpha, check.alphas, atol=1e-5)
        np.testing.assert_allclose(peer.w[0], check.state()["w1"], atol=1e-4)
    size = sum(array.size for array in state.values())
    print(f"{DEPTH} layers of {WIDTH}, {FEATURES} features, 2 classes: {size:,} weights")
    print(f"{'rows per CPU second':36}{'rate':>10}{'ours is':>10}")
    ours = rate(deep.learn_many, CHUNK)
    for name, found in (
        (f"estran hbp, chunks of {CHUNK}", ours),
        ("estran hbp, chunks of 1", rate(deep.learn_many, 1)),
        (f"estran hbp predicts, chunks of {CHUNK}", rate(lambda x, y: deep.predict(x), CHUNK)),
        ("numpy, a sweep per classifier O(L²)", rate(squared.learn_many, 4)),
        ("numpy, one sweep O(L)", rate(linear.learn_many, 8)),
        ("limit: all weights read and written", touches(size)),
    ):
        print(f"{name:36}{found:10,.0f}{ours / found:9.1f}x", flush=True)


Maker = Callable[[np.random.Generator], Learner]


def makers(depths: list[int], initial: Initial) -> dict[str, Maker]:
    """Hedge Backpropagation as in the paper and with scaled losses, then plain backpropagation of fixed depths."""

    def hedged(rng: np.random.Generator, scaled: bool) -> Learner:
        return HedgeBackprop(FEATURES, 2, rng, depth=DEPTH, width=WIDTH, scale_losses=scaled, initial=initial)

    def plain(rng: np.random.Generator, depth: int) -> Learner:
        return Mlp(FEATURES, 2, rng, hidden=[WIDTH] * depth, learning_rate=0.01, initial=initial)

    found: dict[str, Maker] = {"hbp": partial(hedged, scaled=False), "hbp, scaled losses": partial(hedged, scaled=True)}
    return found | {f"L = {depth}": partial(plain, depth=depth) for depth in sorted(depths, reverse=True)}


def accuracy(rows: int, seeds: int, depths: list[int], initials: list[Initial]) -> None:
    """Errors as they come, a line each; then their means."""
    errors: dict[tuple[str, str, str], list[float]] = {}
    for seed in range(seeds):
        for concept, stream in {"Syn8": SYN8, "CD1": CD1, "CD2": CD2}.items():
            x, y = replace(stream, rows=rows).take(rows, np.random.default_rng(seed))
            for initial in initials:
                for name, make in makers(depths, initial).items():
                    learner = make(np.random.default_rng(seed + 1))
                    answers = prequential(learner, [(x, y)], 2)
                    wrong = 1 - float(answers.overall().accuracy[-1])
                    errors.setdefault((initial, name, concept), []).append(wrong)
                    print(f"seed {seed}  {concept:6}{initial:9}{name:20}{wrong:8.2%}", flush=True)
    for initial in initials:
        print(f"\ninitial weights: {initial}; {rows:,} rows, mean ± spread (standard deviation) of {seeds} seeds")
        print(f"{'':20}{'Syn8':>17}{'CD1':>17}{'CD2':>17}")
        for name in makers(depths, initial):
            columns = [errors[initial, name, concept] for concept in ("Syn8", "CD1", "CD2")]
            cells = [f"{statistics.mean(column):.2%} ± {spread(column):.2%}" for column in columns]
            print(f"{name:20}" + "".join(f"{cell:>17}" for cell in cells))


def spread(numbers: list[float]) -> float:
    return statistics.stdev(numbers) if len(numbers) > 1 else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3, 4, 8, 16, 20])
    parser.add_argument("--initial", nargs="+", default=list(INITIAL), choices=INITIAL)
    chosen = parser.parse_args()
    if chosen.accuracy:
        accuracy(chosen.rows, chosen.seeds, chosen.depths, chosen.initial)
    else:
        speed()


if __name__ == "__main__":
    main()
