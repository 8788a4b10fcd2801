"""A covariance S as U·D·Uᵀ, with D diagonal and U upper triangular with ones on its diagonal. Importing it imports numba.

S itself, narrowed by subtracting, loses its positive definiteness to rounding where features differ much in scale or a stream is
long. Its factors cannot: each of D is multiplied by a quotient of positive numbers. This also takes fewer operations.

D lies in ``variances``, and what is above U's diagonal in ``factor``, column after column.

Bierman, *Measurement updating using the U-D factorization*, Automatica 12:375, 1976.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from estran.learning.compiled import compiled
from estran.learning.lanes import sum_in_lanes
from estran.learning.linear.rows import Array
from estran.learning.mlp_kernel import add as add_dense

LEAST: Final = 1e-100
"""No variance falls below this much of what it began with: where a number is too small to be told from zero."""
MOST: Final = 1e12
"""Forgetting lets no variance grow beyond this much of what it began with: a feature that stays zero would take it to infinity."""


def _along(factor: Array, row: Array, parts: Array) -> None:
    """``parts = Uᵀ @ row``."""
    parts[0] = row[0]
    for j in range(1, row.size):
        at = j * (j - 1) // 2
        column = factor[at : at + j]
        total = sum_in_lanes(column, row[:j])
        for i in range(j - j % 16, j):
            total += column[i] * row[i]
        parts[j] = row[j] + total


def _blur(variances: Array, parts: Array, noise: Any) -> Any:
    """Noise plus the variance row·S·row, of a row whose ``parts`` are Uᵀ·row; summed as `_narrow` does."""
    total = noise
    for j in range(parts.size):
        total += variances[j] * parts[j] * parts[j]
    return total


def _spread(variances: Array, factor: Array, parts: Array, gain: Array) -> None:
    """``gain = S @ row``, of a row whose ``parts`` are Uᵀ·row."""
    for j in range(parts.size):
        gain[j] = variances[j] * parts[j]
        at = j * (j - 1) // 2
        add_dense(gain[j], factor[at : at + j], gain[:j])


def _narrow(variances: Array, factor: Array, parts: Array, noise: Any, prior: Any, gain: Array) -> Any:
    """``S⁻¹ += row·rowᵀ / noise``, of a row whose ``parts`` are Uᵀ·row.

    Fills ``gain`` with S·row as S was before, and returns noise plus the variance row·S·row as it was.
    """
    total = noise
    for j in range(parts.size):
        part = parts[j]
        gain[j] = variances[j] * part
        if part == 0.0:
            continue
        before = total
        total += gain[j] * part
        variances[j] = max(variances[j] * (before / total), LEAST * prior)
        back, ahead = -part / before, gain[j]
        at = j * (j - 1) // 2
        column = factor[at : at + j]  # a slice of its own: of indices that cannot be negative numba makes vectors
        for i in range(j):
            was = column[i]
            column[i] = was + gain[i] * back
            gain[i] += was * ahead
    return total


def _forget(variances: Array, factor: Any, prior: Any) -> None:
    """``S /= factor``, but no variance beyond what can be told from infinity."""
    for j in range(variances.size):
        variances[j] = min(variances[j] / factor, MOST * prior)


along: Callable[[Array, Array, Array], None] = compiled(_along, inlined=True)
blur: Callable[[Array, Array, Any], Any] = compiled(_blur, inlined=True)
spread: Callable[[Array, Array, Array, Array], None] = compiled(_spread, inlined=True)
narrow: Callable[[Array, Array, Array, Any, Any, Array], Any] = compiled(_narrow, inlined=True)
forget: Callable[[Array, Any, Any], None] = compiled(_forget, inlined=True)
