"""Averaging the weights of a linear learner row by row, compiled as one loop with it. Importing it imports numba.

It does to the bit what `estran.learning.averaging.model.Averaged` does with snapshots, two orders of magnitude faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from estran.learning.averaging.windows import WINDOWS
from estran.learning.compiled import compiled
from estran.learning.linear.kernel import finite, visit
from estran.learning.linear.plan import CLOCK, PROTOTYPES, SIZE, STRIDE, WIDTH
from estran.learning.linear.rows import dot

Array: TypeAlias = NDArray[Any]
SUFFIX: Final = WINDOWS.index("suffix")


def _spoken(mean: Array, older: Array, halved: bool, rows: int, start: int, target: Array) -> None:
    """The weights to answer by; of a suffix that has begun its newer half at row ``start``, both halves'."""
    both = halved and start > 1
    share = (rows - start + 1) / (rows - start // 2 + 1)
    for k in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            target[k, j] = older[k, j] + share * (mean[k, j] - older[k, j]) if both else mean[k, j]


spoken: Callable[[Array, Array, bool, int, int, Array], None] = compiled(_spoken, inlined=True)


def _take(mean: Array, weights: Array, number: int, decay: Any) -> None:
    """Let weights into a mean as its row ``number``."""
    share = (1.0 + decay) / (number + decay)
    for k in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            mean[k, j] = weights[k, j] if number == 1 else mean[k, j] + share * (weights[k, j] - mean[k, j])


take: Callable[[Array, Array, int, Any], None] = compiled(_take, inlined=True)


def _learn(
    plan: Array,
    live: Array,
    spare: Array,
    x: Array,
    y: Array,
    answers: Array,
    mean: Array,
    older: Array,
    rows: int,
    window: int,
    decay: Any,
) -> int:
    """`estran.learning.linear.kernel.learn`, answered by averages, which are changed; ``rows`` is how many they are of."""
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    spare[:size] = live[:size]
    edge = CLOCK + prototypes * stride
    clock, weights, rest = spare[:CLOCK], spare[CLOCK:edge].reshape(prototypes, stride), spare[edge:size]
    row, sx, scores = spare[size : size + stride], spare[size + stride : size + 3 * stride], spare[size + 3 * stride :]
    row[:] = 0.0
    row[width - 1] = 1.0
    halved, start, voice = window == SUFFIX, 1, weights.copy()
    while 2 * start <= rows:
        start *= 2
    for i in range(len(x)):
        if y[i] < 0 or y[i] >= max(2, prototypes):
            return i
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        if rows > 0:
            spoken(mean, older, halved, rows, start, voice)
        answer, best = 0, 0.0 if prototypes == 1 else -math.inf
        for k in range(prototypes):
            found = dot(voice[k], None, row)
            if not abs(found) < math.inf:
                return i
            if found > best:
                answer, best = (1 if prototypes == 1 else k), found
        answers[i] = answer
        if visit(plan, clock, weights, rest, None, row, y[i], scores, sx) < 0:
            return i
        rows += 1
        if halved and rows == 2 * start:
            start = rows
            older[:] = mean
        take(mean, weights, rows - start + 1 if halved else rows, decay)
    return -1 if finite(spare[:size]) and finite(mean.reshape(-1)) else len(x)


learn: Callable[..., int] = compiled(_learn)
