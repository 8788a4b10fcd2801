"""When samples arrive: processes as endless iterators of the seconds between one sample and the next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from estran.errors import DataError
from estran.learning.mistakes import SettingsError, check_known
from estran.learning.tables import read_columns
from estran.units import Duration, Fraction

ArrivalKind: TypeAlias = Literal["fixed", "poisson", "bursty", "diurnal", "replay"]


@dataclass(frozen=True)
class Arrivals:
    """An arrival process. All but a replay have the source's rate as their mean.

    Attributes
    ----------
    kind
        ``fixed``: evenly, from a random phase on. ``poisson``: independently. ``bursty``: a two-state Markov-modulated Poisson
        process. ``diurnal``: a Poisson process whose rate swings like a sine, lowest at the start. ``replay``: as a
        trace file has it, then the end.
    on, off
        Bursty: mean durations of a burst and of a pause, exponentially distributed.
    quiet
        Bursty: rate in a pause as a fraction of that in a burst.
    period, swing
        Diurnal: length of a day, and by which fraction of the mean the rate swings up and down.
    file, column
        Replay: a CSV, TSV, Parquet or NPZ file and its column of arrival times in seconds, ascending.
    speed
        Replay: how many times faster than recorded.

    References
    ----------
    Fischer, Meier-Hellstern, *The Markov-modulated Poisson process (MMPP) cookbook*, Performance Evaluation 18, 1993.
    Lewis, Shedler, *Simulation of nonhomogeneous Poisson processes by thinning*, Naval Research Logistics 26, 1979.
    """

    kind: ArrivalKind = "fixed"
    on: Duration = 1.0
    off: Duration = 1.0
    quiet: Fraction = 0.0
    period: Duration = 60.0
    swing: Fraction = 0.8
    file: str | None = None
    column: str = "time"
    speed: float = 1.0

    def __post_init__(self) -> None:
        if self.kind == "replay" and self.file is None:
            raise SettingsError("a replay needs a trace", where="arrivals", remedy="write {kind: replay, file: trace.csv}")
        if not (self.on > 0 and self.period > 0 and 0 < self.speed < math.inf):
            raise SettingsError("on, period and speed are more than zero", where="arrivals", remedy="give positive ones")


def arrival_process(choice: ArrivalKind | Arrivals) -> Arrivals:
    """Read a short form.

    Raises
    ------
    SettingsError
        If the name alone does not say enough.
    """
    return choice if isinstance(choice, Arrivals) else Arrivals(choice)


def gaps(wanted: Arrivals, rate: float | None, rng: np.random.Generator, folder: str | Path = ".") -> Iterator[float]:
    """Seconds from each arrival to the next; the first is counted from the start.

    Parameters
    ----------
    rate
        Mean arrivals per second; None for as fast as possible, which only ``fixed`` and ``replay`` (it has its own) can be.
    folder
        Where a trace's relative path starts.

    Raises
    ------
    SettingsError
        If a process is to have a random rate but has no mean.
    DataError
        If a trace is missing or not in ascending order.
    """
    if wanted.kind == "replay":
        return _replayed(wanted, Path(folder))
    if wanted.kind == "fixed":
        # Replicas that start together do not fire together.
        return chain([rng.random() / rate], repeat(1 / rate)) if rate else repeat(0.0)
    if not rate:
        raise SettingsError(f"{wanted.kind} arrivals need a rate", where="arrivals", remedy="write rate: 50/s")
    processes = {"poisson": _poisson, "bursty": _bursty, "diurnal": _diurnal}
    return processes[wanted.kind](wanted, rate, rng)


def _poisson(wanted: Arrivals, rate: float, rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield rng.exponential(1 / rate)


def _bursty(wanted: Arrivals, rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Exponential waits forget their past, so one that outlasts its state is drawn anew in the next."""
    burst = rate * (wanted.on + wanted.off) / (wanted.on + wanted.quiet * wanted.off)
    states = ((burst, wanted.on), (burst * wanted.quiet, wanted.off))
    # A stationary start: bursts and pauses are found as often as they last.
    current = int(rng.random() >= wanted.on / (wanted.on + wanted.off))
    left, waited = rng.exponential(states[current][1]), 0.0
    while True:
        pace = states[current][0]
        gap = rng.exponential(1 / pace) if pace > 0 else math.inf
        if gap < left:
            left -= gap
            yield waited + gap
            waited = 0.0
        else:
            waited += left
            current = 1 - current
            left = rng.exponential(states[current][1])


def _diurnal(wanted: Arrivals, rate: float, rng: np.random.Generator) -> Iterator[float]:
    """By thinning: arrivals at the highest rate, each kept with the probability that the moment's rate has."""
    top = rate * (1 + wanted.swing)
    now = last = 0.0
    while True:
        now += rng.exponential(1 / top)
        moment = rate * (1 - wanted.swing * math.cos(2 * math.pi * now / wanted.period))
        if rng.random() * top < moment:
            yield now - last
            last = now


def _replayed(wanted: Arrivals, folder: Path) -> Iterator[float]:
    assert wanted.file is not None
    path = folder / wanted.file
    columns = read_columns(path)
    check_known(wanted.column, columns, kind="column", where=str(path))
    times = columns[wanted.column]
    if times.dtype.kind not in "iuf" or times.ndim != 1 or not len(times) or not np.isfinite(times).all():
        raise DataError(f"column {wanted.column!r} is not a list of times", where=str(path), remedy="give seconds as numbers")
    steps = np.diff(times.astype(np.float64), prepend=float(times[0])) / wanted.speed
    if (steps < 0).any():
        row = int(np.argmax(steps < 0))
        raise DataError(f"the time in row {row + 1} is before the one above it", where=str(path), remedy="sort the trace by time")
    return iter(steps.tolist())
