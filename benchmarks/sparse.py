"""Sparse linear learners: mistakes and zeros on LIBSVM's a1a, w1a or w8a, beside dense ones and SOL's figures; cost of wide rows.

``a1a a1a.t`` (paths) takes the first file to learn from, and the second to test on, if there is one. Beside SOL's figures are ours
of one pass in the file's order, as there. The table has means of 10 orders, since LIBSVM's w files are sorted by class. Mistakes
are online: each row is answered before it is learned. λ is the one of a grid with the fewest of them, and again the one that gives
the most zeros with at most a twentieth more of them.

``--wide`` prints the time of a row of 50 nonzero features among 1000 to 100,000, in chunks of 64 and of 512, and what of the former
an empty chunk costs, too: it copies the state.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_svmlight_files

from estran.learning import registry

SPARSE = ("truncated-gradient", "fobos", "rda", "enhanced-rda", "ada-fobos", "ada-rda")
GRID = (0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SOL = {("a1a", "ogd"): (0.8125, None), ("a1a", "arow"): (0.8249, 0.8427)}
"""Shares of right answers: online, and on the test file afterwards, as SOL prints them."""
TOLERATED, ORDERS = 1.05, 10


Figures = tuple[float, float, float]


def learned(choice: Any, x: Any, y: Any, test: Any) -> Figures:
    """Shares of mistakes, of zero weights, and of right answers on the test rows (NaN without any)."""
    learner: Any = registry.create(choice, x.shape[1], 2, np.random.default_rng(0))
    mistakes = float((learner.predict_then_learn(x, y) != y).mean())
    zeros = float((learner.state()["weights"][:, : x.shape[1]] == 0).mean())
    return mistakes, zeros, float("nan") if test is None else float((learner.predict(test[0]) == test[1]).mean())


def table(paths: list[Path]) -> None:
    loaded = load_svmlight_files([str(path) for path in paths])
    x, y = loaded[0], (loaded[1] > 0).astype(np.int64)
    test = (loaded[2], (loaded[3] > 0).astype(np.int64)) if len(paths) > 1 else None
    file = paths[0].name
    print(f"{file}: {x.shape[0]} rows, {x.shape[1]} features, {x.nnz / x.shape[0]:.1f} nonzero; {y.mean():.4f} are of class 1")
    for (name, learner), (online, tested) in SOL.items():
        if name == file:
            mistakes, _, right = learned(learner, x, y, test)
            beside = f"; tested {right:.4f}, SOL {tested:.4f}" if tested else ""
            print(f"{learner} in the file's order: right online {1 - mistakes:.4f}, SOL {online:.4f}{beside}")
    orders = [np.random.default_rng(seed).permutation(len(y)) for seed in range(ORDERS)]

    def mean(choice: Any) -> Figures:
        mistakes, zeros, right = np.mean([learned(choice, x[order], y[order], test) for order in orders], axis=0)
        return float(mistakes), float(zeros), float(right)

    def show(label: str, setting: str, found: Figures) -> None:
        print(f"{label:20}{setting:>8}{found[0]:10.4f}{found[1]:8.3f}{found[2]:8.4f}", flush=True)

    print(f"{'':20}{'λ':>8}{'mistakes':>10}{'zeros':>8}{'tested':>8}")
    for name in ("ogd", "arow", "adagrad"):
        show(name, "", mean(name))
    for name in SPARSE:
        found = {l1: mean({name: {"l1": l1}}) for l1 in GRID}
        best = min(found, key=lambda l1: found[l1][0])
        spare = max((l1 for l1 in GRID if found[l1][0] <= found[best][0] * TOLERATED), key=lambda l1: found[l1][1])
        for l1 in dict.fromkeys((best, spare)):
            show(name, f"{l1:g}", found[l1])


def wide() -> None:
    from scipy.sparse import csr_matrix

    rng, rows, nonzero = np.random.default_rng(0), 512, 50
    print(f"{'ns a row':20}{'d':>9}{'chunk 64':>10}{'chunk 512':>11}{'empty / 64':>11}{'without':>9}")
    for name in SPARSE:
        for d in (1000, 10_000, 100_000):
            columns = np.concatenate([np.sort(rng.choice(d, nonzero, replace=False)) for _ in range(rows)])
            x = csr_matrix((rng.normal(size=rows * nonzero), columns, np.arange(0, rows * nonzero + 1, nonzero)), shape=(rows, d))
            y = rng.integers(2, size=rows)
            learner: Any = registry.create(name, d, 2, rng)
            spent = {}
            for chunk in (64, 512):
                parts = [(x[at : at + chunk], y[at : at + chunk]) for at in range(0, rows, chunk)]
                spent[chunk] = best_time(partial(taught, learner, parts)) / rows
            idle = best_time(partial(taught, learner, [(x[:0], y[:0])]))
            print(f"{name:20}{d:9}{spent[64]:10.0f}{spent[512]:11.0f}{idle / 64:11.0f}{spent[64] - idle / 64:9.0f}", flush=True)


def taught(learner: Any, parts: list[Any]) -> None:
    for part in parts:
        learner.learn_many(*part)


def best_time(step: Any) -> float:
    """Nanoseconds of CPU of one call, the best of some."""
    step()
    found = []
    for _ in range(15):
        start = time.process_time_ns()
        step()
        found.append(time.process_time_ns() - start)
    return float(min(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="LIBSVM files: to learn from, and to test on")
    parser.add_argument("--wide", action="store_true")
    given = parser.parse_args()
    if given.paths:
        table(given.paths)
    if given.wide or not given.paths:
        wide()


if __name__ == "__main__":
    main()
