"""The loops of sparse linear learners, whose weights all shrink at every row. Importing it imports numba, so only learning does so.

A row may cost no more than its nonzero features do, so no weight is shrunk when its time comes. Nor is it remembered when it last
was: what is kept of each weight changes with a gradient only, and the weight follows from it and from the clock.

- *Mirror descent* (truncated gradient, FOBOS, Ada-FOBOS) keeps v = w + sign(w)·cut, where cut is all the shrinkage since the first
  row. Later the weight is v less what the cut is by then, but not past zero: shrinking by a and then by b is shrinking by a + b.
- *Dual averaging* (RDA, Ada-RDA) keeps the sum G of all gradients, and its weights are defined by nothing else.

``rate`` is the weight's own step η/(δ + √Σg²) where steps adapt, by which also the cut is multiplied; for the truncated gradient it
is 1 where the weight shrinks, 0 where it lies beyond θ. Features that are zero in a row leave everything of their weights, so that
dense rows teach what sparse ones do.

``p`` are (η or γ, loss, λ, whether the last weight is a bias, which never shrinks), then of the truncated gradient (θ, K, whether
steps are constant), of RDA (ρ), of the adaptive ones (δ). ``clock`` is (rows seen, -, shrinkage so far).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from estran.learning.compiled import compiled
from estran.learning.linear.kernel import finite, gather
from estran.learning.linear.plan import CLOCK, PROTOTYPES, RULE, SETTINGS, SIZE, WIDTH, Rule
from estran.learning.linear.rows import Array, Index, inner
from estran.learning.linear.rules import slope

TRUNCATED: Final = int(Rule.TRUNCATED)
FOBOS: Final = int(Rule.FOBOS)
RDA: Final = int(Rule.RDA)
ADA_FOBOS: Final = int(Rule.ADA_FOBOS)
ADA_RDA: Final = int(Rule.ADA_RDA)


def _soft(value: Any, cut: Any) -> Any:
    """A number moved towards zero by ``cut``, but not past it."""
    return value - min(max(value, -cut), cut)


soft: Callable[[Any, Any], Any] = compiled(_soft, inlined=True)


def _steps(rule: int, p: Array, t: Any) -> Any:
    """Step of row t, counted from 1."""
    return p[0] if rule == TRUNCATED and p[6] != 0.0 else p[0] / math.sqrt(t)


def _cuts(rule: int, p: Array, clock: Array) -> tuple[Any, Any]:
    """``(cut, factor)`` of all weights after the rows so far.

    Xiao (2010), equation 10 with λ + γρ/√t for λ (algorithm 2), is multiplied out: (√t/γ)·soft(G/t, λ) = soft(G, t·λ)/(γ√t).
    """
    t = clock[0]
    if rule == RDA:
        root = math.sqrt(t)
        return t * p[2] + p[0] * p[4] * root, (-1.0 / (p[0] * root) if t > 0.0 else 0.0)
    if rule in (ADA_FOBOS, ADA_RDA):
        return t * p[2], -1.0
    return clock[2], 1.0


def _weight(rule: int, source: Array, rate: Array, j: int, cut: Any, factor: Any) -> Any:
    """One weight; adding zero makes a negative zero positive."""
    if rule in (FOBOS, RDA):
        return 0.0 + factor * soft(source[j], cut)
    if rule == ADA_RDA:
        return 0.0 - rate[j] * soft(source[j], cut)
    return soft(source[j], cut * rate[j])


def _move(rule: int, first: Any, more: Any, source: Array, rate: Array, squares: Array, j: int, cut: Any, push: Any) -> None:
    """Let one weight learn from its negative gradient ``push``, which holds the step already where steps do not adapt.

    ``first`` and ``more`` are p[0] and p[4]: numbers, since the compiler makes no vectors of what might change under its hands.
    """
    if rule == RDA:
        source[j] -= push
        return
    if rule == ADA_RDA:
        source[j] -= push
        squares[j] += push * push
        rate[j] = first / (more + math.sqrt(squares[j]))
        return
    if rule == FOBOS:
        weight = soft(source[j], cut) + push
        source[j] = weight + (cut if weight > 0.0 else -cut)
        return
    weight = soft(source[j], cut * rate[j])
    if rule == ADA_FOBOS:
        squares[j] += push * push
        rate[j] = first / (more + math.sqrt(squares[j]))
        weight += rate[j] * push
    else:
        weight += push
        rate[j] = 1.0 if abs(weight) <= more else 0.0
    kept = cut * rate[j]
    source[j] = weight + (kept if weight > 0.0 else -kept)


steps: Callable[[int, Array, Any], Any] = compiled(_steps, inlined=True)
cuts: Callable[[int, Array, Array], tuple[Any, Any]] = compiled(_cuts, inlined=True)
weight: Callable[[int, Array, Array, int, Any, Any], Any] = compiled(_weight, inlined=True)
move: Callable[[int, Any, Any, Array, Array, Array, int, Any, Any], None] = compiled(_move, inlined=True)


def _weigh_as(rule: int, source: Array, rate: Array, free: int, cut: Any, factor: Any, index: Index, found: Array) -> None:
    """Fill ``found`` with the weights of one prototype that belong to a row; none shrinks from ``free`` on."""
    if index is None:
        for j in range(source.size):
            found[j] = weight(rule, source, rate, j, cut if j < free else 0.0, factor)
    else:
        columns = index[0]
        for i in range(columns.size):
            found[i] = weight(rule, source, rate, columns[i], cut if columns[i] < free else 0.0, factor)


def _teach_as(
    rule: int,
    p: Array,
    source: Array,
    rate: Array,
    squares: Array,
    free: int,
    cut: Any,
    push: Any,
    index: Index,
    value: Array,
) -> None:
    """Let one prototype learn, whose negative gradient is ``push`` times the row."""
    first, more = p[0], p[4] if p.size > 4 else 0.0
    if index is None:
        for j in range(value.size):
            if value[j] != 0.0:
                move(rule, first, more, source, rate, squares, j, cut if j < free else 0.0, push * value[j])
    else:
        columns = index[0]
        for i in range(columns.size):
            if value[i] != 0.0:
                move(rule, first, more, source, rate, squares, columns[i], cut if columns[i] < free else 0.0, push * value[i])


weigh_as: Callable[[int, Array, Array, int, Any, Any, Index, Array], None] = compiled(_weigh_as, inlined=True)
teach_as: Callable[[int, Array, Array, Array, Array, int, Any, Any, Index, Array], None] = compiled(_teach_as, inlined=True)


def _weigh(rule: int, source: Array, rate: Array, free: int, cut: Any, factor: Any, index: Index, found: Array) -> None:
    """The same. Each rule has its own loop: only those become vectors."""
    if rule in (FOBOS, RDA):
        weigh_as(FOBOS, source, rate, free, cut, factor, index, found)
    elif rule == ADA_RDA:
        weigh_as(ADA_RDA, source, rate, free, cut, factor, index, found)
    else:
        weigh_as(ADA_FOBOS, source, rate, free, cut, factor, index, found)


def _teach(
    rule: int, p: Array, source: Array, rate: Array, squares: Array, free: int, cut: Any, push: Any, index: Index, value: Array
) -> None:
    """The same, in a loop of each rule's own."""
    if rule == FOBOS:
        teach_as(FOBOS, p, source, rate, squares, free, cut, push, index, value)
    elif rule == RDA:
        teach_as(RDA, p, source, rate, squares, free, cut, push, index, value)
    elif rule == TRUNCATED:
        teach_as(TRUNCATED, p, source, rate, squares, free, cut, push, index, value)
    elif rule == ADA_RDA:
        teach_as(ADA_RDA, p, source, rate, squares, free, cut, push, index, value)
    else:
        teach_as(ADA_FOBOS, p, source, rate, squares, free, cut, push, index, value)


