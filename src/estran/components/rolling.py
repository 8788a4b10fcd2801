"""Figures over the last few samples, recorded at a steady pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Rolling:
    """Share of right answers among the last ``size``.

    Examples
    --------
    >>> recent = Rolling(4)
    >>> recent.add([True, True, False, True, False])
    >>> recent.mean
    0.5
    """

    def __init__(self, size: int) -> None:
        self._last: deque[bool] = deque(maxlen=size)
        self._right = 0

    def add(self, right: Iterable[bool]) -> None:
        """Take in whether answers were right, oldest first."""
        for one in map(bool, right):
            if len(self._last) == self._last.maxlen:
                self._right -= self._last[0]
            self._last.append(one)
            self._right += one

    @property
    def mean(self) -> float:
        """From 0 to 1; 0 before the first answer."""
        return self._right / len(self._last) if self._last else 0.0


class Pace:
    """Says when something that should happen every so often is due, without drifting.

    Parameters
    ----------
    every
        Seconds; None for never.
    """

    def __init__(self, every: float | None) -> None:
        self._every = every
        self._next: float | None = None

    def due(self, now: float) -> bool:
        """Whether a beat has passed since the last time that it was due; the first time it is."""
        if self._every is None:
            return False
        if self._next is not None and now < self._next:
            return False
        # Missed beats are skipped, not made up for.
        self._next = (
            now + self._every
            if self._next is None or self._every == 0
            else self._next + self._every * (1 + (now - self._next) // self._every)
        )
        return True
