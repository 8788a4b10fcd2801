"""The loop that all kernel learners with a budget share: predict a row, then learn from it. Importing it imports numba.

All numbers of a learner lie in one array, as `estran.learning.kernel_methods.plan` says. The loop works on a copy and answers
where it stopped, so that a chunk that fails half way leaves no trace. Of the supports only those are copied that differ: a row
changes one at most, and most change none.

The rules are written for one function f = Σ αᵢ·K(sᵢ, ·) and a row with label +1 of margin m. Two classes are one function. More are
one per class and the *max-score violation* (Crammer, Singer, JMLR 3:951, 2003): the row counts for its label's function and
against its highest rival's, so that its length squared is 2·K(x, x).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from estran.learning.compiled import compiled
from estran.learning.draws import uniform
from estran.learning.kernel_methods.functions_kernel import Array, gather, itself, judge, likeness, square
from estran.learning.kernel_methods.plan import (
    BUDGET,
    CLOCK,
    DAMAGE,
    DRAWS,
    FEATURES,
    FILLED,
    FIRST,
    MISTAKES,
    OLDEST,
    PROTOTYPES,
    RULE,
    SECOND,
    SEED,
    SIZE,
    Rule,
)
from estran.learning.lanes import dot
from estran.learning.linear.kernel import finite
from estran.learning.linear.rules import slope

RANDOM: Final = int(Rule.RANDOM)
FORGETRON: Final = int(Rule.FORGETRON)
PROJECTRON: Final = int(Rule.PROJECTRON)
BPAS: Final = int(Rule.BPAS)
OGD: Final = int(Rule.OGD)


def _place(clock: Array, budget: int, random: bool) -> int:
    """Where the next support goes: the first free place, or that of the oldest or of one drawn by chance."""
    filled = int(clock[FILLED])
    if filled < budget:
        clock[FILLED] += 1.0
        return filled
    if random:
        clock[DRAWS] += 1.0
        return int(uniform(clock[SEED], clock[DRAWS] - 1.0) * budget)
    oldest = int(clock[OLDEST])
    clock[OLDEST] = float((oldest + 1) % budget)
    return oldest


def _keep(coefficients: Array, slot: int, yes: int, no: int, step: Any) -> None:
    """Give the support at a place the row's coefficients, and no others."""
    coefficients[:, slot] = 0.0
    coefficients[yes, slot] = step
    if no >= 0:
        coefficients[no, slot] = -step


def _store(supports: Array, squares: Array, slot: int, where: Array, value: Array, length: Any) -> None:
    """Write the row into a place."""
    supports[:, slot] = 0.0
    for i in range(value.size):
        supports[where[i], slot] = value[i]
    squares[slot] = length


place: Callable[[Array, int, bool], int] = compiled(_place, inlined=True)
keep: Callable[[Array, int, int, int, Any], None] = compiled(_keep, inlined=True)
store: Callable[[Array, Array, int, Array, Array, Any], None] = compiled(_store, inlined=True)


def _shrinkage(sigma: Any, mu: Any, allowed: Any) -> Any:
    """The largest φ ≤ 1 with Ψ(φσ, φμ) ≤ what is allowed (more than 0), Ψ(λ, μ) = λ² + 2λ − 2λμ."""
    bend = sigma * (sigma - 2.0 * mu)
    if bend + 2.0 * sigma <= allowed:
        return 1.0
    # From Ψ(0) = 0 to what is too much at φ = 1, the parabola passes what is allowed once.
    return min(1.0, allowed / (sigma + math.sqrt(sigma * sigma + bend * allowed)))


shrinkage: Callable[[Any, Any, Any], Any] = compiled(_shrinkage, inlined=True)


def _forget(
    plan: Array,
    clock: Array,
    squares: Array,
    coefficients: Array,
    supports: Array,
    row: Array,
    yes: int,
    no: int,
    sign: Any,
    room: tuple[Array, Array, Array],
) -> None:
    """Shrink all so that losing the oldest support does little harm (Dekel et al. 2008, self-tuned Forgetron); K(x, x) is 1.

    Several classes: the vectors of rows are taken 1/√2 as long, so that theirs is 1, too; that halves μ.
    """
    r, n, (where, value, there) = int(clock[OLDEST]), row.size, room
    count = gather(supports[:, r], where, value)
    likeness(plan, supports, squares[:n], where[:count], value[:count], squares[r], there)
    if no < 0:
        sigma = abs(coefficients[0, r])
        mu = dot(coefficients[0, :n], there) + sign * row[r]
        mu = mu if coefficients[0, r] > 0.0 else -mu
    else:
        up, down = coefficients[:, r].argmax(), coefficients[:, r].argmin()
        sigma = coefficients[up, r]
        mu = dot(coefficients[up, :n], there) - dot(coefficients[down, :n], there)
        for k, step in ((yes, row[r]), (no, -row[r])):
            mu += step if k == up else (-step if k == down else 0.0)
        mu *= 0.5
    phi = shrinkage(sigma, mu, 15.0 / 32.0 * clock[MISTAKES] - clock[DAMAGE])
    gone = phi * sigma
    clock[DAMAGE] += gone * gone + 2.0 * gone - 2.0 * gone * phi * mu
    for k in range(len(coefficients)):
        for j in range(n):
            coefficients[k, j] *= phi
    keep(coefficients, r, yes, no, sign * phi)
    clock[OLDEST] = float((r + 1) % n)