weigh: Callable[[int, Array, Array, int, Any, Any, Index, Array], None] = compiled(_weigh, inlined=True)
teach: Callable[[int, Array, Array, Array, Array, int, Any, Any, Index, Array], None] = compiled(_teach, inlined=True)


def _visit(
    plan: Array,
    clock: Array,
    source: Array,
    rate: Array,
    squares: Array,
    index: Index,
    value: Array,
    label: int,
    scores: Array,
    weights: Array,
) -> int:
    """Answer one row, then learn from it. Returns the answer, or -1 where something is not finite."""
    rule, p, prototypes = int(plan[RULE]), plan[SETTINGS:], len(source)
    free = source.shape[1] - int(p[3])
    cut, factor = cuts(rule, p, clock)
    answer, no, sign = 0, -1, 1.0
    for k in range(prototypes):
        weigh(rule, source[k], rate[k], free, cut, factor, index, weights)
        scores[k] = inner(index, weights, value)
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
    push, step = slope(p[1], m), 1.0
    if rule in (TRUNCATED, FOBOS):
        step = steps(rule, p, clock[0])
    if push != 0.0:
        teach(rule, p, source[yes], rate[yes], squares[yes], free, cut, sign * (step * push), index, value)
        if no >= 0:
            teach(rule, p, source[no], rate[no], squares[no], free, cut, -(step * push), index, value)
    if rule == FOBOS:
        clock[2] += step * p[2]
    elif rule == TRUNCATED and clock[0] % p[5] == 0.0:
        clock[2] += step * p[2] * p[5]
    return answer


visit: Callable[[Array, Array, Array, Array, Array, Index, Array, int, Array, Array], int] = compiled(_visit, inlined=True)


