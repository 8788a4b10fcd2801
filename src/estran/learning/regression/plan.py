"""Which rule a linear regressor follows, and where its numbers lie. Plain NumPy: nothing here compiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class Rule(IntEnum):
    """Codes by which the kernel knows the rules; from `RIDGE` on they also keep a covariance."""

    PA = 0
    PA1 = 1
    PA2 = 2
    OGD = 3
    ADAGRAD = 4
    FTRL = 5
    RIDGE = 6
    FORWARD = 7
    NEWTON = 8


CLOCK: Final = 1
"""Numbers before the weights: rows seen."""
RULE, WIDTH, SIZE, PRIOR, MARGIN, SETTINGS = range(6)
"""Places in a plan's vector; a rule's own settings begin at the last."""


@dataclass(frozen=True)
class Plan:
    """Rule, sizes and settings of a regressor.

    Parameters
    ----------
    rule
        What it does.
    width
        Weights, the bias included (it is the last one).
    settings
        The rule's own, as `estran.learning.regression.kernel` describes them.
    margin
        Errors up to which a loss is zero, or quadratic.
    prior
        The covariance that learning begins with is this much of the identity.
    """

    rule: Rule
    width: int
    settings: Sequence[float] = ()
    margin: float = 0.0
    prior: float = 1.0

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all that is remembered, by name, in the order in which they lie."""
        shape = (self.width,)
        found: dict[str, tuple[int, ...]] = {"clock": (CLOCK,), "weights": shape}
        if self.rule in (Rule.ADAGRAD, Rule.FTRL):
            found["squares" if self.rule is Rule.ADAGRAD else "roots"] = shape
        if self.rule is Rule.FTRL:
            found["linear"] = shape
        if self.rule >= Rule.RIDGE:
            found |= {"variances": shape, "factor": (self.width * (self.width - 1) // 2,)}
        return found

    @property
    def size(self) -> int:
        """How many numbers are remembered."""
        return sum(int(np.prod(shape)) for shape in self.parts().values())

    def vector(self) -> NDArray[np.float64]:
        """The plan as the kernel reads it."""
        return np.array([self.rule, self.width, self.size, self.prior, self.margin, *self.settings], dtype=np.float64)

    def fresh(self) -> NDArray[np.float64]:
        """All numbers before the first row, and after them the kernel's room to work in."""
        numbers = np.zeros(self.size + 4 * self.width)
        views = self.views(numbers)
        if "variances" in views:
            views["variances"][...] = self.prior
        return numbers

    def views(self, numbers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Every part of the numbers, by name, sharing their memory."""
        views, at = {}, 0
        for name, shape in self.parts().items():
            size = int(np.prod(shape))
            views[name] = numbers[at : at + size].reshape(shape)
            at += size
        return views


def covariance(variances: NDArray[np.float64], factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix S = U·D·Uᵀ, which is kept as D and, column after column, what is above U's diagonal of ones.

    Examples
    --------
    >>> covariance(np.array([1.0, 2.0]), np.array([0.5])).tolist()
    [[1.5, 1.0], [1.0, 2.0]]
    """
    upper = np.eye(len(variances))
    for column in range(1, len(variances)):
        start = column * (column - 1) // 2
        upper[:column, column] = factor[start : start + column]
    return np.asarray((upper * variances) @ upper.T)
