"""The loop that all linear learners share: predict a row, then learn from it. Importing it imports numba.

All numbers of a learner lie in one array, as `estran.learning.linear.plan` says. The kernel copies them, works on the copy and
answers where it stopped, so that a chunk that diverges half way leaves no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from estran.learning.compiled import compiled
from estran.learning.linear.cost_rules import costed
from estran.learning.linear.newton_rules import newton
from estran.learning.linear.plan import CLOCK, MEMORY, PRIOR, PROTOTYPES, RULE, SETTINGS, SIZE, STRIDE, WIDTH, Memory, Rule
from estran.learning.linear.rows import Array, Index, add, add_dense, dot, inner, narrow, spread, times
from estran.learning.linear.rules import adapt, first, follow, second, slope, threshold
from estran.learning.linear.vectors import less_square, sum_of_products
from estran.learning.linear.winnow_rules import winnow

FULL: Final = int(Memory.FULL)
NONE: Final = int(Memory.NONE)
SOP: Final = int(Rule.SOP)
ALMA: Final = int(Rule.ALMA)
ADAGRAD: Final = int(Rule.ADAGRAD)
FTRL: Final = int(Rule.FTRL)
ROMMA: Final = int(Rule.ROMMA)
AROMMA: Final = int(Rule.AROMMA)
IELLIP: Final = int(Rule.IELLIP)
COSTED: Final = (int(Rule.PAUM), int(Rule.CPA), int(Rule.CSOGD))
WINNOW: Final = int(Rule.WINNOW)
ONS: Final = int(Rule.ONS)
CONFIDENT: Final = (int(Rule.CW), int(Rule.ECCW), int(Rule.SCW1), int(Rule.SCW2))
TRACE: Final = 1e-30
"""No variance of a diagonal falls below this much of what it began with: confident rules on noise would take it to zero."""
FLOOR: Final = 1e-10
"""No update narrows a full covariance along a row below this much of what it began with: rounding would make it indefinite."""


def _blur(memory: int, width: int, rest: Array, k: int, index: Index, value: Array, sx: Array) -> Any:
    """Fill ``sx`` with covariance times row, and answer the row's variance; aligned with the row where it is diagonal."""
    if memory == FULL:
        spread(rest[k * width * width : (k + 1) * width * width], width, index, value, sx)
        return dot(sx, index, value)
    times(rest[k * width : (k + 1) * width], index, value, sx)
    return inner(index, value, sx)


blur: Callable[[int, int, Array, int, Index, Array, Array], Any] = compiled(_blur, inlined=True)


def _score(rule: int, memory: int, weights: Array, rest: Array, k: int, index: Index, value: Array, sx: Array) -> Any:
    """Score of a row for a prototype. The second-order perceptron's counts the row itself in: w·S'x with S'⁻¹ = S⁻¹ + x·xᵀ."""
    width = weights.shape[1]
    if rule != SOP:
        return dot(weights[k], index, value)
    v = blur(memory, width, rest, k, index, value, sx)
    blurred = sum_of_products(weights[k], sx) if memory == FULL else dot(weights[k], index, sx)
    return blurred / (1.0 + v)


score: Callable[[int, int, Array, Array, int, Index, Array, Array], Any] = compiled(_score, inlined=True)


def _shrink(
    memory: int, width: int, rest: Array, k: int, index: Index, value: Array, sx: Array, v: Any, gain: Any, least: Any
) -> None:
    """``1/S += gain·x·xᵀ`` for one prototype, whose ``sx`` is S·x and v is x·S·x (Sherman, Morrison); not below ``least``."""
    if memory != FULL:
        narrow(rest[k * width : (k + 1) * width], index, value, gain, least)
        return
    if v <= least:
        return
    beta = gain / (1.0 + gain * v)
    if v < least * (1.0 + gain * v):
        beta = (1.0 - least / v) / v
    # Each factor takes half of beta, so that what is subtracted is symmetric to the bit.
    half = math.sqrt(beta)
    for i in range(width):
        sx[i] *= half
    less_square(rest[k * width * width : (k + 1) * width * width], sx)


shrink: Callable[[int, int, Array, int, Index, Array, Array, Any, Any, Any], None] = compiled(_shrink, inlined=True)


