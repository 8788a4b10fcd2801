"""Rows that are not learned from, to tell whether a model has become better than another."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels, Learner


class Holdout:
    """Keeps the last few of the rows that were held back, each held back by chance.

    Parameters
    ----------
    share
        Probability of a row to be held back.
    size
        How many are kept at the most; older ones are let go.
    rng
        Source of the draws.

    Examples
    --------
    >>> holdout = Holdout(0.2, 50, np.random.default_rng(0))
    >>> x, y = holdout.split(np.zeros((1000, 3)), np.zeros(1000, dtype=np.int64))
    >>> len(x) == len(y), 780 < len(x) < 820, len(holdout)
    (True, True, 50)
    """

    def __init__(self, share: float, size: int, rng: np.random.Generator) -> None:
        self._share, self._rng = share, rng
        self._rows: deque[tuple[NDArray[np.float64], int]] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._rows)

    def split(self, x: Features, y: Labels) -> tuple[Features, Labels]:
        """The rows to learn from; the others are kept."""
        held = self._rng.random(len(y)) < self._share
        if not held.any():
            return x, y
        self._rows.extend(zip(np.array(x[held]), y[held].tolist(), strict=True))
        return x[~held], y[~held]

    def accuracy(self, learner: Learner) -> float:
        """Share of the kept rows that a learner answers right; 0 before there are any."""
        if not self._rows:
            return 0.0
        x, y = zip(*self._rows, strict=True)
        return float(np.mean(learner.predict(np.stack(x)) == np.array(y)))
