"""95 % confidence intervals for what one run measured, where neighbouring observations are not independent.

All of them rest on *batch means*: the observations, in order of time, are cut into equal batches, and the spread of the batch
means tells how far the whole mean may be off. Batches that are long against the memory of the process are nearly independent.
We start from 30 batches (more gain little: Schmeiser 1982, Oper. Res. 30) and merge them while their lag-1 autocorrelation is
significant, down to 10. What remains then is allowed for by widening as for a first-order autoregression, and said in the note.
A series that drifts through the whole window so gets an interval some times as wide as the drift: enough to see that a bound
is far away, and no more; the note says that it was not steady.

A learning system has a trend (its accuracy rises), which is no error of measurement. For such series the spread is taken from
differences between neighbouring batches (von Neumann 1941), which a slow trend barely enters.

Proportions get Wilson's interval with the effective number of observations, and never one narrower than independent observations
would give; quantiles get the interval between the two order statistics that the interval of their own level points at
(Woodruff 1952). Where the observations are correlated for too long, that interval of a level is too uncertain, or has no end: then
ten parts of the series each give their quantile, whose spread counts (*sectioning*: Asmussen & Glynn, Stochastic Simulation, 2007,
III.5a), if there are some observations on either side of it in each; of the two intervals the union is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

LEVEL: Final = 0.95
_BATCHES: Final = (30, 20, 14, 10)
_UNSTEADY: Final = 0.5  # lag-1 autocorrelation of ten batch means: a straight drift has 0.7
_BEYOND: Final = 1  # observations on either side of a quantile that a part must have to have such a quantile of its own
_ROUNDING: Final = 1e-9  # differences that are smaller are left by sums and subtractions of times, and vary with nothing
_Z: Final = NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its spread.

    Attributes
    ----------
    n
        Observations that it rests on.
    ci95
        Bounds of the 95 % confidence interval, or None where too little was observed to tell.
    note
        How the interval was made, or why there is none.
    """

    value: float
    n: int
    ci95: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Spread:
    """Standard error of a ratio of sums, with its degrees of freedom; no error where it cannot be told."""

    error: float | None
    freedom: float
    note: str
    correlated: bool = False


