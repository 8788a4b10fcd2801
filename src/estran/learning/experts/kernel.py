"""Shares, draws and rounds of the forecasters. Importing it imports numba.

All numbers of a forecaster lie in one array: seed of its draws, how many were made, rounds learned; then one score an expert, the
losses so far or what stands for them. A round is learned on a copy, so that one that is refused leaves no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.draws import seed_from as seed_from
from estran.learning.draws import uniform
from estran.learning.experts.plan import ANYTIME, ETA, HEAD, HEDGE, HIGH, LEADER, LIMIT, LOW, METHOD, SHARE

Array = NDArray[Any]


def _weigh(scores: Array, eta: Any, shares: Array) -> None:
    """``shares`` proportional to exp(−η·score): from the least score, so that nothing overflows."""
    least = scores[0]
    for i in range(scores.size):
        least = min(least, scores[i])
    total = 0.0
    for i in range(scores.size):
        shares[i] = math.exp(-eta * (scores[i] - least))
        total += shares[i]
    for i in range(scores.size):
        shares[i] /= total


weigh: Callable[[Array, Any, Array], None] = compiled(_weigh, inlined=True)


def _drawn(shares: Array, u: Any) -> int:
    """The first place where the shares up to it exceed ``u``; never one without a share."""
    last, total = 0, 0.0
    for i in range(shares.size):
        if shares[i] > 0.0:
            last = i
            total += shares[i]
            if u < total:
                break
    return last


drawn: Callable[[Array, Any], int] = compiled(_drawn, inlined=True)


def _least(scores: Array) -> int:
    """Place of the lowest score, the first of them."""
    best = 0
    for i in range(1, scores.size):
        if scores[i] < scores[best]:
            best = i
    return best


least: Callable[[Array], int] = compiled(_least, inlined=True)


def _rate(plan: Array, rounds: Any) -> Any:
    """η of the round after so many: as set, or falling as 1/√t from its limit on."""
    if plan[ETA] > 0.0:
        return plan[ETA]
    return min(math.sqrt(plan[ANYTIME] / (rounds + 1.0)), plan[LIMIT])


rate: Callable[[Array, Any], Any] = compiled(_rate, inlined=True)


def _lead(scores: Array, eta: Any, nodes: Array, weights: Array, shares: Array, work: Array) -> None:
    """Chance of each expert to lead after all have got an advance drawn from Exp(η).

    With u = exp(−η·(score − least)) it is uᵢ ∫₀¹ Π_{j≠i} (1 − v·uⱼ) dv, a polynomial in v, which Gauss and Legendre's rule with
    half as many nodes as experts integrates exactly.
    """
    n, low = scores.size, scores[0]
    for i in range(n):
        low = min(low, scores[i])
    odds, below = work[0], work[1]
    for i in range(n):
        odds[i] = math.exp(-eta * (scores[i] - low))
        shares[i] = 0.0
    for k in range(nodes.size):
        below[0] = weights[k]
        for i in range(1, n):
            below[i] = below[i - 1] * (1.0 - nodes[k] * odds[i - 1])
        above = 1.0
        for i in range(n - 1, -1, -1):
            shares[i] += below[i] * above * odds[i]
            above *= 1.0 - nodes[k] * odds[i]
    total = 0.0
    for i in range(n):
        total += shares[i]
    for i in range(n):
        shares[i] /= total


lead: Callable[[Array, Any, Array, Array, Array, Array], None] = compiled(_lead, inlined=True)


def _fill(plan: Array, numbers: Array, rule: Array, shares: Array, work: Array) -> None:
    """Shares of the next round."""
    scores, eta = numbers[HEAD:], rate(plan, numbers[2])
    if plan[METHOD] == HEDGE:
        weigh(scores, eta, shares)
    elif plan[METHOD] == LEADER:
        shares[:] = 0.0
        shares[least(scores)] = 1.0
    else:
        lead(scores, eta, rule[0], rule[1], shares, work)


fill: Callable[[Array, Array, Array, Array, Array], None] = compiled(_fill, inlined=True)


def _mix(plan: Array, scores: Array, shares: Array) -> None:
    """Each expert passes a part α of its share on to the others alike; scores become those that would have led there."""
    alpha, eta, others = plan[SHARE], plan[ETA], scores.size - 1.0
    weigh(scores, eta, shares)
    for i in range(scores.size):
        passed = (1.0 - alpha) * shares[i] + alpha / others * (1.0 - shares[i])
        scores[i] = -math.log(passed) / eta


mix: Callable[[Array, Array, Array], None] = compiled(_mix, inlined=True)


def _shares_now(plan: Array, numbers: Array, rule: Array, shares: Array) -> None:
    """Fill in the shares of the next round."""
    fill(plan, numbers, rule, shares, np.empty((2, shares.size)))


def _choose(plan: Array, numbers: Array, rule: Array) -> int:
    """Draw an expert by its share; the perturbed leader by its perturbations. Counts the draws."""
    scores, seed, count = numbers[HEAD:], numbers[0], numbers[1]
    if plan[METHOD] == LEADER:
        return least(scores)
    if plan[METHOD] == HEDGE:
        shares = np.empty(scores.size)
        weigh(scores, rate(plan, numbers[2]), shares)
        numbers[1] += 1.0
        return drawn(shares, uniform(seed, count))
    eta = rate(plan, numbers[2])
    best, lowest = 0, math.inf
    for i in range(scores.size):
        ahead = scores[i] + math.log1p(-uniform(seed, count + i)) / eta
        if ahead < lowest:
            best, lowest = i, ahead
    numbers[1] += scores.size
    return best


def _learn(plan: Array, live: Array, spare: Array, losses: Array, rule: Array, before: Array) -> int:
    """Learn rounds of losses from ``live`` into ``spare``.

    Parameters
    ----------
    plan, rule
        See `estran.learning.experts.plan`.
    live, spare
        All numbers before and after.
    losses
        Shape (n, experts).
    before
        Filled with the shares before each round, shape (n, experts); of no rows if nobody asks.

    Returns
    -------
    int
        -1 if all went well, else the round where it did not.
    """
    spare[:] = live
    scores, work = spare[HEAD:], np.empty((3, live.size - HEAD))
    for t in range(len(losses)):
        if len(before):
            fill(plan, spare, rule, before[t], work)
        for i in range(scores.size):
            # A NaN is in no range.
            if not plan[LOW] <= losses[t, i] <= plan[HIGH]:
                return t
            scores[i] += losses[t, i]
            if not abs(scores[i]) < math.inf:
                return t
        spare[2] += 1.0
        if plan[SHARE] > 0.0:
            mix(plan, scores, work[2])
    return -1


shares_now: Callable[[Array, Array, Array, Array], None] = compiled(_shares_now)
choose: Callable[[Array, Array, Array], int] = compiled(_choose)
learn: Callable[[Array, Array, Array, Array, Array, Array], int] = compiled(_learn)
