"""Comparing a newcomer with who is in office, on the same rows."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Labels

Score: TypeAlias = Literal["accuracy", "likelihood", "confidence"]
Verdict: TypeAlias = Literal["worse", "not worse"]

DOUBT: Final = 0.05
"""Chance of an early verdict against a newcomer that is as good, at each look."""


def scores(odds: NDArray[np.float64], y: Labels, by: Score) -> NDArray[np.float64]:
    """How good each answer was, from 0 to 1, shape (n,).

    Parameters
    ----------
    odds
        Class probabilities, shape (n, classes).
    y
        What was true, shape (n,).
    by
        ``accuracy``: 1 for a right answer. ``likelihood``: the probability given to what was true. ``confidence``: the probability
        of the answer, which needs no truth, and trusts a model that is sure of itself.

    Examples
    --------
    >>> odds, y = np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([0, 1])
    >>> scores(odds, y, "accuracy").tolist(), scores(odds, y, "likelihood").tolist(), scores(odds, y, "confidence").tolist()
    ([1.0, 0.0], [0.7, 0.4], [0.7, 0.6])
    """
    if by == "confidence":
        return np.asarray(odds.max(axis=1))
    if by == "likelihood":
        return np.asarray(odds[np.arange(len(y)), y])
    return np.asarray(odds.argmax(axis=1) == y, dtype=np.float64)


class Trial:
    """A newcomer against who is in office, row by row.

    Parameters
    ----------
    samples
        Rows after which it ends.
    tolerance
        By how much the newcomer's mean score may be below the other's.

    Notes
    -----
    It ends early where the newcomer is clearly worse: by Hoeffding's bound (*Probability inequalities for sums of bounded random
    variables*, JASA 58, 1963) for differences from −1 to 1. A look is taken after every batch, so the chance of an early verdict
    against one that is as good is somewhat above `DOUBT` over a whole trial.

    Examples
    --------
    >>> trial = Trial(100, 0.02)
    >>> trial.add(np.zeros(20), np.ones(20))
    >>> trial.verdict()
    'worse'
    """

    def __init__(self, samples: int, tolerance: float) -> None:
        self.samples, self.tolerance = samples, tolerance
        self.rows = 0
        self._newcomer = self._incumbent = 0.0

    def add(self, newcomer: NDArray[np.float64], incumbent: NDArray[np.float64]) -> None:
        """Take in both scores of some rows, each shape (n,)."""
        self.rows += len(newcomer)
        self._newcomer += float(newcomer.sum())
        self._incumbent += float(incumbent.sum())

    @property
    def means(self) -> tuple[float, float]:
        """Mean score of the newcomer, and of who is in office; 0 before the first row."""
        return self._newcomer / max(1, self.rows), self._incumbent / max(1, self.rows)

    def verdict(self, *, over: bool = False) -> Verdict | None:
        """What has been found; None while it goes on.

        Parameters
        ----------
        over
            That its time is up; it then ends, if there was a row at all.
        """
        newcomer, incumbent = self.means
        behind = incumbent - newcomer - self.tolerance
        if self.rows >= self.samples or (over and self.rows):
            # Sums of floats: what differs by less than that is equal.
            return "worse" if behind > 1e-12 else "not worse"
        if self.rows and behind > math.sqrt(2 * math.log(1 / DOUBT) / self.rows):
            return "worse"
        return None
