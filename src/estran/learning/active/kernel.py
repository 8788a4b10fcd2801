"""Whether to ask for one label, and the budget's books. Importing it imports numba, so only learning does so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from estran.learning.active.rules import (
    ASKED,
    BUDGET,
    CODE,
    DRAWS,
    SEED,
    SEEN,
    SHARE,
    SHRUNK,
    SPENT,
    STEP,
    THRESHOLD,
    WINDOW,
    B,
    Rule,
)
from estran.learning.compiled import compiled
from estran.learning.draws import uniform

Array: TypeAlias = NDArray[Any]

ALWAYS: Final = int(Rule.ALWAYS)
RANDOM: Final = int(Rule.RANDOM)
MARGIN: Final = int(Rule.MARGIN)
SECOND_ORDER: Final = int(Rule.SECOND_ORDER)
SPLIT: Final = int(Rule.SPLIT)


def _drawn(numbers: Array, chance: Any) -> bool:
    """One draw: true with this chance."""
    numbers[DRAWS] += 1.0
    return bool(uniform(numbers[SEED], numbers[DRAWS] - 1.0) < chance)


drawn: Callable[[Array, Any], bool] = compiled(_drawn, inlined=True)


def _uncertain(plan: Array, numbers: Array, top: Any) -> bool:
    """The variable threshold (Žliobaitė et al. 2014): it falls where a label is asked for, and rises where none is."""
    if top < numbers[THRESHOLD]:
        numbers[THRESHOLD] *= 1.0 - plan[STEP]
        return True
    numbers[THRESHOLD] *= 1.0 + plan[STEP]
    return False


uncertain: Callable[[Array, Array, Any], bool] = compiled(_uncertain, inlined=True)


def _wanted(plan: Array, numbers: Array, gap: Any, top: Any, variance: Any) -> bool:
    """What the rule says of a row, its budget not being looked at."""
    code = int(plan[CODE])
    if code == ALWAYS:
        return True
    if code == RANDOM:
        return drawn(numbers, plan[BUDGET])
    if code == MARGIN:
        return drawn(numbers, plan[B] / (plan[B] + gap))
    if code == SECOND_ORDER:
        # p is the prediction that counts the row itself in, m the one that does not: p = m / (1 + v), so p²(1 + v) = p·m.
        p = gap if plan[SHRUNK] else gap / (1.0 + variance)
        m = gap * (1.0 + variance) if plan[SHRUNK] else gap
        return drawn(numbers, plan[B] / (plan[B] + p + 0.5 * p * m))
    if code == SPLIT and drawn(numbers, plan[SHARE]):
        return drawn(numbers, plan[BUDGET])
    return uncertain(plan, numbers, top)


wanted: Callable[[Array, Array, Any, Any, Any], bool] = compiled(_wanted, inlined=True)


def _ask(plan: Array, numbers: Array, gap: Any, top: Any, variance: Any) -> bool:
    """Decide on the next row, and book it.

    Parameters
    ----------
    plan, numbers
        Settings and memory, as `estran.learning.active.rules` lists them; the memory is changed.
    gap
        How far the best class's score is ahead of the second best.
    top
        Probability of the best class.
    variance
        Of the row, by the learner's covariance.
    """
    numbers[SEEN] += 1.0
    limited = plan[BUDGET] < 1.0
    if limited:
        numbers[SPENT] *= 1.0 - 1.0 / plan[WINDOW]
        if numbers[SPENT] + 1.0 > plan[BUDGET] * plan[WINDOW]:
            return False
    if not wanted(plan, numbers, gap, top, variance):
        return False
    numbers[ASKED] += 1.0
    if limited:
        numbers[SPENT] += 1.0
    return True


ask: Callable[[Array, Array, Any, Any, Any], bool] = compiled(_ask)
