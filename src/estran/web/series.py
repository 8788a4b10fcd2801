"""Series that grow while a run goes on and stay small: sums and latencies by bins of time, host figures on an even grid.

All are additive, so that rows may come late and in any order. A series that has become long doubles the width of its bins: what a
screen shows of it does not change, and memory stays bounded however long a run is.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

BIN: Final = 0.25
"""Seconds of a bin, until a series has become long."""
MOST_BINS: Final = 16_384
"""A series becomes coarser when it would have more."""

YOUNG: Final = 3
"""Cells after a counter's last sample in which the next one may still come."""

_LEAST: Final = 1e-6
_STEP: Final = 0.02
_BUCKETS: Final = 1152
"""Latencies from 1 µs to 10⁴ s, in buckets that are 2 % wide: so exact are quantiles."""


def room(array: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
    """The same array with at least ``length`` rows, new ones zero; it grows by half, so that growing is cheap."""
    if length <= len(array):
        return array
    grown = np.zeros((max(length, len(array) * 3 // 2, 64), *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


class Bins:
    """Sums of some columns by bins of time, in seconds from zero; what is before zero is not shown.

    Parameters
    ----------
    columns
        How many sums there are in a bin.
    kind
        What they are held as.
    most
        How many bins there may be before they become coarser.
    """

    def __init__(self, columns: int, kind: type[np.generic] = np.float64, most: int = MOST_BINS) -> None:
        self.width = BIN
        self._most = most
        self._length = 0
        self._sums: np.ndarray[Any, Any] = np.zeros((0, columns), dtype=kind)

    @property
    def sums(self) -> np.ndarray[Any, Any]:
        """One row a bin, from time zero to the newest."""
        return self._sums[: self._length]

    @property
    def times(self) -> Floats:
        """Middles of the bins."""
        return (np.arange(self._length) + 0.5) * self.width

    def place(self, times: Floats) -> Integers:
        """The bin of each time (none negative), after making room for all of them."""
        while len(times) and times.max() >= self.width * self._most:
            self._coarsen()
        at = (times / self.width).astype(np.int64)
        self._length = max(self._length, int(at.max(initial=-1)) + 1)
        self._sums = room(self._sums, self._length)
        return at

    def add(self, times: Floats, values: np.ndarray[Any, Any]) -> None:
        """Add rows of values at their times."""
        known = np.isfinite(times) & (times >= 0)
        at = self.place(times[known])
        np.add.at(self._sums, at, values[known])

    def count(self, at: Integers, columns: Integers) -> None:
        """Count one in a column of each bin."""
        np.add.at(self._sums, (at, columns), 1)

    def _coarsen(self) -> None:
        self.width *= 2
        even = self._length + self._length % 2
        self._sums = room(self._sums, even)[:even].reshape(-1, 2, self._sums.shape[1]).sum(axis=1, dtype=self._sums.dtype)
        self._length = len(self._sums)

    def last(self, seconds: float, newest: float) -> np.ndarray[Any, Any]:
        """Sums over the last seconds before ``newest``."""
        return np.asarray(self.sums[max(0, math.ceil((newest - seconds) / self.width)) :].sum(axis=0))


def trailing(weights: Floats, values: Floats, least: float) -> Floats:
    """A moving ratio: at each bin, of so many bins before it as hold ``least`` of the weight; NaN before there is any."""
    weight, value = np.concatenate([[0.0], np.cumsum(weights)]), np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.searchsorted(weight, weight[1:] - least, side="right") - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((value[1:] - value[first]) / (weight[1:] - weight[first]))


class Latencies:
    """Histograms of latencies by bins of time, from which quantiles over any of them come, exact to 2 %."""

    def __init__(self) -> None:
        self._bins = Bins(_BUCKETS, np.int32, most=2048)

    def add(self, times: Floats, values: Floats) -> None:
        """Count latencies, in seconds, at their times."""
        known = np.isfinite(times) & np.isfinite(values) & (times >= 0)
        bucket = np.clip(np.log(np.maximum(values[known], _LEAST) / _LEAST) / _STEP, 0, _BUCKETS - 1).astype(np.int64)
        self._bins.count(self._bins.place(times[known]), bucket)

    def quantiles(self, levels: list[float], cells: int) -> tuple[Floats, Floats]:
        """Times, and a column of latencies for each level; neighbouring bins are taken together, down to ``cells``."""
        sums = self._bins.sums
        together = max(1, -(-len(sums) // cells))
        padded = np.pad(sums, ((0, -len(sums) % together), (0, 0))).reshape(-1, together, _BUCKETS).sum(axis=1)
        times = (np.arange(len(padded)) + 0.5) * together * self._bins.width
        return times, _quantiles(padded, levels)

    def last(self, seconds: float, newest: float, levels: list[float]) -> list[float | None]:
        """Quantiles over the last seconds before ``newest``; None where nothing was counted."""
        counted = self._bins.last(seconds, newest)[None, :]
        return [None if math.isnan(value) else float(value) for value in _quantiles(counted, levels)[0]]


def _quantiles(counts: np.ndarray[Any, Any], levels: list[float]) -> Floats:
    cumulative = np.cumsum(counts, axis=1)
    total = cumulative[:, -1]
    found = np.full((len(counts), len(levels)), np.nan)
    for column, level in enumerate(levels):
        rank = np.maximum(np.ceil(total * level), 1)
        bucket = (cumulative < rank[:, None]).sum(axis=1)
        found[:, column] = np.where(total > 0, _LEAST * np.exp((bucket + 0.5) * _STEP), np.nan)
    return found


class Grid:
    """A sampled figure on an even grid; between samples it is taken to go evenly, as a value is not sampled while it stays.

    Parameters
    ----------
    counter
        Whether what is sampled counts up, and its rate is shown.
    """

    def __init__(self, *, counter: bool) -> None:
        self.width = 2 * BIN
        self._counter = counter
        self._values = np.zeros(0)
        self._length = 0
        self._times, self._samples = np.zeros(0), np.zeros(0)
        """Those from the last one before the cell that is not complete."""
        self._first: float | None = None

    @property
    def newest(self) -> float | None:
        """The last sample, as it was taken."""
        return float(self._samples[-1]) if len(self._samples) else None

    @property
    def grown(self) -> float:
        """By how much a counter has grown since its first sample."""
        return 0.0 if self.newest is None or self._first is None else self.newest - self._first

    def add(self, times: Floats, values: Floats) -> None:
        """Take samples, in order of time."""
        known = np.isfinite(times) & np.isfinite(values)
        if not known.any():
            return
        self._times = np.concatenate([self._times, times[known]])
        self._samples = np.concatenate([self._samples, values[known]])
        self._first = float(self._samples[0]) if self._first is None else self._first
        while self._times[-1] >= self.width * MOST_BINS:
            self._coarsen()
        self._complete(max(self._length, int(self._times[-1] / self.width)))
        begun = max(0, int(np.searchsorted(self._times, self._length * self.width, side="right")) - 1)
        self._times, self._samples = self._times[begun:], self._samples[begun:]

    def _complete(self, upto: int) -> None:
        """Fill the cells that no later sample changes."""
        if upto == self._length:
            return
        at = np.interp(np.arange(self._length, upto + 1) * self.width, self._times, self._samples)
        self._values = room(self._values, upto)
        self._values[self._length : upto] = np.diff(at) / self.width if self._counter else (at[1:] + at[:-1]) / 2
        self._length = upto

    def _coarsen(self) -> None:
        self.width *= 2
        self._length -= self._length % 2
        self._values = self._values[: self._length].reshape(-1, 2).mean(axis=1)
        self._length = len(self._values)

    def until(self, time: float) -> Floats:
        """Values of all cells until a time; what was not sampled again stays, and a counter stands still.

        Of a counter whose last sample is young that is not known yet: its cells end there.
        """
        cells = max(0, int(time / self.width))
        held = self._values[: self._length][:cells]
        if not len(held) or len(held) == cells or (self._counter and cells - len(held) <= YOUNG):
            return held
        return np.concatenate([held, np.full(cells - len(held), 0.0 if self._counter else held[-1])])


def envelope(times: Floats, values: Floats, start: float, end: float, columns: int) -> tuple[Floats, Floats]:
    """A series as a screen shows it: of each of ``columns`` the least and the greatest value, at two times of its own.

    Nothing that stands out is lost, however long the series. A column with one value has that twice. NaN marks a gap. All series
    of the same times come out at the same times.
    """
    inside = (times >= start) & (times <= end)
    times, values = times[inside], values[inside]
    if len(times) <= 2 * columns or end <= start:
        return times, values
    at = np.minimum(((times - start) / (end - start) * columns).astype(np.int64), columns - 1)
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    low = np.fmin.reduceat(values, starts)
    high = np.fmax.reduceat(values, starts)
    rising = values[starts] <= values[np.append(starts[1:], len(values)) - 1]
    cell = (end - start) / columns
    left = start + (at[starts] + 0.25) * cell
    pairs = np.stack([np.where(rising, low, high), np.where(rising, high, low)], axis=1)
    return np.stack([left, left + cell / 2], axis=1).ravel(), pairs.ravel()
