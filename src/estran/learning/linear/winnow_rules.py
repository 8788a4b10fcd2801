"""Winnow's multiplicative update. Importing it imports numba, so only learning does so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from estran.learning.compiled import compiled
from estran.learning.linear.plan import SETTINGS, WIDTH
from estran.learning.linear.rows import Array, Index

PLAIN: Final = 0
"""First setting of Winnow with one positive weight a feature; its last column is minus the threshold, and stays."""


def _turned(weight: Any, power: Any, plain: bool, bound: Any) -> Any:
    """A weight times eᵖᵒʷᵉʳ. In a balanced pair u⁺ grows as much as u⁻ shrinks: u⁺·u⁻ = 1, so that u⁺ − u⁻ tells both."""
    least = 1.0 / bound
    if plain:
        return min(max(weight * math.exp(power), least), bound)
    root = math.sqrt(weight * weight + 4.0)
    # The sum that does not cancel.
    up = 0.5 * (root + weight) if weight >= 0.0 else 2.0 / (root - weight)
    up = min(max(up * math.exp(power), least), bound)
    return up - 1.0 / up


turned: Callable[[Any, Any, bool, Any], Any] = compiled(_turned, inlined=True)


def _turn(weights: Array, rate: Any, still: int, bound: Any, index: Index, value: Array) -> None:
    """Promote, or demote where ``rate`` is negative, the weights of a row's columns; ``still`` is one that stays, or −1."""
    for i in range(value.size):
        j = i if index is None else index[0][i]
        if value[i] != 0.0 and j != still:
            weights[j] = turned(weights[j], rate * value[i], still >= 0, bound)


turn: Callable[[Array, Any, int, Any, Index, Array], None] = compiled(_turn, inlined=True)


def _winnow(plan: Array, weights: Array, right: bool, yes: int, no: int, sign: Any, index: Index, value: Array) -> bool:
    """One row of Winnow (Littlestone, Machine Learning 2:285, 1988); p = (balanced, log α, bound). False if a row has no place."""
    p = plan[SETTINGS:]
    plain = p[0] == PLAIN
    if right and not plain:
        return True
    reach = 1.0
    for i in range(value.size):
        if plain and value[i] < 0.0:
            return False
        reach = max(reach, abs(value[i]))
    if not right:
        rate, still = p[1] / reach, int(plan[WIDTH]) - 1 if plain else -1
        turn(weights[yes], sign * rate, still, p[2], index, value)
        if no >= 0:
            turn(weights[no], -rate, still, p[2], index, value)
    return True


winnow: Callable[[Array, Array, bool, int, int, Any, Index, Array], bool] = compiled(_winnow, inlined=True)