def _parts(plan: Array, numbers: Array) -> tuple[Array, Array, Array, Array]:
    """Clock, v or G, rates and squares; what a rule does not have is never looked at, and the last that it has stands in."""
    prototypes, width, size = int(plan[PROTOTYPES]), int(plan[WIDTH]), int(plan[SIZE])
    count = prototypes * width
    rates, squares = min(CLOCK + count, size - count), min(CLOCK + 2 * count, size - count)
    return (
        numbers[:CLOCK],
        numbers[CLOCK : CLOCK + count].reshape(prototypes, width),
        numbers[rates : rates + count].reshape(prototypes, width),
        numbers[squares : squares + count].reshape(prototypes, width),
    )


parts: Callable[[Array, Array], tuple[Array, Array, Array, Array]] = compiled(_parts)


def _learn(plan: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array) -> int:
    """Predict, then learn, row after row of a dense chunk, as `estran.learning.linear.kernel.learn` does."""
    width, size = int(plan[WIDTH]), int(plan[SIZE])
    spare[:size] = live[:size]
    clock, source, rate, squares = parts(plan, spare)
    row, weights, scores = spare[size : size + width], spare[size + width : size + 2 * width], spare[size + 3 * width :]
    row[width - 1] = 1.0
    for i in range(len(x)):
        if y[i] < 0 or y[i] >= max(2, len(source)):
            return i
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        answers[i] = visit(plan, clock, source, rate, squares, None, row, y[i], scores, weights)
        if answers[i] < 0:
            return i
    return -1 if finite(spare[:size]) else len(x)


def _learn_sparse(
    plan: Array, live: Array, spare: Array, data: Array, columns: Array, starts: Array, y: Array, answers: Array, bias: bool
) -> int:
    """The same of a chunk in compressed sparse rows, with ascending columns."""
    width, size = int(plan[WIDTH]), int(plan[SIZE])
    spare[:size] = live[:size]
    clock, source, rate, squares = parts(plan, spare)
    row, weights, scores = spare[size : size + width], spare[size + width : size + 2 * width], spare[size + 3 * width :]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(y)):
        if y[i] < 0 or y[i] >= max(2, len(source)):
            return i
        count = gather(data, columns, starts, i, bias, width, where, row)
        index = (where[:count], lanes, width)
        answers[i] = visit(plan, clock, source, rate, squares, index, row[:count], y[i], scores, weights)
        if answers[i] < 0:
            return i
    return -1 if finite(spare[:size]) else len(y)


def _decide(plan: Array, live: Array, x: Array, found: Array) -> int:
    """Scores of a dense chunk, shape (n, prototypes). Returns -1, or the first row whose scores are not finite."""
    width, size, rule, p = int(plan[WIDTH]), int(plan[SIZE]), int(plan[RULE]), plan[SETTINGS:]
    clock, source, rate, _ = parts(plan, live)
    cut, factor = cuts(rule, p, clock)
    row, weights = live[size : size + width], live[size + width : size + 2 * width]
    row[width - 1] = 1.0
    for i in range(len(x)):
        for j in range(x.shape[1]):
            row[j] = x[i, j]
        for k in range(len(source)):
            weigh(rule, source[k], rate[k], width - int(p[3]), cut, factor, None, weights)
            found[i, k] = inner(None, weights, row)
            if not abs(found[i, k]) < math.inf:
                return i
    return -1


def _decide_sparse(plan: Array, live: Array, data: Array, columns: Array, starts: Array, bias: bool, found: Array) -> int:
    """The same of a chunk in compressed sparse rows."""
    width, size, rule, p = int(plan[WIDTH]), int(plan[SIZE]), int(plan[RULE]), plan[SETTINGS:]
    clock, source, rate, _ = parts(plan, live)
    cut, factor = cuts(rule, p, clock)
    row, weights = live[size : size + width], live[size + width : size + 2 * width]
    where, lanes = np.empty(width, dtype=np.int64), np.empty(8)
    for i in range(len(found)):
        count = gather(data, columns, starts, i, bias, width, where, row)
        index = (where[:count], lanes, width)
        for k in range(len(source)):
            weigh(rule, source[k], rate[k], width - int(p[3]), cut, factor, index, weights)
            found[i, k] = inner(index, weights, row[:count])
            if not abs(found[i, k]) < math.inf:
                return i
    return -1


def _effective(plan: Array, live: Array, found: Array) -> None:
    """All weights as they are by now, shape (prototypes, width)."""
    rule, p = int(plan[RULE]), plan[SETTINGS:]
    clock, source, rate, _ = parts(plan, live)
    cut, factor = cuts(rule, p, clock)
    for k in range(len(source)):
        weigh(rule, source[k], rate[k], source.shape[1] - int(p[3]), cut, factor, None, found[k])


learn: Callable[[Array, Array, Array, Array, Array, Array], int] = compiled(_learn)
learn_sparse: Callable[[Array, Array, Array, Array, Array, Array, Array, Array, bool], int] = compiled(_learn_sparse)
decide: Callable[[Array, Array, Array, Array], int] = compiled(_decide)
decide_sparse: Callable[[Array, Array, Array, Array, Array, bool, Array], int] = compiled(_decide_sparse)
effective: Callable[[Array, Array, Array], None] = compiled(_effective)
