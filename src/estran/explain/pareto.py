"""Trade-offs: which points of a design no other point beats in all responses together, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.better import higher_is_better
from estran.explain.model import Estimate, Matrix
from estran.explain.table import Table

RESAMPLES: Final = 1000
"""Of the bootstrap that the certainty of each candidate is from."""
USUAL: Final = (("accuracy",), ("latency", "exchange_latency"), ("energy",), ("bytes_sent", "message_bytes"))
"""What is traded if nothing is asked: of each group, the first response that was measured and varies."""
_ROUNDING: Final = 1e-9
"""Means that differ by less than this share of the largest one differ by rounding only."""


@dataclass(frozen=True)
class Candidate:
    """One point of the design.

    Attributes
    ----------
    means
        Of each response, over the point's runs; ``ci95`` is by Student's t, None where there is a single run.
    on_front
        Whether no other point is as good in all responses and better in one, by the means.
    confidence
        Share of resamples of the blocks in which it is on the front; None where there is one block, and nothing to resample.
    rank
        Of the front that it is on: 1, or 2 if it would be on the front without those of rank 1, and so on.
    """

    levels: Mapping[str, str]
    means: tuple[float, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    on_front: bool
    confidence: float | None
    rank: int


@dataclass(frozen=True)
class Front:
    """All candidates, in the order of their levels.

    Attributes
    ----------
    left_out
        Points none of whose runs measured all of the responses.
    """

    responses: tuple[str, ...]
    units: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    candidates: tuple[Candidate, ...]
    left_out: int


def usual(table: Table) -> tuple[str, ...]:
    """The responses that are traded if nothing is asked: accuracy, latency, energy and bytes, where they vary."""
    chosen = (next((name for name in group if table.varies(name)), None) for group in USUAL)
    return tuple(name for name in chosen if name is not None)


def front(table: Table, responses: Sequence[str], rng: np.random.Generator) -> Front:
    """Find the Pareto front of a study's points.

    Runs count that measured all of the responses. Blocks are resampled whole, so that what the points of a block have in common
    (the seed, its data) does not blur their order (Efron, Tibshirani, *An introduction to the bootstrap*, 1993).

    Parameters
    ----------
    rng
        Source of resamples.

    Raises
    ------
    RequestError
        If there are fewer than two responses or points, or it is not known which way a response is better.
    """
    names = tuple(dict.fromkeys(responses))
    good = _directions(table, names)
    values = np.column_stack([table.responses[name] for name in names])
    rows = table.done & np.isfinite(values).all(axis=1)
    codes = np.column_stack([table.codes[name] for name in table.codes])
    points, which = np.unique(codes, axis=0, return_inverse=True)
    which = which.reshape(-1)
    known = np.unique(which[rows])
    if len(known) < 2:
        what = f"{len(known)} point{'' if len(known) == 1 else 's'} of the design measured {', '.join(names)}"
        raise RequestError(what, where=str(table.folder.path), remedy="a trade-off needs two points at least")
    groups = [values[rows & (which == number)] for number in known]
    signs = np.where(good, -1.0, 1.0)
    means = np.array([group.mean(axis=0) for group in groups])
    scale = np.abs(means).max(axis=0)
    ranks = sorted_fronts(_costs(means, signs, scale))
    blocks = np.unique(table.blocks, return_inverse=True)[1]
    sure = _confidence(values[rows], blocks[rows], np.searchsorted(known, which[rows]), means, signs, scale, rng)
    candidates = tuple(
        Candidate(
            levels={name: table.levels[name][code] for name, code in zip(table.codes, points[number].tolist(), strict=True)},
            means=tuple(means[i].tolist()),
            ci95=tuple(_interval(group[:, k]) for k in range(len(names))),
            on_front=bool(ranks[i] == 1),
            confidence=None if sure is None else float(sure[i]),
            rank=int(ranks[i]),
        )
        for i, (number, group) in enumerate(zip(known, groups, strict=True))
    )
    return Front(names, tuple(table.units.get(name, "") for name in names), good, candidates, len(points) - len(known))


def dominates(costs: Matrix) -> NDArray[np.bool_]:
    """Which row is as low as which other in all columns, and lower in one; shape (rows, rows). Of equal rows, neither is."""
    no_worse = np.ones((len(costs), len(costs)), dtype=np.bool_)
    better = np.zeros_like(no_worse)
    for column in costs.T:
        no_worse &= column[:, None] <= column
        better |= column[:, None] < column
    return no_worse & better


def sorted_fronts(costs: Matrix) -> NDArray[np.int64]:
    """Number of the front that each row is on, from 1: the non-dominated sort of Deb et al. (NSGA-II), IEEE TEVC 6, 2002."""
    beaten, ranks, number = dominates(costs), np.zeros(len(costs), dtype=np.int64), 0
    while (left := ranks == 0).any():
        number += 1
        ranks[left & ~beaten[left].any(axis=0)] = number
    return ranks


def _directions(table: Table, names: tuple[str, ...]) -> tuple[bool, ...]:
    if absent := [name for name in names if name not in table.responses]:
        known = ", ".join(sorted(table.responses))
        raise RequestError(f"no run measured {', '.join(absent)}", where="--response", remedy=f"choose of {known}")
    if len(names) < 2:
        what = f"{len(names)} response{'' if len(names) == 1 else 's'} that varies cannot be traded"
        raise RequestError(what, where="--response", remedy="give two or more")
    good = {name: higher_is_better(name) for name in names}
    if unknown := [name for name, way in good.items() if way is None]:
        what = f"whether more or less of {', '.join(unknown)} is better is not known"
        raise RequestError(what, where="--response", remedy="leave it out")
    return tuple(bool(way) for way in good.values())


def _costs(means: Matrix, signs: Matrix, scale: Matrix) -> Matrix:
    """Lower is better; what differs by rounding only is made equal."""
    grain = np.where(scale > 0, scale * _ROUNDING, 1.0)
    return np.asarray(np.round(means * signs / grain))


def _confidence(
    values: Matrix, blocks: NDArray[np.int64], which: NDArray[np.int64], means: Matrix, signs: Matrix, scale: Matrix,
    rng: np.random.Generator,
) -> Matrix | None:  # fmt: skip
    """Share of resamples in which each candidate is on the front. One that has no run in a resample keeps its mean."""
    count = int(blocks.max()) + 1
    if count < 2 or len(np.unique(blocks)) < 2:
        return None
    sums, runs = np.zeros((count, *means.shape)), np.zeros((count, len(means)))
    np.add.at(sums, (blocks, which), values)
    np.add.at(runs, (blocks, which), 1.0)
    held = np.zeros(len(means))
    for weights in rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES):
        drawn = (weights @ runs)[:, None]
        resampled = np.where(drawn > 0, np.tensordot(weights, sums, 1) / np.maximum(drawn, 1), means)
        held += ~dominates(_costs(resampled, signs, scale)).any(axis=0)
    return held / RESAMPLES


def _interval(values: Matrix) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values) - 1).interval()
