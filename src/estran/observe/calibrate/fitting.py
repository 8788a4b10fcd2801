"""The arithmetic of calibration: costs that are never negative, and distributions that keep their mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from estran.observe.stories import Floats
from estran.spec.costs import FIXED, FREE, Cost, Spread

LEVELS: Final = 101
"""Quantiles that a spread is kept as, so that the 99th percentile is one of them."""
_ROUNDS: Final = 4
_LEAST: Final = 1e-9


def non_negative(columns: Floats, values: Floats) -> Floats:
    """Least squares with coefficients of at least 0, exactly, by trying every subset of columns.

    Parameters
    ----------
    columns
        Shape (n, k) with a small k.
    values
        Shape (n,).

    Returns
    -------
    ndarray
        Shape (k,). The smallest subset wins a tie; without any better one all are 0.
    """
    width = columns.shape[1]
    best, least = np.zeros(width), float(values @ values)
    for size in range(1, width + 1):
        for subset in map(list, combinations(range(width), size)):
            found = np.linalg.lstsq(columns[:, subset], values, rcond=None)[0]
            left = values - columns[:, subset] @ found
            if (found >= 0).all() and float(left @ left) < least * (1 - 1e-12):
                best, least = np.zeros(width), float(left @ left)
                best[subset] = found
    return best


def condition(columns: Floats) -> float:
    """How hard columns are to tell apart: 1 if they are orthogonal, infinite if one is a sum of others."""
    norms = np.linalg.norm(columns, axis=0)
    if not len(norms) or not norms.all():
        return float("inf")
    singular = np.linalg.svd(columns / norms, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")


def cost(sizes: ArrayLike, values: ArrayLike) -> Cost:
    """Fit ``time + each · size`` to what was observed, with the spread around it.

    Errors are weighted as shares of the fitted value (what takes ten times as long varies ten times as much), so a few slow
    calls of large size do not outvote many of small size. One size alone cannot tell ``time`` from ``each``: size 1 counts as
    ``time``, any other as ``each``. Outliers stay in: they are part of the distribution.

    Parameters
    ----------
    sizes, values
        Shape (n,); free of cost without any.
    """
    size, value = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not len(value) or not value.any():
        return FREE
    if len(np.unique(size)) == 1:
        time, each = (float(value.mean()), 0.0) if size[0] == 1 else (0.0, float(value.mean() / max(size[0], 1.0)))
    else:
        time, each = _line(size, value)
    fitted = np.maximum(time + each * size, _LEAST)
    # The mean of all is kept exactly, whatever the weights made of it.
    scale = float(value.sum() / fitted.sum())
    return Cost(time * scale, each * scale, spread(value / (fitted * scale)))


def _line(size: Floats, value: Floats) -> tuple[float, float]:
    columns = np.column_stack([np.ones_like(size), size])
    weight = np.ones_like(size)
    for _ in range(_ROUNDS):
        time, each = non_negative(columns * weight[:, None], value * weight).tolist()
        weight = 1 / np.maximum(time + each * size, _LEAST)
    return time, each


def spread(values: ArrayLike, levels: int = LEVELS) -> Spread:
    """The distribution of values over their mean, as quantiles at even levels whose piecewise linear inverse has mean 1.

    Between two levels the inverse is straight, which would give a single outlier the weight of a whole step. So the two outermost
    quantiles are placed where the outermost steps keep *their* mean.
    """
    ordered = np.sort(np.maximum(np.asarray(values, dtype=np.float64), 0.0))
    if len(ordered) < 2 or ordered[-1] - ordered[0] <= 1e-12 * ordered[-1]:
        return FIXED
    grid = np.linspace(0, 1, levels)
    quantiles = np.quantile(ordered, grid)
    below = np.interp(grid * len(ordered), np.arange(len(ordered) + 1), np.concatenate(([0.0], np.cumsum(ordered))))
    means = np.diff(below) * (levels - 1) / len(ordered)
    quantiles[0] = np.clip(2 * means[0] - quantiles[1], 0.0, quantiles[1])
    quantiles[-1] = max(2 * means[-1] - quantiles[-2], quantiles[-2])
    mean = float((quantiles[1:] + quantiles[:-1]).mean() / 2)
    return Spread("observed", quantiles=tuple((quantiles / mean).tolist()))


def mixture(parts: Sequence[tuple[float, Sequence[float]]], count: int = 2000) -> Floats:
    """Values that stand for a mixture of distributions, each given by its weight and its quantiles at even levels."""
    total = sum(weight for weight, _ in parts)
    drawn = []
    for weight, quantiles in parts:
        share = max(1, round(count * weight / total))
        drawn.append(np.interp((np.arange(share) + 0.5) / share, np.linspace(0, 1, len(quantiles)), quantiles))
    return np.concatenate(drawn)