def _first_order(
    plan: Array, clock: Array, weights: Array, yes: int, no: int, sign: Any, m: Any, index: Index, value: Array
) -> None:
    """One row of a first-order rule: towards the label's prototype, away from its rival's."""
    rule, p = int(plan[RULE]), plan[SETTINGS:]
    if m > threshold(rule, p):
        return
    square = inner(index, value, value) * (1.0 if no < 0 else 2.0)
    flat = weights.reshape(-1)
    norm = sum_of_products(flat, flat) if rule in (ROMMA, AROMMA) else 0.0
    scale, step = first(rule, p, clock, m, square, norm)
    if scale != 1.0:
        for j in range(flat.size):
            flat[j] *= scale
    if step != 0.0:
        add(weights[yes], index, sign * step, value)
        if no >= 0:
            add(weights[no], index, -step, value)


def _large_margin(
    plan: Array, clock: Array, weights: Array, yes: int, no: int, sign: Any, m: Any, index: Index, value: Array
) -> None:
    """One row of ALMA₂ (Gentile, JMLR 2:213, 2001, figure 1), at unit length; p = (α, C, B), the clock counts updates."""
    p = plan[SETTINGS:]
    length = math.sqrt(inner(index, value, value) * (1.0 if no < 0 else 2.0))
    root = math.sqrt(clock[1] + 1.0)
    if length == 0.0 or m / length > (1.0 - p[0]) * p[2] / root:
        return
    step = p[1] / (root * length)
    add(weights[yes], index, sign * step, value)
    if no >= 0:
        add(weights[no], index, -step, value)
    clock[1] += 1.0
    flat = weights.reshape(-1)
    norm = sum_of_products(flat, flat)
    if norm > 1.0:
        shorter = 1.0 / math.sqrt(norm)
        for j in range(flat.size):
            flat[j] *= shorter


def _columnwise(rule: int, p: Array, weights: Array, rest: Array, k: int, push: Any, index: Index, value: Array) -> None:
    """AdaGrad or FTRL-Proximal on one prototype, whose gradient is ``push`` times the row."""
    width = weights.shape[1]
    mine = weights[k]
    known = rest[k * width : (k + 1) * width]
    if rule == ADAGRAD:  # p = (η, loss, ε)
        if index is None:
            adapt(p[0], p[2], push, mine, known, value)
        else:
            for i in range(value.size):
                j = index[0][i]
                adapt(p[0], p[2], push, mine[j : j + 1], known[j : j + 1], value[i : i + 1])
        return
    at = (len(weights) + k) * width
    linear = rest[at : at + width]
    alpha, inverse, base, least = p[0], 1.0 / p[0], p[2] + p[0] * p[4], p[3]  # p = (α, loss, β, λ₁, λ₂)
    if index is None:
        follow(alpha, inverse, base, least, push, mine, known, linear, value)
    else:
        for i in range(value.size):
            j = index[0][i]
            here, there = mine[j : j + 1], known[j : j + 1]
            follow(alpha, inverse, base, least, push, here, there, linear[j : j + 1], value[i : i + 1])


first_order: Callable[[Array, Array, Array, int, int, Any, Any, Index, Array], None] = compiled(_first_order, inlined=True)
large_margin: Callable[[Array, Array, Array, int, int, Any, Any, Index, Array], None] = compiled(_large_margin, inlined=True)
columnwise: Callable[[int, Array, Array, Array, int, Any, Index, Array], None] = compiled(_columnwise, inlined=True)


