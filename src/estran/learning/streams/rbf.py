"""Random radial basis functions: clouds of points whose centres may move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estran.learning.learner import Features
from estran.learning.streams.stream import BLOCK, Chunk, Stream


@dataclass(frozen=True)
class Rbf(Stream):
    """Points around random centres, each of a class; the first ``moving`` centres move, and turn back at the unit cube's sides.

    A point is its centre plus a random direction whose length is normal with the centre's own standard deviation.

    Parameters
    ----------
    features, classes
        Width of a row, and number of classes.
    centres
        How many there are; place, class, standard deviation and weight of each are uniform.
    moving
        How many of them move; None for all.
    speed
        Length of each one's step from row to row; 0 for no drift.

    Notes
    -----
    Kirkby, *Improving Hoeffding trees*, thesis, University of Waikato 2007, section 2.4; with drift in Bifet, Holmes, Pfahringer,
    Kirkby and Gavaldà, *New ensemble methods for evolving data streams*, KDD 2009, section 4.

    Examples
    --------
    >>> x, y = Rbf(features=2, classes=3, speed=0.001).take(100, np.random.default_rng(0))
    >>> x.shape, sorted(set(y.tolist()))
    ((100, 2), [0, 1, 2])
    """

    kind: ClassVar[str] = "rbf"

    features: int = 10
    classes: int = 2
    centres: int = 50
    moving: int | None = None
    speed: float = 0.0

    def __post_init__(self) -> None:
        self.check_count("features", self.features)
        self.check_count("classes", self.classes, 2)
        self.check_count("centres", self.centres)
        most = self.centres
        self.check(self.moving is None or 0 <= self.moving <= most, f"moving is {self.moving}", f"give 0 to {most}, the centres")
        self.check(0 <= self.speed < np.inf, f"speed is {self.speed}", "give 0 or a positive number")

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        centre = rng.random((self.centres, self.features))
        label = rng.integers(self.classes, size=self.centres)
        spread = rng.random(self.centres)
        weight = rng.random(self.centres)
        step = rng.random((self.centres if self.moving is None else self.moving, self.features))
        step *= self.speed / np.sqrt((step**2).sum(axis=1, keepdims=True))
        while True:
            chosen = rng.choice(self.centres, BLOCK, p=weight / weight.sum())
            direction = rng.uniform(-1, 1, (BLOCK, self.features))
            length = rng.standard_normal(BLOCK) * spread[chosen]
            offset = direction * (length / np.sqrt((direction**2).sum(axis=1)))[:, None]
            x = centre[chosen] if self.speed == 0 else _passed(centre, step, chosen)
            yield x + offset, label[chosen]


def _passed(centre: Features, step: Features, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Features:
    """Where the chosen centres were when each row was drawn; moves them, in place."""
    x = np.empty((len(chosen), centre.shape[1]))
    moving = centre[: len(step)]
    for row, which in enumerate(chosen.tolist()):
        moving += step
        outside = (moving > 1) | (moving < 0)
        if outside.any():
            np.clip(moving, 0, 1, out=moving)
            step[outside] *= -1
        x[row] = centre[which]
    return x
