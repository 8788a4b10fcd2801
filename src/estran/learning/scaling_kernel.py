"""The compiled heart of running standardisation. Importing it imports numba, so only learning and predicting do so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from estran.learning.compiled import compiled

Array = NDArray[Any]


def _scale(count: float, mean: Array, squares: Array, x: Array, scaled: Array, keep: bool) -> int:
    """Standardise rows by the mean and variance of all rows before, the row itself counted in.

    Parameters
    ----------
    count, mean, squares
        Rows so far; mean and sum of squared distances from it of each column.
    x, scaled
        Rows as they came, and where they go; both of shape (n, columns). A column without variance becomes zero.
    keep
        Whether rows count for those after them; ``mean`` and ``squares`` are then changed in place.

    Returns
    -------
    int
        -1, or the row at which something is not finite.
    """
    for i in range(x.shape[0]):
        share = 1.0 / (count + 1.0)
        nothing = 0.0
        for j in range(x.shape[1]):
            away = x[i, j] - mean[j]
            middle = mean[j] + away * share
            rest = x[i, j] - middle
            square = squares[j] + away * rest
            spread = math.sqrt(square * share)
            scaled[i, j] = rest / spread if spread > 0.0 else 0.0
            nothing += square * 0.0
            if keep:
                mean[j], squares[j] = middle, square
        if nothing != 0.0:
            return i
        if keep:
            count += 1.0
    return -1


scale: Callable[[float, Array, Array, Array, Array, bool], int] = compiled(_scale)
