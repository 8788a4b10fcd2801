"""When a learner asks for a label: the rules by name, and what they remember. Plain NumPy: nothing here compiles."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Rule(IntEnum):
    """Codes by which the kernel knows the rules."""

    ALWAYS = 0
    RANDOM = 1
    MARGIN = 2
    SECOND_ORDER = 3
    VARIABLE_UNCERTAINTY = 4
    SPLIT = 5


NAMES: Final = ("always", "random", "margin", "second-order", "variable-uncertainty", "split")
"""As experiment files write them, in the order of their codes."""

RATIONED: Final = (Rule.RANDOM, Rule.VARIABLE_UNCERTAINTY, Rule.SPLIT)
"""Rules that mean nothing without a budget."""

SEED, DRAWS, SEEN, ASKED, SPENT, THRESHOLD = range(6)
"""Places in what is remembered: the seed of all draws and how many were made; rows seen and labels asked for; labels asked for in
the fading window; the threshold of uncertainty."""

CODE, B, BUDGET, WINDOW, STEP, SHARE, SHRUNK = range(7)
"""Places in the plan: the rule's code and its settings; 1 last if scores are already divided by one plus the variance."""


def fresh(seed: float) -> NDArray[np.float64]:
    """What is remembered before the first row."""
    return np.array([seed, 0.0, 0.0, 0.0, 0.0, 1.0])


def possible(numbers: NDArray[np.float64]) -> bool:
    """Whether finite numbers can have come about by asking."""
    counts = numbers[: ASKED + 1]
    whole = bool((counts == np.floor(counts)).all() and (counts >= 0).all() and (counts < 2.0**53).all())
    return whole and bool(numbers[ASKED] <= numbers[SEEN] and numbers[SPENT] >= 0 and numbers[THRESHOLD] > 0)
