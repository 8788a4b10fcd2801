"""The online Newton step. Importing it imports numba, so only learning does so.

S is the inverse of the paper's A = ε + Σ ∇∇ᵀ. What couples two prototypes is dropped from A, as by the second-order rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from estran.learning.compiled import compiled
from estran.learning.linear.plan import MEMORY, PRIOR, SETTINGS, Memory
from estran.learning.linear.rows import Array, Index, add, add_dense, dot, inner, narrow, spread, times
from estran.learning.linear.rules import LOGISTIC, slope
from estran.learning.linear.vectors import less_square

FULL: Final = int(Memory.FULL)
FLOOR: Final = 1e-10
TRACE: Final = 1e-30
"""As in `estran.learning.linear.kernel`: below these shares of the prior rounding would take over."""
ROUNDS: Final = 50
"""Newton's method needs about five to find the multiplier of a projection."""


def _along(covariance: Array, weights: Array, push: Any, gain: Any, least: Any, index: Index, value: Array, sx: Array) -> bool:
    """``S⁻¹ += gain·x·xᵀ``, then ``w += push·S·x``, with all of S. False if not finite."""
    width = weights.size
    spread(covariance, width, index, value, sx)
    v = dot(sx, index, value)
    if not abs(v) < math.inf:
        return False
    beta, rest = 0.0, 1.0
    if v > least:
        rest = max(1.0 / (1.0 + gain * v), least / v)
        beta = (1.0 - rest) / v
    add_dense(push * rest, weights, sx)
    if beta > 0.0:
        # Each factor takes half of beta, so that what is subtracted is symmetric to the bit.
        half = math.sqrt(beta)
        for i in range(width):
            sx[i] *= half
        less_square(covariance, sx)
    return True


def _across(variances: Array, weights: Array, push: Any, gain: Any, least: Any, index: Index, value: Array, sx: Array) -> None:
    """The same with the diagonal of S alone."""
    narrow(variances, index, value, gain, least)
    times(variances, index, value, sx)
    add(weights, index, push, sx)


def _project(weights: Array, variances: Array, radius: Any) -> None:
    """The point u of the ball that is nearest to w in the norm of A = 1/S: u = w / (1 + μ·S), with μ such that |u| = radius.

    μ by Newton's method on 1/|u(μ)| = 1/radius, which is concave in μ, so that steps never overshoot.
    """
    mu = 0.0
    size = 0.0
    for _ in range(ROUNDS):
        square, bend = 0.0, 0.0
        for i in range(weights.size):
            s = variances[i]
            u = weights[i] / (1.0 + mu * s)
            square += u * u
            bend += u * u * s / (1.0 + mu * s)
        size = math.sqrt(square)
        if not size > radius * (1.0 + 1e-12):
            break
        mu += square * (size - radius) / (radius * bend)
    if mu > 0.0:
        for i in range(weights.size):
            weights[i] = weights[i] / (1.0 + mu * variances[i])


along: Callable[[Array, Array, Any, Any, Any, Index, Array, Array], bool] = compiled(_along, inlined=True)
across: Callable[[Array, Array, Any, Any, Any, Index, Array, Array], None] = compiled(_across, inlined=True)
project: Callable[[Array, Array, Any], None] = compiled(_project, inlined=True)


def _newton(
    plan: Array, weights: Array, rest: Array, yes: int, no: int, sign: Any, m: Any, index: Index, value: Array, sx: Array
) -> bool:
    """One row (Hazan, Agarwal, Kale, Machine Learning 69:169, 2007); p = (γ, radius). False if not finite."""
    p, width = plan[SETTINGS:], weights.shape[1]
    steep = slope(LOGISTIC, m)
    if steep == 0.0:
        return True
    size = rest.size // len(weights)
    mine, theirs = rest[yes * size : (yes + 1) * size], rest[max(no, 0) * size : (max(no, 0) + 1) * size]
    push, gain = steep / p[0], steep * steep
    if int(plan[MEMORY]) == FULL:
        least = FLOOR * plan[PRIOR] * inner(index, value, value)
        fine = along(mine, weights[yes], sign * push, gain, least, index, value, sx[:width])
        if fine and no >= 0:
            fine = along(theirs, weights[no], -push, gain, least, index, value, sx[:width])
        return fine
    across(mine, weights[yes], sign * push, gain, TRACE * plan[PRIOR], index, value, sx[:width])
    if no >= 0:
        across(theirs, weights[no], -push, gain, TRACE * plan[PRIOR], index, value, sx[:width])
    if p[1] < math.inf:
        project(weights.reshape(-1), rest, p[1])
    return True


newton: Callable[[Array, Array, Array, int, int, Any, Any, Index, Array, Array], bool] = compiled(_newton, inlined=True)
