"""Whether a prediction holds: the error of paired replicates, its 95 % confidence interval, and the verdict.

Both sides run with the same seeds, so that the same samples come at the same times in both (common random numbers), and what the
two members of a pair have in common cancels. The relative error is a ratio of two means. Its interval is Fieller's (1954, J. R.
Stat. Soc. B 16), which is exact for normal errors and says so when the denominator cannot be told from 0: then there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from estran.observe.intervals import student
from estran.observe.stories import Floats

Verdict = Literal["valid", "invalid", "cannot tell"]
Bounds = tuple[float, float]

_SMALL: Final = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706)
"""Two-sided 95 % quantiles of Student's t for 1 to 5 degrees of freedom, where the expansion that `student` uses is not exact."""


@dataclass(frozen=True, slots=True)
class Error:
    """How far a prediction is off.

    Attributes
    ----------
    relative
        (mean simulated - mean emulated) / mean emulated; None where the denominator is 0.
    relative_ci95
        Fieller's interval; None with fewer than two pairs, or where the denominator cannot be told from 0.
    absolute, absolute_ci95
        Mean of simulated - emulated, and its paired interval.
    """

    n: int
    relative: float | None
    relative_ci95: Bounds | None
    absolute: float
    absolute_ci95: Bounds | None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far off a prediction may be to be called valid.

    Attributes
    ----------
    relative
        Share of the emulated value; None if only ``absolute`` counts.
    absolute
        A difference that is no difference, in the response's unit: what cannot be resolved, or what was promised.
    """

    relative: float | None
    absolute: float


def t_quantile(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t.

    Examples
    --------
    >>> t_quantile(4), round(t_quantile(9), 2)
    (2.7764, 2.26)
    """
    return _SMALL[freedom - 1] if freedom <= len(_SMALL) else student(freedom)


def error(simulated: Sequence[float], emulated: Sequence[float]) -> Error:
    """Error of predictions against what they predict, in pairs.

    Parameters
    ----------
    simulated, emulated
        One value for each seed, at least one, in the same order.
    """
    s, e = np.asarray(simulated, dtype=np.float64), np.asarray(emulated, dtype=np.float64)
    n, bottom = len(s), float(e.mean())
    absolute = float((s - e).mean())
    relative = absolute / bottom if bottom != 0 else None
    if n < 2:
        return Error(n, relative, None, absolute, None)
    half = t_quantile(n - 1) * float((s - e).std(ddof=1)) / math.sqrt(n)
    return Error(n, relative, _fieller(s, e), absolute, (absolute - half, absolute + half))


def _fieller(s: Floats, e: Floats) -> Bounds | None:
    """Interval of mean(s) / mean(e) - 1."""
    found = fieller((float(s.mean()), float(e.mean())), np.cov(s, e) / len(s), t_quantile(len(s) - 1))
    return None if found is None else (found[0] - 1, found[1] - 1)


def fieller(means: Bounds, covariance: Floats, quantile: float) -> Bounds | None:
    """Interval of the ratio of two means: all ratios r for which top - r bottom is not told from 0.

    Parameters
    ----------
    means
        Top and bottom.
    covariance
        Of the two means, shape (2, 2).
    quantile
        Two-sided, of Student's t or the normal distribution.

    Returns
    -------
    tuple or None
        None where the bottom cannot be told from 0.
    """
    (top, bottom), squared = means, quantile**2
    (tt, tb), (_, bb) = covariance
    a = bottom**2 - squared * bb
    b = top * bottom - squared * tb
    c = top**2 - squared * tt
    if a <= 0:
        return None
    root = math.sqrt(max(b * b - a * c, 0.0))
    return float((b - root) / a), float((b + root) / a)


def judge(found: Error, tolerance: Tolerance) -> Verdict:
    """The verdict: *valid* if an interval lies within what is tolerated, *invalid* if both lie outside, else *cannot tell*."""
    relative = None if tolerance.relative is None else found.relative_ci95
    if _within(relative, tolerance.relative) or _within(found.absolute_ci95, tolerance.absolute):
        return "valid"
    outside = _outside(found.absolute_ci95, tolerance.absolute)
    if outside and (tolerance.relative is None or _outside(relative, tolerance.relative)):
        return "invalid"
    return "cannot tell"


def _within(bounds: Bounds | None, margin: float | None) -> bool:
    return bounds is not None and margin is not None and -margin <= bounds[0] and bounds[1] <= margin


def _outside(bounds: Bounds | None, margin: float | None) -> bool:
    return bounds is not None and margin is not None and (bounds[0] > margin or bounds[1] < -margin)