def _second_order(
    plan: Array,
    clock: Array,
    weights: Array,
    rest: Array,
    yes: int,
    no: int,
    sign: Any,
    m: Any,
    index: Index,
    value: Array,
    sx: Array,
) -> bool:
    """One row of a second-order rule; prototypes have a covariance each, what crosses them is dropped. False if not finite."""
    rule, memory, width, p = int(plan[RULE]), int(plan[MEMORY]), weights.shape[1], plan[SETTINGS:]
    if (rule not in CONFIDENT and m >= 1.0) or (rule in (SOP, IELLIP) and m > 0.0):
        return True
    here, there = sx[:width], sx[width:]
    mine = blur(memory, width, rest, yes, index, value, here)
    theirs = blur(memory, width, rest, no, index, value, there) if no >= 0 else 0.0
    v = mine + theirs
    if not v > 0.0:
        return bool(v == 0.0)
    if rule == SOP:  # Cesa-Bianchi, Conconi, Gentile, SIAM J. Comput. 34:640, 2005
        step, gain, grow = 1.0, 1.0, 1.0
        add(weights[yes], index, sign, value)
        if no >= 0:
            add(weights[no], index, -1.0, value)
    else:
        step, gain, grow = second(rule, p, clock, m, v)
        if not (abs(step) < math.inf and abs(gain) < math.inf):
            return False
        if memory == FULL:
            add_dense(sign * step, weights[yes], here)
            if no >= 0:
                add_dense(-step, weights[no], there)
        else:
            add(weights[yes], index, sign * step, here)
            if no >= 0:
                add(weights[no], index, -step, there)
    if gain > 0.0:
        least = FLOOR * plan[PRIOR] * inner(index, value, value) if memory == FULL else TRACE * plan[PRIOR]
        shrink(memory, width, rest, yes, index, value, here, mine, gain, least)
        if no >= 0:
            shrink(memory, width, rest, no, index, value, there, theirs, gain, least)
    if grow != 1.0:
        size = rest.size // len(weights)
        for j in range(size):
            rest[yes * size + j] *= grow
            if no >= 0:
                rest[no * size + j] *= grow
    return True


second_order: Callable[[Array, Array, Array, Array, int, int, Any, Any, Index, Array, Array], bool] = compiled(
    _second_order, inlined=True
)


def _visit(
    plan: Array, clock: Array, weights: Array, rest: Array, index: Index, value: Array, label: int, scores: Array, sx: Array
) -> int:
    """Answer one row, then learn from it. Returns the answer, or -1 where something is not finite."""
    rule, memory, prototypes = int(plan[RULE]), int(plan[MEMORY]), len(weights)
    answer, no, sign = 0, -1, 1.0
    for k in range(prototypes):
        scores[k] = score(rule, memory, weights, rest, k, index, value, sx[: weights.shape[1]])
        if not abs(scores[k]) < math.inf:
            return -1
        if scores[k] > scores[answer]:
            answer = k
    yes, m = label, 0.0
    if prototypes == 1:
        yes, answer = 0, 1 if scores[0] > 0.0 else 0
        sign = 1.0 if label == 1 else -1.0
        m = sign * scores[0]
    else:
        for k in range(prototypes):
            if k != label and (no < 0 or scores[k] > scores[no]):
                no = k
        m = scores[label] - scores[no]
    clock[0] += 1.0
    if rule in (ADAGRAD, FTRL):
        push = slope(plan[SETTINGS + 1], m)
        if push != 0.0:
            columnwise(rule, plan[SETTINGS:], weights, rest, yes, -sign * push, index, value)
            if no >= 0:
                columnwise(rule, plan[SETTINGS:], weights, rest, no, push, index, value)
    elif rule == ALMA:
        large_margin(plan, clock, weights, yes, no, sign, m, index, value)
    elif rule in COSTED:
        costed(plan, clock, weights, rest, label, answer, no, m, scores, index, value)
    elif rule == WINNOW:
        if not winnow(plan, weights, answer == label, yes, no, sign, index, value):
            return -1
    elif rule == ONS:
        if not newton(plan, weights, rest, yes, no, sign, m, index, value, sx):
            return -1
    elif memory == NONE:
        first_order(plan, clock, weights, yes, no, sign, m, index, value)
    elif not second_order(plan, clock, weights, rest, yes, no, sign, m, index, value, sx):
        return -1
    if rule == IELLIP:
        clock[2] *= plan[SETTINGS]
    return answer


visit: Callable[[Array, Array, Array, Array, Index, Array, int, Array, Array], int] = compiled(_visit, inlined=True)


def _finite(numbers: Array) -> bool:
    """Whether all are."""
    wrong = 0
    for j in range(numbers.size):
        # Counted, not returned from, so that many are looked at side by side.
        wrong += 0 if numbers[j] * 0.0 == 0.0 else 1
    return wrong == 0


finite: Callable[[Array], bool] = compiled(_finite, inlined=True)


