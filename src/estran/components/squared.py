"""Root mean square errors over the latest answers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable


class SquaredError:
    """Weighted mean of the last ``size`` squared errors.

    Examples
    --------
    >>> recent = SquaredError(2)
    >>> recent.add([100.0, 9.0, 16.0])
    >>> round(recent.root, 4)
    3.5355
    """

    def __init__(self, size: int) -> None:
        self._last: deque[tuple[float, float]] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._last)

    def add(self, squares: Iterable[float], weight: float = 1.0) -> None:
        """Take in squared errors, oldest first."""
        self._last.extend((float(square), weight) for square in squares)

    @property
    def root(self) -> float:
        """Root of the mean; 0 before the first error."""
        total = sum(weight for _, weight in self._last)
        return math.sqrt(sum(square * weight for square, weight in self._last) / total) if total > 0 else 0.0
