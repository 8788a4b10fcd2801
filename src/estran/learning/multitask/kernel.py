"""The multitask perceptron, row by row. Importing it imports numba, so only learning does so.

Weights have the shape (tasks, prototypes, width): one prototype for two classes, else one a class. The last column of a row is the
number of its task; in the weights, its place is that of the bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.linear.kernel import finite
from estran.learning.mlp_kernel import add, dot

Array: TypeAlias = NDArray[Any]


def _seat(row: Array, tasks: int, value: Array) -> int:
    """Copy the features of a row before the bias's 1, and answer its task; -1 where there is no such task."""
    number = row[row.size - 1]
    if not (0.0 <= number < tasks) or number != math.floor(number):
        return -1
    for j in range(row.size - 1):
        value[j] = row[j]
    return int(number)


seat: Callable[[Array, int, Array], int] = compiled(_seat, inlined=True)


def _score(prototypes: Array, value: Array, scores: Array) -> bool:
    """Scores of a row for one task's prototypes; whether all are finite."""
    for k in range(len(prototypes)):
        scores[k] = dot(prototypes[k], value)
        if not abs(scores[k]) < math.inf:
            return False
    return True


score: Callable[[Array, Array, Array], bool] = compiled(_score, inlined=True)


def _learn(weights: Array, spare: Array, shares: Array, bias: Any, x: Array, y: Array, answers: Array) -> int:
    """Answer, then learn, row after row, from ``weights`` into ``spare``. -1, or the row where it went wrong (n: not finite).

    ``shares[j, i]`` is how much of a step of task i task j makes too; ``bias`` is 1, or 0 where there is none.
    """
    spare[:] = weights
    tasks, prototypes, width = spare.shape
    value, scores = np.empty(width), np.empty(prototypes)
    value[width - 1] = bias
    for i in range(len(y)):
        task = seat(x[i], tasks, value)
        if task < 0 or y[i] < 0 or y[i] >= max(2, prototypes) or not score(spare[task], value, scores):
            return i
        yes, no, sign = y[i], -1, 1.0
        if prototypes == 1:
            answers[i] = 1 if scores[0] > 0.0 else 0
            yes, sign = 0, 2.0 * y[i] - 1.0
            margin = sign * scores[0]
        else:
            answers[i] = scores.argmax()
            for k in range(prototypes):
                if k != yes and (no < 0 or scores[k] > scores[no]):
                    no = k
            margin = scores[yes] - scores[no]
        if margin > 0.0:
            continue
        for j in range(tasks):
            if shares[j, task] != 0.0:
                add(sign * shares[j, task], value, spare[j, yes])
                if no >= 0:
                    add(-shares[j, task], value, spare[j, no])
    return -1 if finite(spare.reshape(-1)) else len(y)


def _decide(weights: Array, bias: Any, x: Array, found: Array) -> int:
    """Scores of a chunk, shape (n, prototypes). -1, or the first row that has no task or no finite score."""
    tasks, _, width = weights.shape
    value = np.empty(width)
    value[width - 1] = bias
    for i in range(len(x)):
        task = seat(x[i], tasks, value)
        if task < 0 or not score(weights[task], value, found[i]):
            return i
    return -1


learn: Callable[[Array, Array, Array, Any, Array, Array, Array], int] = compiled(_learn)
decide: Callable[[Array, Any, Array, Array], int] = compiled(_decide)
