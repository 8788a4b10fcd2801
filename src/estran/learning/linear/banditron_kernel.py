"""The loop of Banditron: predict a row, explore, and learn from being right or wrong. Importing it imports numba.

As in `estran.learning.linear.kernel`, whose scores these are, all numbers lie in one array and are copied before a chunk is
learned. The clock is here: rows seen, which number the draws; answers explored; seed of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from estran.learning.compiled import compiled
from estran.learning.draws import seed_from as seed_from
from estran.learning.draws import uniform
from estran.learning.linear.kernel import decide as decide
from estran.learning.linear.kernel import decide_sparse as decide_sparse
from estran.learning.linear.kernel import finite, gather
from estran.learning.linear.plan import CLOCK, PROTOTYPES, SETTINGS, SIZE, WIDTH
from estran.learning.linear.rows import Array, Index, add, dot


def _visit(gamma: Any, clock: Array, weights: Array, index: Index, value: Array, label: int) -> int:
    """Answer one row and learn from it; -1 if the scores are not finite. The label is looked at once, to tell right from wrong.

    Two classes share one vector, the difference of theirs: all that answers depend on.
    """
    prototypes = len(weights)
    classes = max(2, prototypes)
    best, highest = 0, dot(weights[0], index, value)
    if not abs(highest) < math.inf:
        return -1
    if prototypes == 1:
        best = 1 if highest > 0.0 else 0
    for k in range(1, prototypes):
        score = dot(weights[k], index, value)
        if not abs(score) < math.inf:
            return -1
        if score > highest:
            best, highest = k, score
    # One draw decides both whether to explore and, by what is left of it, which class.
    u = uniform(clock[2], clock[0])
    given = best
    if u < gamma:
        given = min(int(u / gamma * classes), classes - 1)
        clock[1] += 1.0
    right = given == label
    clock[0] += 1.0
    probability = gamma / classes + (1.0 - gamma if given == best else 0.0)
    if prototypes == 1:
        step = -1.0 if best == 1 else 1.0
        if right:
            step += (1.0 if given == 1 else -1.0) / probability
        add(weights[0], index, step, value)
        return best
    if right and given == best:
        add(weights[best], index, 1.0 / probability - 1.0, value)
        return best
    if right:
        add(weights[given], index, 1.0 / probability, value)
    add(weights[best], index, -1.0, value)
    return best


visit: Callable[[Any, Array, Array, Index, Array, int], int] = compiled(_visit, inlined=True)


def _learn(plan: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array) -> int:
    """Predict, explore, learn, row after row of a dense chunk, from ``live`` into ``spare``, as in the linear kernel."""
    prototypes, width, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[SIZE])
    spare[:size] = live[:size]
    clock, weights = spare[:CLOCK], spare[CLOCK:size].reshape(prototypes, width)
    row = spare[size : size + width]
    row[width - 1] = 1.0
    for i in range(len(x)):
        if y[i] < 0 or y[i] >= max(2, prototypes):
            return i
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        answers[i] = visit(plan[SETTINGS], clock, weights, None, row, y[i])
        if answers[i] < 0:
            return i
    return -1 if finite(spare[:size]) else len(x)


def _learn_sparse(
    plan: Array, live: Array, spare: Array, data: Array, columns: Array, starts: Array, y: Array, answers: Array, bias: bool
) -> int:
    """The same of a chunk in compressed sparse rows, with ascending columns."""
    prototypes, width, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[SIZE])
    spare[:size] = live[:size]
    clock, weights = spare[:CLOCK], spare[CLOCK:size].reshape(prototypes, width)
    row = spare[size : size + width]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(y)):
        if y[i] < 0 or y[i] >= max(2, prototypes):
            return i
        count = gather(data, columns, starts, i, bias, width, where, row)
        answers[i] = visit(plan[SETTINGS], clock, weights, (where[:count], lanes, width), row[:count], y[i])
        if answers[i] < 0:
            return i
    return -1 if finite(spare[:size]) else len(y)


learn: Callable[[Array, Array, Array, Array, Array, Array], int] = compiled(_learn)
learn_sparse: Callable[[Array, Array, Array, Array, Array, Array, Array, Array, bool], int] = compiled(_learn_sparse)
