"""Draws from what Thompson sampling believes. Importing it imports numba.

Every uniform number that is used counts as a draw, also one that is rejected: so the clock says how draws go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from estran.learning.bandits.kernel import Array
from estran.learning.compiled import compiled
from estran.learning.draws import uniform
from estran.learning.experts.plan import HEAD


def _next(numbers: Array) -> Any:
    """A number above 0 up to 1."""
    numbers[1] += 1.0
    return 1.0 - uniform(numbers[0], numbers[1] - 1.0)


following: Callable[[Array], Any] = compiled(_next, inlined=True)


def _normal(numbers: Array) -> Any:
    """A standard normal number (Box, Muller 1958)."""
    return math.sqrt(-2.0 * math.log(following(numbers))) * math.cos(2.0 * math.pi * following(numbers))


normal: Callable[[Array], Any] = compiled(_normal, inlined=True)


def _log_gamma(numbers: Array, shape: Any) -> Any:
    """Logarithm of a number drawn from Gamma(shape, 1): Marsaglia, Tsang, ACM TOMS 26:363, 2000.

    The logarithm, since for small shapes the number itself may be too small for a float.
    """
    d = (shape if shape >= 1.0 else shape + 1.0) - 1.0 / 3.0
    while True:
        x = normal(numbers)
        v = 1.0 + x / math.sqrt(9.0 * d)
        if v <= 0.0:
            continue
        cube = v * v * v
        if math.log(following(numbers)) < 0.5 * x * x + d - d * cube + d * math.log(cube):
            break
    found = math.log(d) + 3.0 * math.log(v)
    return found if shape >= 1.0 else found + math.log(following(numbers)) / shape


log_gamma: Callable[[Array, Any], Any] = compiled(_log_gamma, inlined=True)


def _beta(numbers: Array, successes: Any, failures: Any, arms: int) -> int:
    """The arm of the highest draw from its Beta distribution. Log odds are compared, which order as the numbers do."""
    counts, sums = numbers[HEAD : HEAD + arms], numbers[HEAD + arms :]
    best, highest = 0, -math.inf
    for k in range(arms):
        odds = log_gamma(numbers, successes + sums[k]) - log_gamma(numbers, failures + (counts[k] - sums[k]))
        if odds > highest:
            best, highest = k, odds
    return best


def _gauss(numbers: Array, mean: Any, precision: Any, weight: Any, arms: int) -> int:
    """The arm of the highest draw from its normal distribution; ``weight`` is the precision of one reward."""
    counts, sums = numbers[HEAD : HEAD + arms], numbers[HEAD + arms :]
    best, highest = 0, -math.inf
    for k in range(arms):
        known = precision + weight * counts[k]
        drawn = (mean * precision + weight * sums[k]) / known + normal(numbers) / math.sqrt(known)
        if drawn > highest:
            best, highest = k, drawn
    return best


def _toss(numbers: Array, chance: Any) -> Any:
    """1 with this chance, else 0."""
    return 1.0 if following(numbers) <= chance else 0.0


beta: Callable[[Array, Any, Any, int], int] = compiled(_beta)
gauss: Callable[[Array, Any, Any, Any, int], int] = compiled(_gauss)
toss: Callable[[Array, Any], Any] = compiled(_toss)
