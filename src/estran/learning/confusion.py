"""Which classes were taken for which, and what follows: recalls, sensitivity, balanced accuracy, cost of mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Labels
from estran.learning.mistakes import SettingsError


@dataclass(frozen=True)
class Confusion:
    """Counts of rows by their class and what was answered.

    Attributes
    ----------
    counts
        Right classes by rows, answers by columns; shape (classes, classes).

    Examples
    --------
    >>> found = Confusion.of(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0]), 2)
    >>> found.counts.tolist(), found.sensitivity, found.cost([1, 10])
    ([[2, 1], [1, 1]], 0.5, 11.0)
    """

    counts: NDArray[np.int64]

    @classmethod
    def of(cls, truth: Labels, answer: Labels, classes: int) -> Confusion:
        """Count right classes and answers, both of shape (n,)."""
        return cls(np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes))

    @property
    def recalls(self) -> NDArray[np.float64]:
        """Share of each class's rows that was answered rightly; NaN of a class that never came."""
        rows = self.counts.sum(axis=1)
        return np.asarray(np.where(rows > 0, self.counts.diagonal() / np.maximum(rows, 1), np.nan))

    @property
    def sensitivity(self) -> float:
        """Recall of class 1, the positive one, of two classes."""
        return self._of_two(1)

    @property
    def specificity(self) -> float:
        """Recall of class 0, the negative one, of two classes."""
        return self._of_two(0)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that came; NaN if none did."""
        came = self.recalls[~np.isnan(self.recalls)]
        return float(came.mean()) if came.size else float("nan")

    def cost(self, costs: Sequence[float] | Sequence[Sequence[float]] | NDArray[Any]) -> float:
        """Cost of all answers together.

        Parameters
        ----------
        costs
            What a wrong answer to a row of each class costs; or a matrix, right classes by rows, answers by columns.

        Raises
        ------
        SettingsError
            If their shape does not fit the classes.
        """
        prices, classes = np.asarray(costs, dtype=np.float64), len(self.counts)
        if prices.shape == (classes,):
            prices = prices[:, None] * (1.0 - np.eye(classes))
        if prices.shape != (classes, classes):
            raise SettingsError(
                f"costs have the shape {prices.shape}",
                where="evaluation",
                remedy=f"give {classes} numbers, one for each class, or {classes} lists of {classes}",
            )
        return float((prices * self.counts).sum())

    def _of_two(self, of: int) -> float:
        if len(self.counts) != 2:
            raise SettingsError(
                f"sensitivity and specificity are of two classes, not {len(self.counts)}",
                where="evaluation",
                remedy="look at recalls, or balanced_accuracy",
            )
        return float(self.recalls[of])
