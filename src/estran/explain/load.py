"""How the use of a resource follows a numeric factor, and where on it the resource saturates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.explain.table import Table
from estran.study.factors import Factor
from estran.study.rows import level

FULL: Final = 0.95
_STRAIGHT: Final = 0.9
"""Least r² at which use is said to follow a line."""


@dataclass(frozen=True)
class Trend:
    """Use along a numeric factor, all others averaged over.

    Attributes
    ----------
    low, high
        The least and the greatest level that were measured.
    per_step
        Change of utilisation from the one to the other, by the line through the levels below saturation.
    knee
        The least level (greatest, where use falls) at which it was saturated; None if it was at none.
    full
        Where the line reaches 100 %, as a multiple of the level of greatest use that was not saturated; None if it never does.
    """

    factor: str
    low: str
    high: str
    per_step: float
    knee: str | None
    full: float | None


def trend(table: Table, factor: Factor, rows: NDArray[np.int64], values: Any) -> Trend | None:
    """Follow a resource's use along a factor; None where it has no order, or use does not follow a line along it."""
    codes = table.codes[factor.name][rows]
    known = np.unique(codes)
    if factor.span is None or len(known) < 2:
        return None
    names = [table.levels[factor.name][code] for code in known]
    sizes = np.array([factor.number(level(name)) for name in names])
    means = np.array([values[codes == code].mean() for code in known])
    order = np.argsort(sizes)
    sizes, means, names = sizes[order], means[order], [names[i] for i in order.tolist()]
    below = means < FULL
    knee = _knee(names, means)
    if below.sum() < 2 or np.ptp(means[below]) < 0.01:
        return None if knee is None or below.all() or not below.any() else Trend(factor.name, names[0], names[-1], 0.0, knee, None)
    slope, start = np.polyfit(sizes[below], means[below], 1)
    if np.corrcoef(sizes[below], means[below])[0, 1] ** 2 < _STRAIGHT:
        return None
    fullest = float(sizes[below][means[below].argmax()])
    full = float((1 - start) / slope / fullest) if fullest > 0 and slope > 0 else None
    return Trend(factor.name, names[0], names[-1], float(slope * np.ptp(sizes)), knee, full)


def _knee(names: list[str], means: Any) -> str | None:
    full = np.flatnonzero(means >= FULL)
    if not len(full):
        return None
    return names[int(full[0] if means[-1] >= means[0] else full[-1])]
