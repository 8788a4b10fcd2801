"""Data that go wrong on purpose: rows that are shifted or rotated, classes that swap their labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Labels

Change = Literal["shift", "rotate", "swap"]


class FaultyData:
    """What a fault of drift does to rows.

    Parameters
    ----------
    change
        ``shift`` adds ``amount`` standard deviations of each feature, up or down by chance, the same for all rows; ``rotate`` turns
        pairs of features, drawn by chance, by ``amount`` quarter turns around their means; ``swap`` gives that share of the classes
        each other's labels, in a circle.
    x
        All rows of the data, whose means and deviations count.
    rng
        Draws what is the same for all rows.
    """

    def __init__(self, change: Change, amount: float, x: NDArray[np.float64], classes: int, rng: np.random.Generator) -> None:
        features = x.shape[1]
        self._change = change
        self._mean = x.mean(axis=0)
        self._shift = amount * x.std(axis=0) * rng.choice([-1.0, 1.0], features)
        pairs = rng.permutation(features)[: features - features % 2]
        self._left, self._right = pairs[::2], pairs[1::2]
        self._cos, self._sin = np.cos(amount * np.pi / 2), np.sin(amount * np.pi / 2)
        labels = np.arange(max(classes, 1))
        chosen = (
            rng.permutation(len(labels))[: max(round(amount * len(labels)), 2)]
            if change == "swap" and len(labels) > 1
            else labels[:0]
        )
        self._labels = labels.copy()
        self._labels[chosen] = np.roll(chosen, 1)

    def apply(self, x: NDArray[np.float64], y: Labels) -> tuple[NDArray[np.float64], Labels]:
        """Return the rows as they come now."""
        if self._change == "shift":
            return x + self._shift, y
        if self._change == "swap":
            return x, self._labels[y].astype(y.dtype) if np.issubdtype(y.dtype, np.integer) else y
        turned = x - self._mean
        left, right = turned[:, self._left].copy(), turned[:, self._right].copy()
        turned[:, self._left] = self._cos * left - self._sin * right
        turned[:, self._right] = self._sin * left + self._cos * right
        return turned + self._mean, y
