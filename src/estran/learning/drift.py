"""Concept drift: when it sets in, and what it does to rows and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels
from estran.learning.mistakes import SettingsError
from estran.units import Duration


@dataclass(frozen=True)
class Drift:
    """One drift, at a time of the run or at a sample of the stream.

    Attributes
    ----------
    change
        What the new concept is. ``labels``: classes swap their meaning. ``rotation``: features are rotated, two by two.
        ``shift``: every feature is moved.
    schedule
        ``abrupt``: from one sample to the next. ``gradual``: over a while, samples of the new concept get more and more likely.
        ``recurring``: the new concept lasts for a period, then the old one for as long, and so on.
    at, over, period
        Onset, duration of a gradual one, and period of a recurring one, as times of the run.
    at_sample, over_samples, period_samples
        The same, counted in samples of one replica, instead.
    size
        Strength: share of the classes that swap, quarter turns, or standard deviations of the shift.
    """

    change: Literal["labels", "rotation", "shift"] = "labels"
    schedule: Literal["abrupt", "gradual", "recurring"] = "abrupt"
    at: Duration | None = None
    over: Duration | None = None
    period: Duration | None = None
    at_sample: int | None = None
    over_samples: int | None = None
    period_samples: int | None = None
    size: float = 1.0

    def __post_init__(self) -> None:
        if (self.at is None) == (self.at_sample is None):
            raise SettingsError(
                "a drift has a time or a sample to start at", where="drift", remedy="write at: 5s, or at_sample: 500"
            )
        needed = {"abrupt": None, "gradual": "over", "recurring": "period"}[self.schedule]
        if needed and not self._extent(needed):
            unit = "" if self.timed else "_samples"
            raise SettingsError(
                f"a {self.schedule} drift needs {needed}{unit}", where="drift", remedy=f"write {needed}{unit}: …, more than 0"
            )
        if not 0 < self.size < math.inf:
            raise SettingsError(f"size is {self.size}", where="drift", remedy="give a positive number")

    @property
    def timed(self) -> bool:
        """Whether positions are times rather than samples."""
        return self.at is not None

    def weight(self, time: float, sample: int) -> float:
        """Probability that a sample is of the new concept.

        Parameters
        ----------
        time
            Seconds of the run's clock.
        sample
            Number of the sample in its replica's stream.

        Examples
        --------
        >>> gradual = Drift(schedule="gradual", at=10.0, over=4.0)
        >>> gradual.weight(9.0, 0), gradual.weight(11.0, 0), gradual.weight(20.0, 0)
        (0.0, 0.25, 1.0)
        """
        since = time - self.at if self.at is not None else float(sample - (self.at_sample or 0))
        if since < 0:
            return 0.0
        if self.schedule == "abrupt":
            return 1.0
        if self.schedule == "gradual":
            return min(1.0, since / self._extent("over"))
        return 1.0 if int(since / self._extent("period")) % 2 == 0 else 0.0

    def _extent(self, name: str) -> float:
        return float(getattr(self, name if self.timed else f"{name}_samples") or 0)


class Concept:
    """What one drift does: the same to every replica, since it is drawn from a generator that they share.

    Parameters
    ----------
    drift
        What kind of change, and how strong.
    x
        The rows before any drift, shape (n, d), from which scales are taken.
    classes
        Number of classes.
    rng
        Source of the choice of classes, pairs of features and directions.
    """

    def __init__(self, drift: Drift, x: Features, classes: int, rng: np.random.Generator) -> None:
        self.drift = drift
        self._labels = _swap(classes, drift.size, rng)
        self._pairs = rng.permutation(x.shape[1])[: x.shape[1] // 2 * 2].reshape(-1, 2)
        self._shift = rng.choice([-1.0, 1.0], x.shape[1]) * x.std(axis=0) * drift.size
        self._centre = x.mean(axis=0)

    def apply(self, row: NDArray[np.float64], label: int) -> tuple[NDArray[np.float64], int]:
        """A sample as the new concept has it."""
        if self.drift.change == "labels":
            return row, int(self._labels[label])
        if self.drift.change == "shift":
            return row + self._shift, label
        return self._rotated(row), label

    def _rotated(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = self.drift.size * math.pi / 2
        first, second = self._pairs.T
        centred, turned = row - self._centre, row - self._centre
        turned[first] = math.cos(angle) * centred[first] - math.sin(angle) * centred[second]
        turned[second] = math.sin(angle) * centred[first] + math.cos(angle) * centred[second]
        return np.asarray(turned + self._centre)


def _swap(classes: int, share: float, rng: np.random.Generator) -> Labels:
    """A permutation that moves the given share of the classes, two at the least, in one cycle."""
    moved = rng.permutation(classes)[: min(classes, max(2, round(classes * share)))]
    permutation = np.arange(classes)
    permutation[moved] = np.roll(moved, 1)
    return permutation
