"""Whole numbers that stand among floats: seeds, and counts of draws and rounds."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import StateError

LIMIT: Final = 2.0**53
"""From here on, a float may not hold the next whole number."""


def check_counts(learner: str, part: str, counts: NDArray[Any]) -> None:
    """Make sure that all numbers of a snapshot's part are whole, from 0 to below 2⁵³, as `estran.learning.draws` needs them.

    Raises
    ------
    StateError
        If one is not.

    Examples
    --------
    >>> check_counts("hedge", "clock", np.array([3.0, 0.0]))
    >>> check_counts("hedge", "clock", np.array([0.5]))
    Traceback (most recent call last):
    estran.learning.learner.StateError: hedge: clock of the snapshot holds 0.5, which counts nothing
      → load snapshots as state() makes them
    """
    wrong = counts[(counts < 0) | (counts >= LIMIT) | (counts != np.floor(counts))]
    if wrong.size:
        what = f"{part} of the snapshot holds {wrong[0]:g}, which counts nothing"
        raise StateError(what, where=learner, remedy="load snapshots as state() makes them")