def _learn(plan: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array) -> int:
    """Predict, then learn, row after row of a dense chunk, from ``live`` into ``spare``.

    Parameters
    ----------
    plan
        See `estran.learning.linear.plan.Plan.vector`.
    live, spare
        All numbers before and after; the work space behind them is written to.
    x, y
        The chunk, shapes (n, d) and (n,). Where d is one less than the width, the last weight is the bias.
    answers
        Filled with what was predicted before learning, shape (n,).

    Returns
    -------
    int
        -1 if all went well, else the row where it did not (n if only the whole has become infinite).
    """
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    for j in range(size):
        spare[j] = live[j]
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
        answers[i] = visit(plan, clock, weights, rest, None, row, y[i], scores, sx)
        if answers[i] < 0:
            return i
    return -1 if finite(spare[:size]) else len(x)


def _learn_sparse(
    plan: Array, live: Array, spare: Array, data: Array, columns: Array, starts: Array, y: Array, answers: Array, bias: bool
) -> int:
    """The same of a chunk in compressed sparse rows, with ascending columns."""
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    for j in range(size):
        spare[j] = live[j]
    edge = CLOCK + prototypes * stride
    clock, weights, rest = spare[:CLOCK], spare[CLOCK:edge].reshape(prototypes, stride), spare[edge:size]
    row, sx, scores = spare[size : size + stride], spare[size + stride : size + 3 * stride], spare[size + 3 * stride :]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(y)):
        if y[i] < 0 or y[i] >= max(2, prototypes):
            return i
        count = gather(data, columns, starts, i, bias, width, where, row)
        index = (where[:count], lanes, stride)
        answers[i] = visit(plan, clock, weights, rest, index, row[:count], y[i], scores, sx)
        if answers[i] < 0:
            return i
    return -1 if finite(spare[:size]) else len(y)


def _gather(data: Array, columns: Array, starts: Array, i: int, bias: bool, width: int, where: Array, row: Array) -> int:
    """Copy row i, and the 1 of the bias behind it."""
    count = 0
    for at in range(starts[i], starts[i + 1]):
        where[count], row[count] = columns[at], data[at]
        count += 1
    if bias:
        where[count], row[count] = width - 1, 1.0
        count += 1
    return count


gather: Callable[[Array, Array, Array, int, bool, int, Array, Array], int] = compiled(_gather, inlined=True)


def _decide(plan: Array, live: Array, x: Array, found: Array) -> int:
    """Scores of a dense chunk, shape (n, prototypes). Returns -1, or the first row whose scores are not finite."""
    rule, memory = int(plan[RULE]), int(plan[MEMORY])
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    edge = CLOCK + prototypes * stride
    weights, rest = live[CLOCK:edge].reshape(prototypes, stride), live[edge:size]
    row, sx = live[size : size + stride], live[size + stride : size + 2 * stride]
    row[:] = 0.0
    row[width - 1] = 1.0
    for i in range(len(x)):
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        for k in range(prototypes):
            found[i, k] = score(rule, memory, weights, rest, k, None, row, sx)
            if not abs(found[i, k]) < math.inf:
                return i
    return -1


def _decide_sparse(plan: Array, live: Array, data: Array, columns: Array, starts: Array, bias: bool, found: Array) -> int:
    """The same of a chunk in compressed sparse rows."""
    rule, memory = int(plan[RULE]), int(plan[MEMORY])
    prototypes, width, stride, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[STRIDE]), int(plan[SIZE])
    edge = CLOCK + prototypes * stride
    weights, rest = live[CLOCK:edge].reshape(prototypes, stride), live[edge:size]
    row, sx = live[size : size + stride], live[size + stride : size + 2 * stride]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(found)):
        count = gather(data, columns, starts, i, bias, width, where, row)
        index = (where[:count], lanes, stride)
        for k in range(prototypes):
            found[i, k] = score(rule, memory, weights, rest, k, index, row[:count], sx)
            if not abs(found[i, k]) < math.inf:
                return i
    return -1


learn: Callable[[Array, Array, Array, Array, Array, Array], int] = compiled(_learn, lent=True)
learn_sparse: Callable[[Array, Array, Array, Array, Array, Array, Array, Array, bool], int] = compiled(_learn_sparse)
decide: Callable[[Array, Array, Array, Array], int] = compiled(_decide, lent=True)
decide_sparse: Callable[[Array, Array, Array, Array, Array, bool, Array], int] = compiled(_decide_sparse)
