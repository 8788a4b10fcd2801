"""Drift detectors that keep a window of values: ADWIN and KSWIN."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, TypeAlias

import numpy as np

from estran.learning.detectors import Side, fitting, misfit, require
from estran.learning.learner import State

Bucket: TypeAlias = tuple[float, float]
"""Sum of its values, and of their squared deviations from their mean."""


class Adwin:
    """Adaptive windowing: a window of values shrinks from its old end as long as two parts of it have different means.

    Parameters
    ----------
    delta
        Confidence: the smaller, the fewer false alarms.
    clock
        Values between two looks for a cut.
    buckets
        How many buckets of each size (1, 2, 4, … values) are kept apart (M).
    least
        Values that each part of a cut must have.
    side
        ``up``: it shrinks either way, but it is an alarm only where the newer part's mean is the greater one.

    Attributes
    ----------
    width
        Values in the window.

    Notes
    -----
    Bifet and Gavaldà, *Learning from time-changing data with adaptive windowing*, SDM 2007: ADWIN2 with the bound of its section
    3.2 for large windows, ``sqrt(2 v ln(2/d) / m) + 2 ln(2/d) / (3 m)`` with ``1/m = 1/n0 + 1/n1``, d = delta / ln(n) and v the
    window's variance. River 0.26 throws the whole window away after an alarm; the paper, and this, keep the newer part.

    Examples
    --------
    >>> adwin = Adwin()
    >>> alarms = [i for i in range(2000) if adwin.update(i % 5 == 0 if i < 1000 else i % 2 == 0)]
    >>> 1000 < alarms[0] < 1200, 800 < adwin.width < 1100
    (True, True)
    """

    name = "adwin"

    def __init__(self, delta: float = 0.002, clock: int = 32, buckets: int = 5, least: int = 5, side: Side = "up") -> None:
        require(0 < delta < 1, self.name, f"delta is {delta}", "give more than 0 and less than 1")
        require(min(clock, buckets, least) >= 1, self.name, f"clock, buckets, least: {clock}, {buckets}, {least}", "give 1 or more")
        require(side in ("up", "both"), self.name, f"side is {side!r}", "write up or both")
        self._delta, self._clock, self._most, self._least, self._side = delta, clock, buckets, least, side
        # Of each level i, buckets of 2**i values, oldest first.
        self._levels: list[deque[Bucket]] = [deque()]
        self._ticks, self.width = 0, 0
        self._sum = self._squares = 0.0

    def update(self, value: float) -> bool:
        """Take one number in; whether drift is found at it."""
        value = float(value)
        if self.width:
            self._squares += (value - self._sum / self.width) ** 2 * self.width / (self.width + 1)
        self.width += 1
        self._sum += value
        self._levels[0].append((value, 0.0))
        self._merge()
        self._ticks += 1
        return self._ticks % self._clock == 0 and self._shrink()

    def state(self) -> State:
        """Buckets, oldest first: level, sum, squared deviations; and ticks, width, sum and squared deviations of the window."""
        rows = [(level, *bucket) for level in reversed(range(len(self._levels))) for bucket in self._levels[level]]
        totals = np.array([self._ticks, self.width, self._sum, self._squares])
        return {"buckets": np.array(rows, dtype=np.float64).reshape(-1, 3), "totals": totals}

    def load(self, state: State) -> None:
        """Replace everything seen.

        Raises
        ------
        StateError
            If the snapshot does not fit.
        """
        parts = fitting(self.name, state, {"buckets": (None, 3), "totals": (4,)})
        rows, (ticks, width, total, squares) = parts["buckets"].tolist(), parts["totals"].tolist()
        if sum(2 ** int(level) for level, _, _ in rows) != width:
            raise misfit(self.name, f"its buckets do not hold {width:.0f} values")
        levels: list[deque[Bucket]] = [deque() for _ in range(1 + int(max((row[0] for row in rows), default=0)))]
        for level, *bucket in rows:
            levels[int(level)].append((bucket[0], bucket[1]))
        self._levels, self._ticks, self.width, self._sum, self._squares = levels, int(ticks), int(width), total, squares

    def _merge(self) -> None:
        """Where a level has too many buckets, its two oldest become one of the next level."""
        for level, buckets in enumerate(self._levels):
            if len(buckets) <= self._most:
                return
            (one, one_squares), (other, other_squares) = buckets.popleft(), buckets.popleft()
            merged = one + other, one_squares + other_squares + (one - other) ** 2 / 2 ** (level + 1)
            if level + 1 == len(self._levels):
                self._levels.append(deque([merged]))
                return
            self._levels[level + 1].append(merged)

    def _shrink(self) -> bool:
        """Drop the oldest bucket as long as there is a cut; whether that was an alarm."""
        alarm = False
        while (risen := self._cut()) is not None:
            alarm |= risen or self._side == "both"
            self._drop()
        return alarm

    def _cut(self) -> bool | None:
        """Whether the mean rose at the first cut from the old end at which it differs; None where there is none."""
        n0, sum0 = 0, 0.0
        if self.width < 2 * self._least:
            return None
        confidence = math.log(2 * math.log(self.width) / self._delta)
        variance = self._squares / self.width
        for level in reversed(range(len(self._levels))):
            for total, _ in self._levels[level]:
                n0, sum0 = n0 + 2**level, sum0 + total
                n1 = self.width - n0
                if n1 < self._least:
                    return None
                if n0 < self._least:
                    continue
                inverse = 1 / n0 + 1 / n1
                bound = math.sqrt(2 * inverse * variance * confidence) + 2 / 3 * inverse * confidence
                rise = (self._sum - sum0) / n1 - sum0 / n0
                if abs(rise) > bound:
                    return bool(rise > 0)
        return None

    def _drop(self) -> None:
        oldest = len(self._levels) - 1
        total, squares = self._levels[oldest].popleft()
        size = 2**oldest
        self.width -= size
        self._sum -= total
        between = (total / size - self._sum / self.width) ** 2 * size * self.width / (size + self.width)
        self._squares = max(0.0, self._squares - squares - between)
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()


class Kswin:
    """Kolmogorov-Smirnov windowing: the latest values are distributed otherwise than those before.

    Parameters
    ----------
    alpha
        Drift is found where the two empirical distributions are more than ``sqrt(-ln(alpha) / latest)`` apart.
    window
        How many values are kept.
    latest
        How many of them are the latest (r); they are compared with as many, drawn from the others. After an alarm only they stay.
    side
        ``up``: only where the latest values' mean is the greater one.
    seed
        Of the draws.

    Notes
    -----
    Raab, Heusinger and Schleif, *Reactive soft prototype computing for concept drift streams*, Neurocomputing 416, 2020, section
    3. River 0.26 takes the p-value of a library instead of the paper's bound, and forgets the latest values as well.

    Examples
    --------
    >>> kswin, rng = Kswin(alpha=0.0001), np.random.default_rng(0)
    >>> alarms = [i for i in range(600) if kswin.update(rng.normal(0 if i < 400 else 3))]
    >>> len(alarms), 400 < alarms[0] < 440
    (1, True)
    """

    name = "kswin"

    def __init__(self, alpha: float = 0.005, window: int = 100, latest: int = 30, side: Side = "up", seed: int = 0) -> None:
        require(0 < alpha < 1, self.name, f"alpha is {alpha}", "give more than 0 and less than 1")
        require(1 <= latest <= window // 2, self.name, f"latest is {latest} of {window}", "give half of the window at most")
        require(side in ("up", "both"), self.name, f"side is {side!r}", "write up or both")
        self._latest, self._side, self._seed, self._taken = latest, side, seed, 0
        self._bound = math.sqrt(-math.log(alpha) / latest)
        self._values: deque[float] = deque(maxlen=window)

    def update(self, value: float) -> bool:
        """Take one number in; whether drift is found at it."""
        self._taken += 1
        self._values.append(float(value))
        if len(self._values) < (self._values.maxlen or 0):
            return False
        values = np.array(self._values)
        latest, earlier = values[-self._latest :], values[: -self._latest]
        # A generator for each draw, by its number: a snapshot then needs no generator's state.
        drawn = np.random.default_rng([self._seed, self._taken]).choice(earlier, self._latest, replace=False)
        if _distance(drawn, latest) <= self._bound or (self._side == "up" and latest.mean() <= earlier.mean()):
            return False
        self._values = deque(latest.tolist(), maxlen=self._values.maxlen)
        return True

    def state(self) -> State:
        """The values kept, in order, and the seed and the number of draws."""
        return {"values": np.array(self._values, dtype=np.float64), "draws": np.array([self._seed, self._taken], dtype=np.int64)}

    def load(self, state: State) -> None:
        """Replace everything seen.

        Raises
        ------
        StateError
            If the snapshot does not fit.
        """
        parts = fitting(self.name, state, {"values": (None,), "draws": (2,)})
        if len(parts["values"]) > (self._values.maxlen or 0):
            raise misfit(self.name, f"it has {len(parts['values'])} values")
        self._values = deque(parts["values"].tolist(), maxlen=self._values.maxlen)
        self._seed, self._taken = (int(number) for number in parts["draws"])


def _distance(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Greatest distance between two empirical distributions."""
    points = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(sample), points, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())
