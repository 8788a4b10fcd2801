"""Online AUC maximisation, row by row. Importing it imports numba, so only learning does so.

All numbers of a learner lie in one array: four of the clock (seed, draws made, rows of class 0, rows of class 1), the weights, the
mean row of each class, and then what the method remembers of rows: a buffer of each class, or a covariance of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.draws import uniform
from estran.learning.linear.kernel import finite
from estran.learning.mlp_kernel import add, dot

Array: TypeAlias = NDArray[Any]
CLOCK: Final = 4
SEED, DRAWS, SEEN = range(3)


def _parted(weights: Array, means: Array, row: Array) -> Any:
    """Score of a row beyond the point half way between the mean scores of both classes."""
    return dot(weights, row) - 0.5 * (dot(weights, means[0]) + dot(weights, means[1]))


parted: Callable[[Array, Array, Array], Any] = compiled(_parted, inlined=True)


def _take(mean: Array, count: Any, row: Array) -> None:
    """Let a row into a mean of ``count`` rows, itself included."""
    for j in range(row.size):
        mean[j] += (row[j] - mean[j]) / count


take: Callable[[Array, Any, Array], None] = compiled(_take, inlined=True)


def _keep(clock: Array, buffer: Array, count: Any, row: Array) -> None:
    """Let row number ``count`` of its class into a reservoir (Vitter, ACM TOMS 11:37, 1985): all so far are as likely in it."""
    place = int(count) - 1
    if place >= len(buffer):
        place = int(uniform(clock[SEED], clock[DRAWS]) * count)
        clock[DRAWS] += 1.0
    if place < len(buffer):
        for j in range(row.size):
            buffer[place, j] = row[j]


keep: Callable[[Array, Array, Any, Array], None] = compiled(_keep, inlined=True)


def _part_pairs(weights: Array, rivals: Array, row: Array, sign: Any, c: Any, sequential: bool, away: Array, moves: Array) -> None:
    """OAM's update (Zhao et al. 2011): part a row from each one kept of the other class by a margin of one."""
    moves[:] = 0.0
    for i in range(len(rivals)):
        for j in range(row.size):
            away[j] = sign * (row[j] - rivals[i, j])
        margin = dot(weights, away)
        if not abs(margin) < math.inf:
            weights[:] = math.nan  # which the caller will find
            return
        if sequential:
            square = dot(away, away)
            if margin < 1.0 and square > 0.0:
                add(min(0.5 * c, (1.0 - margin) / square), away, weights)
        elif margin <= 1.0:
            add(0.5 * c, away, moves)
    if not sequential:
        add(1.0, moves, weights)


part_pairs: Callable[[Array, Array, Array, Any, Any, bool, Array, Array], None] = compiled(_part_pairs, inlined=True)


def _learn_oam(live: Array, spare: Array, kept: int, c: Any, sequential: bool, x: Array, y: Array, scores: Array) -> int:
    """Score, then learn, row after row, from ``live`` into ``spare``. -1, or the row where it went wrong (n: not finite)."""
    d = x.shape[1]
    spare[:] = live
    clock, weights, means = spare[:CLOCK], spare[CLOCK : CLOCK + d], spare[CLOCK + d : CLOCK + 3 * d].reshape(2, d)
    buffers = spare[CLOCK + 3 * d :].reshape(2, kept, d)
    away, moves = np.empty(d), np.empty(d)
    for i in range(len(y)):
        row, label = x[i], y[i]
        if label < 0 or label > 1:
            return i
        scores[i] = parted(weights, means, row)
        if not abs(scores[i]) < math.inf:
            return i
        other = 1 - label
        clock[SEEN + label] += 1.0
        keep(clock, buffers[label], clock[SEEN + label], row)
        take(means[label], clock[SEEN + label], row)
        rivals = min(kept, int(clock[SEEN + other]))
        # A full buffer stands for all rows of its class.
        weight = c * max(1.0, clock[SEEN + other] / kept)
        part_pairs(weights, buffers[other, :rivals], row, 2.0 * label - 1.0, weight, sequential, away, moves)
    return -1 if finite(spare) else len(y)


def _spread(mean: Array, covariance: Array, count: Any, row: Array, away: Array) -> None:
    """Let a row into the mean and the covariance of ``count`` rows, itself included (Welford, Technometrics 4:419, 1962)."""
    for j in range(row.size):
        away[j] = row[j] - mean[j]
    rest = (count - 1.0) / count
    for j in range(row.size):
        step = away[j] / count
        for k in range(row.size):
            covariance[j, k] = rest * (covariance[j, k] + step * away[k])
    take(mean, count, row)


spread: Callable[[Array, Array, Any, Array, Array], None] = compiled(_spread, inlined=True)


def _learn_opauc(live: Array, spare: Array, rate: Any, decay: Any, x: Array, y: Array, scores: Array) -> int:
    """The same by OPAUC (Gao et al., algorithm 1): a step down the square loss of a row and all rows of the other class."""
    d = x.shape[1]
    spare[:] = live
    clock, weights, means = spare[:CLOCK], spare[CLOCK : CLOCK + d], spare[CLOCK + d : CLOCK + 3 * d].reshape(2, d)
    covariances = spare[CLOCK + 3 * d :].reshape(2, d, d)
    away, moves = np.empty(d), np.empty(d)
    for i in range(len(y)):
        row, label = x[i], y[i]
        if label < 0 or label > 1:
            return i
        scores[i] = parted(weights, means, row)
        if not abs(scores[i]) < math.inf:
            return i
        other, sign = 1 - label, 2.0 * label - 1.0
        clock[SEEN + label] += 1.0
        spread(means[label], covariances[label], clock[SEEN + label], row, away)
        if clock[SEEN + other] == 0.0:
            continue
        for j in range(d):
            away[j] = row[j] - means[other, j]
        pull = dot(away, weights) - sign
        for j in range(d):
            moves[j] = decay * weights[j] + pull * away[j] + dot(covariances[other, j], weights)
        add(-rate, moves, weights)
    return -1 if finite(spare) else len(y)


def _decide(live: Array, x: Array, scores: Array) -> int:
    """Scores of a chunk. -1, or the first row whose score is not finite."""
    d = x.shape[1]
    weights, means = live[CLOCK : CLOCK + d], live[CLOCK + d : CLOCK + 3 * d].reshape(2, d)
    for i in range(len(x)):
        scores[i] = parted(weights, means, x[i])
        if not abs(scores[i]) < math.inf:
            return i
    return -1


learn_oam: Callable[[Array, Array, int, Any, bool, Array, Array, Array], int] = compiled(_learn_oam)
learn_opauc: Callable[[Array, Array, Any, Any, Array, Array, Array], int] = compiled(_learn_opauc)
decide: Callable[[Array, Array, Array], int] = compiled(_decide)
