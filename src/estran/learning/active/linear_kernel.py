"""Asking row by row around a linear learner, compiled as one loop with it. Importing it imports numba.

It does to the bit what `estran.learning.active.model.Active` does with calls of one row, two orders of magnitude faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from estran.learning.active.kernel import Array, ask
from estran.learning.active.rules import CODE, Rule
from estran.learning.compiled import compiled
from estran.learning.linear.kernel import blur, finite, score, visit
from estran.learning.linear.plan import CLOCK, MEMORY, PROTOTYPES, RULE, SIZE, STRIDE, WIDTH

SECOND_ORDER: Final = int(Rule.SECOND_ORDER)


def _best_two(scores: Array) -> tuple[int, int]:
    """The best and the second best of three scores or more, as `estran.learning.inner.lead` finds them."""
    first, second = (0, 1) if scores[0] >= scores[1] else (1, 0)
    for k in range(2, len(scores)):
        if scores[k] > scores[first]:
            first, second = k, first
        elif scores[k] > scores[second]:
            second = k
    return first, second


best_two: Callable[[Array], tuple[int, int]] = compiled(_best_two, inlined=True)


def _learn(plan: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array, rule: Array, numbers: Array) -> int:
    """`estran.learning.linear.kernel.learn`, but of those rows only that the rule asks for; its ``numbers`` are changed."""
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    code, memory, kept = int(plan[RULE]), int(plan[MEMORY]), int(rule[CODE])
    spare[:size] = live[:size]
    edge = CLOCK + prototypes * stride
    clock, weights, rest = spare[:CLOCK], spare[CLOCK:edge].reshape(prototypes, stride), spare[edge:size]
    row, sx, scores = spare[size : size + stride], spare[size + stride : size + 3 * stride], spare[size + 3 * stride :]
    row[:] = 0.0
    row[width - 1] = 1.0
    for i in range(len(x)):
        if y[i] < 0 or y[i] >= max(2, prototypes):
            return i
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        for k in range(prototypes):
            scores[k] = score(code, memory, weights, rest, k, None, row, sx[:stride])
            if not abs(scores[k]) < math.inf:
                return i
        first, second, gap, variance = 0, 0, abs(scores[0]), 0.0
        if prototypes > 1:
            first, second = best_two(scores)
            gap = scores[first] - scores[second]
        if kept == SECOND_ORDER:
            variance = blur(memory, stride, rest, first, None, row, sx[:stride])
            if second != first:
                variance += blur(memory, stride, rest, second, None, row, sx[:stride])
        if ask(rule, numbers, gap, 0.0, variance):
            answers[i] = visit(plan, clock, weights, rest, None, row, y[i], scores, sx)
            if answers[i] < 0:
                return i
        elif prototypes == 1:
            answers[i] = 1 if scores[0] > 0.0 else 0
        else:
            answers[i] = scores[:prototypes].argmax()
    return -1 if finite(spare[:size]) else len(x)


def _variances(plan: Array, live: Array, x: Array, found: Array) -> int:
    """Variance of each row of a dense chunk under each prototype's covariance, shape (n, prototypes). -1: all went well."""
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    memory, rest = int(plan[MEMORY]), live[CLOCK + prototypes * stride : size]
    row, sx = live[size : size + stride], live[size + stride : size + 2 * stride]
    row[:] = 0.0
    row[width - 1] = 1.0
    for i in range(len(x)):
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        for k in range(prototypes):
            found[i, k] = blur(memory, stride, rest, k, None, row, sx)
    return -1


learn: Callable[[Array, Array, Array, Array, Array, Array, Array, Array], int] = compiled(_learn)
variances: Callable[[Array, Array, Array, Array], int] = compiled(_variances)