def _project(
    plan: Array,
    clock: Array,
    coefficients: Array,
    inverse: Array,
    row: Array,
    yes: int,
    no: int,
    sign: Any,
    length: Any,
    shares: Array,
) -> int:
    """Add the row's projection onto the supports (Orabona et al. 2009, fig. 2), or answer where it is to be stored itself."""
    n, budget = row.size, coefficients.shape[1]
    own = itself(plan, length)
    for j in range(n):
        shares[j] = dot(inverse[j, :n], row)
    missing = own - dot(row, shares[:n])
    if n < budget and missing > plan[FIRST] * plan[FIRST]:
        for j in range(n):
            for i in range(n):
                inverse[j, i] += shares[j] * shares[i] / missing
            inverse[j, n] = inverse[n, j] = -shares[j] / missing
        inverse[n, n] = 1.0 / missing
        keep(coefficients, n, yes, no, sign)
        clock[FILLED] += 1.0
        return n
    for j in range(n):
        coefficients[yes, j] += sign * shares[j]
        if no >= 0:
            coefficients[no, j] -= shares[j]
    return -1


def _swap(
    plan: Array,
    clock: Array,
    squares: Array,
    coefficients: Array,
    row: Array,
    yes: int,
    no: int,
    sign: Any,
    m: Any,
    length: Any,
) -> int:
    """A passive-aggressive step; when full, in exchange for the support that it costs least to lose (BPA-S). Answers the place.

    Without support r, its projection on the row stays (Wang, Vucetic 2010): α = αᵣ·K(r, x)/K(x, x) beside the step, at a cost of
    αᵣ²·(K(r, r) − K(r, x)²/K(x, x)).
    """
    own, n = itself(plan, length), row.size
    if not own > 0.0:
        return -1
    step = sign * min(plan[FIRST], (1.0 - m) / (own if no < 0 else 2.0 * own))
    if n < coefficients.shape[1]:
        keep(coefficients, n, yes, no, step)
        clock[FILLED] += 1.0
        return n
    best, least = 0, math.inf
    for r in range(n):
        weight = 0.0
        for k in range(len(coefficients)):
            weight += coefficients[k, r] * coefficients[k, r]
        cost = weight * (itself(plan, squares[r]) - row[r] * row[r] / own)
        if cost < least:
            best, least = r, cost
    for k in range(len(coefficients)):
        coefficients[k, best] *= row[best] / own
    coefficients[yes, best] += step
    if no >= 0:
        coefficients[no, best] -= step
    return best


forget: Callable[[Array, Array, Array, Array, Array, Array, int, int, Any, tuple[Array, Array, Array]], None] = compiled(_forget)
project: Callable[[Array, Array, Array, Array, Array, int, int, Any, Any, Array], int] = compiled(_project)
swap: Callable[[Array, Array, Array, Array, Array, int, int, Any, Any, Any], int] = compiled(_swap, inlined=True)


def _update(
    plan: Array,
    clock: Array,
    squares: Array,
    coefficients: Array,
    inverse: Array,
    supports: Array,
    row: Array,
    yes: int,
    no: int,
    sign: Any,
    m: Any,
    length: Any,
    room: tuple[Array, Array, Array],
) -> int:
    """Learn from a row; where it is to be stored, or -1."""
    rule, budget = int(plan[RULE]), int(plan[BUDGET])
    if rule == OGD:
        push = slope(plan[SECOND], m)
        if push == 0.0:
            return -1
        slot = place(clock, budget, False)
        keep(coefficients, slot, yes, no, sign * plan[FIRST] * push)
        return slot
    if rule == BPAS:
        return swap(plan, clock, squares, coefficients, row, yes, no, sign, m, length) if m < 1.0 else -1
    if m > 0.0:
        return -1
    clock[MISTAKES] += 1.0
    if rule == PROJECTRON:
        return project(plan, clock, coefficients, inverse, row, yes, no, sign, length, room[2])
    if rule == FORGETRON and row.size == budget:
        oldest = int(clock[OLDEST])
        forget(plan, clock, squares, coefficients, supports, row, yes, no, sign, room)
        return oldest
    slot = place(clock, budget, rule == RANDOM)
    keep(coefficients, slot, yes, no, sign)
    return slot


