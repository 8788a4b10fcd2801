"""The loop that all linear regressors share: answer a row, then learn from it. Importing it imports numba.

All numbers of a regressor lie in one array, as `estran.learning.regression.plan` says. The kernel copies them, works on the copy
and answers where it stopped, so that a chunk that diverges half way leaves no trace.

Rows are sparse or dense as `estran.learning.linear.rows` has them; for a covariance, which is O(d²) anyway, sparse rows are filled
up. ``p`` are a rule's own settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from estran.learning.compiled import compiled
from estran.learning.linear.kernel import columnwise, finite, gather
from estran.learning.linear.plan import Rule as LinearRule
from estran.learning.linear.rows import Array, Index, add, dot, inner
from estran.learning.mlp_kernel import add as add_dense
from estran.learning.regression.factored import along, blur, forget, narrow, spread
from estran.learning.regression.plan import CLOCK, MARGIN, PRIOR, RULE, SETTINGS, SIZE, WIDTH, Rule

PA: Final = int(Rule.PA)
PA1: Final = int(Rule.PA1)
PA2: Final = int(Rule.PA2)
OGD: Final = int(Rule.OGD)
ADAGRAD: Final = int(Rule.ADAGRAD)
FTRL: Final = int(Rule.FTRL)
RIDGE: Final = int(Rule.RIDGE)
FORWARD: Final = int(Rule.FORWARD)
NEWTON: Final = int(Rule.NEWTON)
LIKE_ADAGRAD: Final = int(LinearRule.ADAGRAD)
LIKE_FTRL: Final = int(LinearRule.FTRL)

SQUARED: Final = 0
INSENSITIVE: Final = 1
"""Also the absolute loss, with a margin of 0."""
HUBER: Final = 2


def _slope(loss: Any, margin: Any, error: Any) -> Any:
    """Derivative of a loss by the answer, where error is answer − target."""
    if loss == SQUARED:
        return error
    if loss == HUBER:
        return max(-margin, min(margin, error))
    return 0.0 if abs(error) <= margin else math.copysign(1.0, error)


def _aggressive(rule: int, p: Array, loss: Any, square: Any) -> Any:
    """Step of PA, PA-I, PA-II for regression (Crammer et al., JMLR 7:551, 2006, section 5); p = (C)."""
    if rule == PA:
        return loss / square
    if rule == PA1:
        return min(p[0], loss / square)
    return loss / (square + 0.5 / p[0])


slope: Callable[[Any, Any, Any], Any] = compiled(_slope, inlined=True)
aggressive: Callable[[int, Array, Any, Any], Any] = compiled(_aggressive, inlined=True)


def _first_order(plan: Array, clock: Array, weights: Array, rest: Array, index: Index, value: Array, target: Any) -> Any:
    """Answer a row, then take one step against the slope of its loss. Returns the answer, which may not be finite."""
    rule, margin, p = int(plan[RULE]), plan[MARGIN], plan[SETTINGS:]
    answer = dot(weights[0], index, value)
    if not abs(answer) < math.inf:
        return answer
    clock[0] += 1.0
    error = answer - target
    if rule in (PA, PA1, PA2):
        loss, square = abs(error) - margin, inner(index, value, value)
        if not square < math.inf:
            return math.nan
        if loss > 0.0 and square > 0.0:
            add(weights[0], index, -math.copysign(aggressive(rule, p, loss, square), error), value)
        return answer
    push = slope(p[1], margin, error)
    if push == 0.0:
        return answer
    if rule == OGD:  # Zinkevich, ICML 2003: η/√t; p = (η, loss, 1 for steps of η)
        rate = p[0] if p[2] != 0.0 else p[0] / math.sqrt(clock[0])
        add(weights[0], index, -rate * push, value)
    else:
        columnwise(LIKE_ADAGRAD if rule == ADAGRAD else LIKE_FTRL, p, weights, rest, 0, push, index, value)
    return answer


def _second_order(plan: Array, clock: Array, weights: Array, rest: Array, row: Array, target: Any, work: Array) -> Any:
    """Answer a row, then count it into the covariance. Returns the answer, which may not be finite."""
    rule, width, p = int(plan[RULE]), row.size, plan[SETTINGS:]
    variances, factor = rest[:width], rest[width:]
    parts, gain = work[:width], work[width : 2 * width]
    answer = dot(weights[0], None, row)
    if not abs(answer) < math.inf:
        return answer
    clock[0] += 1.0
    along(factor, row, parts)
    if rule == NEWTON:
        kept = max(-p[1], min(p[1], answer))
        if kept != answer:
            spread(variances, factor, parts, gain)
            add_dense((kept - answer) / blur(variances, parts, 0.0), gain, weights[0])
        error = kept - target
        for j in range(width):
            parts[j] *= error
        total = narrow(variances, factor, parts, 1.0, plan[PRIOR], gain)
        add_dense(-1.0 / (p[0] * total), gain, weights[0])
        return kept if total < math.inf else math.nan
    noise = p[0] if rule == RIDGE else 1.0
    total = narrow(variances, factor, parts, noise, plan[PRIOR], gain)
    add_dense((target - answer) / total, gain, weights[0])
    if noise != 1.0:
        forget(variances, noise, plan[PRIOR])
    if not total < math.inf:
        return math.nan
    return answer / total if rule == FORWARD else answer


first_order: Callable[[Array, Array, Array, Array, Index, Array, Any], Any] = compiled(_first_order, inlined=True)
second_order: Callable[[Array, Array, Array, Array, Array, Any, Array], Any] = compiled(_second_order, inlined=True)


def _asked(plan: Array, weights: Array, rest: Array, row: Array, work: Array) -> Any:
    """Answer to a dense row of a rule with a covariance: to the bit what `_second_order` would answer."""
    rule, width = int(plan[RULE]), row.size
    answer = dot(weights[0], None, row)
    if rule == NEWTON:
        bound = plan[SETTINGS + 1]
        # Written so that a NaN stays one.
        return answer if not abs(answer) < math.inf else max(-bound, min(bound, answer))
    if rule == FORWARD:
        along(rest[width:], row, work[:width])
        return answer / blur(rest[:width], work[:width], 1.0)
    return answer


asked: Callable[[Array, Array, Array, Array, Array], Any] = compiled(_asked, inlined=True)


def _learn(plan: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array) -> int:
    """Answer, then learn, row after row of a dense chunk, from ``live`` into ``spare``.

    Parameters
    ----------
    plan
        See `estran.learning.regression.plan.Plan.vector`.
    live, spare
        All numbers before and after; the work space behind them is written to.
    x, y
        The chunk, shapes (n, d) and (n,). Where d is one less than the width, the last weight is the bias.
    answers
        Filled with what was answered before learning, shape (n,).

    Returns
    -------
    int
        -1 if all went well, else the row where it did not (n if only the whole has become infinite).
    """
    width, size, squared = int(plan[WIDTH]), int(plan[SIZE]), plan[RULE] >= RIDGE
    spare[:size] = live[:size]
    edge = CLOCK + width
    clock, weights, rest = spare[:CLOCK], spare[CLOCK:edge].reshape(1, width), spare[edge:size]
    row, work = spare[size : size + width], spare[size + width :]
    row[width - 1] = 1.0
    for i in range(len(x)):
        if not abs(y[i]) < math.inf:
            return i
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        if squared:
            answers[i] = second_order(plan, clock, weights, rest, row, y[i], work)
        else:
            answers[i] = first_order(plan, clock, weights, rest, None, row, y[i])
        if not abs(answers[i]) < math.inf:
            return i
    return -1 if finite(spare[:size]) else len(x)


def _learn_sparse(
    plan: Array, live: Array, spare: Array, data: Array, columns: Array, starts: Array, y: Array, answers: Array, bias: bool
) -> int:
    """The same of a chunk in compressed sparse rows, with ascending columns."""
    width, size, squared = int(plan[WIDTH]), int(plan[SIZE]), plan[RULE] >= RIDGE
    spare[:size] = live[:size]
    edge = CLOCK + width
    clock, weights, rest = spare[:CLOCK], spare[CLOCK:edge].reshape(1, width), spare[edge:size]
    row, full, work = spare[size : size + width], spare[size + 3 * width :], spare[size + width : size + 3 * width]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(y)):
        if not abs(y[i]) < math.inf:
            return i
        count = gather(data, columns, starts, i, bias, width, where, row)
        if squared:
            fill(where, row, count, full)
            answers[i] = second_order(plan, clock, weights, rest, full, y[i], work)
        else:
            answers[i] = first_order(plan, clock, weights, rest, (where[:count], lanes, width), row[:count], y[i])
        if not abs(answers[i]) < math.inf:
            return i
    return -1 if finite(spare[:size]) else len(y)


def _fill(where: Array, value: Array, count: int, full: Array) -> None:
    """A sparse row with its zeros."""
    full[:] = 0.0
    for at in range(count):
        full[where[at]] = value[at]


fill: Callable[[Array, Array, int, Array], None] = compiled(_fill, inlined=True)


def _decide(plan: Array, live: Array, x: Array, found: Array) -> int:
    """Answers to a dense chunk, shape (n,). Returns -1, or the first row whose answer is not finite."""
    width, size, squared = int(plan[WIDTH]), int(plan[SIZE]), plan[RULE] >= RIDGE
    edge = CLOCK + width
    weights, rest = live[CLOCK:edge].reshape(1, width), live[edge:size]
    row, work = live[size : size + width], live[size + width :]
    row[width - 1] = 1.0
    for i in range(len(x)):
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        found[i] = asked(plan, weights, rest, row, work) if squared else dot(weights[0], None, row)
        if not abs(found[i]) < math.inf:
            return i
    return -1


def _decide_sparse(plan: Array, live: Array, data: Array, columns: Array, starts: Array, bias: bool, found: Array) -> int:
    """The same of a chunk in compressed sparse rows."""
    width, size, squared = int(plan[WIDTH]), int(plan[SIZE]), plan[RULE] >= RIDGE
    edge = CLOCK + width
    weights, rest = live[CLOCK:edge].reshape(1, width), live[edge:size]
    row, full, work = live[size : size + width], live[size + 3 * width :], live[size + width : size + 3 * width]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(found)):
        count = gather(data, columns, starts, i, bias, width, where, row)
        if squared:
            fill(where, row, count, full)
            found[i] = asked(plan, weights, rest, full, work)
        else:
            found[i] = dot(weights[0], (where[:count], lanes, width), row[:count])
        if not abs(found[i]) < math.inf:
            return i
    return -1


learn: Callable[[Array, Array, Array, Array, Array, Array], int] = compiled(_learn)
learn_sparse: Callable[[Array, Array, Array, Array, Array, Array, Array, Array, bool], int] = compiled(_learn_sparse)
decide: Callable[[Array, Array, Array, Array], int] = compiled(_decide)
decide_sparse: Callable[[Array, Array, Array, Array, Array, bool, Array], int] = compiled(_decide_sparse)