def student(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t (Abramowitz & Stegun 26.7.5; within 0.1 % from 6 degrees of freedom).

    Examples
    --------
    >>> round(student(9), 2), round(student(1e9), 2)
    (2.26, 1.96)
    """
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def possible(bounds: tuple[float, float], value: float, unit: str) -> tuple[float, float]:
    """Bounds of an interval of a mean, of which those of a share are no less than 0 and no more than 1.

    Examples
    --------
    >>> possible((0.93, 1.05), 0.99, "fraction"), possible((0.93, 1.05), 0.99, "s")
    ((0.93, 1.0), (0.93, 1.05))
    """
    if unit != "fraction":
        return bounds
    return max(bounds[0], min(0.0, value)), min(bounds[1], max(1.0, value))


def mean(values: ArrayLike, *, trend: bool = False) -> Estimate:
    """Mean of a series in order of time.

    Parameters
    ----------
    values
        Shape (n,), n >= 1.
    trend
        Whether a slow trend is expected, and no error.
    """
    series = np.asarray(values, dtype=np.float64)
    return ratio(series, np.ones_like(series), trend=trend)


def ratio(numerators: ArrayLike, denominators: ArrayLike, *, trend: bool = False) -> Estimate:
    """Sum of one series over the sum of another, both in order of time: a rate, or a share that is weighted.

    Raises
    ------
    ValueError
        If the denominators do not sum to something positive.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if not below.sum() > 0:
        raise ValueError("a ratio needs a positive denominator")
    value, n = float(above.sum() / below.sum()), len(above)
    spread = _spread(above, below, trend=trend)
    if spread.error is None:
        return Estimate(value, n, None, spread.note)
    half = student(spread.freedom) * spread.error
    low = value - half if above.min() < 0 else max(0.0, value - half)  # what is never negative has no negative mean
    return Estimate(value, n, (low, value + half), spread.note)


def proportion(hits: ArrayLike, *, trend: bool = False) -> Estimate:
    """Share of ones among zeros and ones in order of time."""
    series = np.asarray(hits, dtype=np.float64)
    return share(series, np.ones_like(series), trend=trend)


def share(hits: ArrayLike, trials: ArrayLike, *, trend: bool = False) -> Estimate:
    """Share of hits among trials, counted in groups in order of time; ``n`` is the number of trials.

    Raises
    ------
    ValueError
        If there were no trials.
    """
    above, below = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if not below.sum() > 0:
        raise ValueError("a share needs trials")
    n, p = int(below.sum()), float(above.sum() / below.sum())
    spread = _spread(above, below, trend=trend)
    if spread.error is None:
        return Estimate(p, n, None, spread.note)
    effective = min(float(n), p * (1 - p) / spread.error**2) if spread.error > 0 else float(n)
    return Estimate(p, n, _wilson(p, effective, student(spread.freedom)), f"{spread.note}; Wilson, effective n {effective:.0f}")


def quantile(values: ArrayLike, level: float) -> Estimate:
    """Quantile of a series in order of time.

    Parameters
    ----------
    level
        Between 0 and 1.
    """
    series = np.asarray(values, dtype=np.float64)
    n, value = len(series), float(np.quantile(series, level))
    spread = _spread((series <= value + _ROUNDING * abs(value)).astype(np.float64), np.ones(n))
    if spread.error is None:
        return Estimate(value, n, None, spread.note)
    half = student(spread.freedom) * max(spread.error, math.sqrt(level * (1 - level) / n))
    low, high = level - half, level + half
    found, notes = [], [spread.note]
    if low > 0 and high < 1:
        found.append(np.array([np.quantile(series, low, method="lower"), np.quantile(series, high, method="higher")]))
        notes.append("order statistics")
    if (spread.correlated or not found) and n * min(level, 1 - level) >= _BEYOND * _BATCHES[-1]:
        parts = _sections(series, level, value)
        found.append(np.array([value - parts, value + parts]))
        notes.append(f"spread of the quantiles of {_BATCHES[-1]} parts")
    if not found:
        return Estimate(value, n, None, f"{n} observations do not bound the {level:.0%} quantile")
    least = min(float(bounds[0]) for bounds in found)
    bounds = (least if series.min() < 0 else max(0.0, least), max(float(bounds[1]) for bounds in found))
    return Estimate(value, n, bounds, "; ".join(notes))


def _sections(series: Floats, level: float, value: float) -> float:
    """How far a quantile may be off by what it is in ten parts of the series."""
    own = np.array([np.quantile(part, level) for part in np.array_split(series, _BATCHES[-1])])
    off = own - value
    off[np.abs(off) <= _ROUNDING * abs(value)] = 0.0
    lag = _lag_one(own - own.mean()) if off.any() else 0.0
    count = len(own)
    return student(count - 1) * math.sqrt(_inner(off, off) / count / (count - 1)) * _widening(lag, count)


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (max(0.0, centre - half) if p > 0 else 0.0), (min(1.0, centre + half) if p < 1 else 1.0)


def _spread(above: Floats, below: Floats, *, trend: bool = False) -> _Spread:
    """Standard error of ``above.sum() / below.sum()``."""
    if len(above) < _BATCHES[-1]:
        return _Spread(None, 0, f"{len(above)} observations are too few for an interval")
    return _spread_with_trend(above, below) if trend else _spread_without(above, below)


def _spread_without(above: Floats, below: Floats) -> _Spread:
    for count in (count for count in _BATCHES if count <= len(above)):
        residuals = _residuals(above, below, count)
        lag = _lag_one(residuals)
        correlated = _significant(lag, count)
        if not correlated:
            break
    steady = not correlated or lag <= _UNSTEADY
    note = f"{count} batch means, lag-1 autocorrelation {lag:.2f}" + (", widened for it" if correlated else "")
    error = math.sqrt(count / (count - 1) * _inner(residuals, residuals)) * _widening(lag, count) / float(below.sum())
    return _Spread(error, count - 1, note if steady else f"the series is not steady over the window; {note}", correlated)


def _significant(lag: float, count: int) -> bool:
    return lag > 1.28 / math.sqrt(count)


def _widening(lag: float, count: int) -> float:
    """By what the error of a mean of batches grows that depend on each other as a first-order autoregression."""
    rho = min(max(lag + 1 / count, 0.0), 0.95)  # the estimate is low by about 1 / count
    return math.sqrt((1 + rho) / (1 - rho))


def _spread_with_trend(above: Floats, below: Floats) -> _Spread:
    count = min(20, len(above))
    residuals = _residuals(above, below, count)
    near, far = np.diff(residuals), residuals[2:] - residuals[:-2]
    variance = max(_inner(near, near) / (2 * (count - 1)), _inner(far, far) / (2 * (count - 2)))
    error = math.sqrt(count * variance) / float(below.sum())
    return _Spread(error, 2 * (count - 1) / 3, f"differences of {count} batch means, so that a slow trend is no error")


def _residuals(above: Floats, below: Floats, count: int) -> Floats:
    """By how much each of ``count`` batches exceeds its share; they sum to zero."""
    edges = np.linspace(0, len(above), count + 1).astype(np.intp)[:-1]
    residuals: Floats = np.add.reduceat(above, edges) - above.sum() / below.sum() * np.add.reduceat(below, edges)
    residuals[np.abs(residuals) <= _ROUNDING * np.add.reduceat(np.abs(above), edges)] = 0.0
    return residuals


def _lag_one(residuals: Floats) -> float:
    power = _inner(residuals, residuals)
    return _inner(residuals[1:], residuals[:-1]) / power if power > 0 else 0.0


def _inner(first: Floats, second: Floats) -> float:
    """Inner product, to the same bit on every machine: a library for linear algebra adds in an order that suits the processor."""
    return math.fsum((first * second).tolist())