update: Callable[[Array, Array, Array, Array, Array, Array, Array, int, int, Any, Any, Any, Any], int] = compiled(
    _update, inlined=True
)


def _parts(plan: Array, numbers: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Clock, squares, coefficients, inverse Gram matrix (of nothing but the Projectron) and supports of all numbers."""
    prototypes, budget, size = int(plan[PROTOTYPES]), int(plan[BUDGET]), int(plan[SIZE])
    first = size - int(plan[FEATURES]) * budget
    weights, inverse = CLOCK + budget, CLOCK + budget + prototypes * budget
    return (
        numbers[:CLOCK],
        numbers[CLOCK:weights],
        numbers[weights:inverse].reshape(prototypes, budget),
        numbers[inverse:first].reshape((first - inverse) // budget, budget),
        numbers[first:size].reshape(int(plan[FEATURES]), budget),
    )


parts: Callable[[Array, Array], tuple[Array, Array, Array, Array, Array]] = compiled(_parts)


def _catch_up(plan: Array, live: Array, spare: Array, stale: Array) -> None:
    """Make a copy of all numbers equal again, where supports differ only where they are ``stale``, which none is from then on."""
    budget = stale.size
    inverse, supports = CLOCK + budget + int(plan[PROTOTYPES]) * budget, live.size - int(plan[FEATURES]) * budget
    anew = False
    for j in range(budget):
        if stale[j]:
            for at in range(supports + j, live.size, budget):
                spare[at] = live[at]
            stale[j], anew = False, True
    for at in range(supports if anew else inverse):
        spare[at] = live[at]


catch_up: Callable[[Array, Array, Array, Array], None] = compiled(_catch_up, inlined=True)


def _learn(plan: Array, live: Array, spare: Array, stale: Array, x: Array, y: Array, answers: Array) -> tuple[int, bool]:
    """Predict, then learn, row after row of a chunk, from ``live`` into ``spare``.

    Parameters
    ----------
    plan
        See `estran.learning.kernel_methods.plan.Plan.vector`.
    live, spare
        All numbers before and after.
    stale
        Of each place, whether the two differ in the support that is there; kept up to date.
    x, y
        The chunk, shapes (n, d) and (n,).
    answers
        Filled with what was predicted before learning, shape (n,).

    Returns
    -------
    tuple
        How many rows were gone through, and whether all was well. Kernelised OGD stops when the budget is full.
    """
    catch_up(plan, live, spare, stale)
    clock, squares, coefficients, inverse, supports = parts(plan, spare)
    prototypes, budget, width = len(coefficients), squares.size, x.shape[1]
    where, value, scores, likes = np.empty(width, dtype=np.int64), np.empty(width), np.empty(prototypes), np.empty(budget)
    room = np.empty(width, dtype=np.int64), np.empty(width), np.empty(budget)
    ends, changed = plan[RULE] == OGD, spare.size - supports.size
    for i in range(len(x)):
        if ends and clock[FILLED] == budget:
            return i, finite(spare[:changed])
        if y[i] < 0 or y[i] >= max(2, prototypes):
            return i, False
        count, n = gather(x[i], where, value), int(clock[FILLED])
        length = square(value[:count])
        if not length < math.inf:
            return i, False
        row = likes[:n]
        likeness(plan, supports, squares[:n], where[:count], value[:count], length, row)
        for k in range(prototypes):
            scores[k] = dot(coefficients[k, :n], row)
            if not abs(scores[k]) < math.inf:
                return i, False
        answers[i], yes, no, sign, m = judge(scores, y[i])
        slot = update(plan, clock, squares, coefficients, inverse, supports, row, yes, no, sign, m, length, room)
        if slot >= 0:
            store(supports, squares, slot, where[:count], value[:count], length)
            stale[slot] = True
    if clock[FILLED] == live[FILLED]:
        changed -= inverse.size
    return len(x), finite(spare[:changed])


def _decide(plan: Array, live: Array, x: Array, found: Array) -> tuple[int, bool]:
    """Scores of a chunk, shape (n, prototypes). Returns how many rows were gone through, and whether all was well."""
    clock, squares, coefficients, _, supports = parts(plan, live)
    n, width = int(clock[FILLED]), x.shape[1]
    where, value, row = np.empty(width, dtype=np.int64), np.empty(width), np.empty(n)
    for i in range(len(x)):
        count = gather(x[i], where, value)
        length = square(value[:count])
        if not length < math.inf:
            return i, False
        likeness(plan, supports, squares[:n], where[:count], value[:count], length, row)
        for k in range(len(coefficients)):
            found[i, k] = dot(coefficients[k, :n], row)
            if not abs(found[i, k]) < math.inf:
                return i, False
    return len(x), True


learn: Callable[[Array, Array, Array, Array, Array, Array, Array], tuple[int, bool]] = compiled(_learn)
decide: Callable[[Array, Array, Array, Array], tuple[int, bool]] = compiled(_decide)
