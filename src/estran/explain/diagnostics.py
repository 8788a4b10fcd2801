"""Whether a model's residuals are what its tests take them to be; outliers, and drift while the study ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.explain.model import Fit, Matrix

SUSPICIOUS: Final = 0.01
"""A test of an assumption must be as sure as this to be believed."""
MOST_TESTED: Final = 5000
"""Shapiro and Wilk's p-values are not for larger samples."""


@dataclass(frozen=True)
class Diagnosis:
    """What residuals look like.

    Attributes
    ----------
    normal
        Whether they may be normal (Shapiro, Wilk 1965).
    unequal
        The factor whose levels differ most clearly in spread (Brown, Forsythe 1974), if any does.
    outliers
        Runs whose residual is too large for their number (studentised, Bonferroni at 5 %).
    drift
        None, or the run after which responses were different, all effects apart, and by how much.
    """

    normal: bool
    unequal: str | None
    outliers: tuple[int, ...]
    drift: tuple[int, float] | None


def diagnose(fitted: Fit, codes: Mapping[str, NDArray[np.int64]], runs: NDArray[np.int64]) -> Diagnosis:
    """Look at a fit's residuals.

    Parameters
    ----------
    codes
        Level of each factor in each row.
    runs
        Number of each row's run, in the order in which they were made.
    """
    scaled = studentised(fitted)
    return Diagnosis(_is_normal(scaled), _unequal(fitted.residuals, codes), _outliers(scaled, fitted, runs), _drift(fitted, runs))


def studentised(fitted: Fit) -> Matrix:
    """Internally studentised residuals; 0 where a row is fitted exactly."""
    scale = np.sqrt(fitted.variance * np.maximum(1 - fitted.leverage, 1e-12))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.where(fitted.leverage > 1 - 1e-9, 0.0, fitted.residuals / scale), posinf=0.0, neginf=0.0)


def _is_normal(studentised: Matrix) -> bool:
    from scipy.stats import shapiro

    if len(studentised) < 8 or np.ptp(studentised) == 0 or len(studentised) > MOST_TESTED:
        return len(studentised) <= MOST_TESTED or abs(float((studentised**4).mean()) / 3 - 1) < 1
    return bool(shapiro(studentised).pvalue >= SUSPICIOUS)


def _unequal(residuals: Matrix, codes: Mapping[str, NDArray[np.int64]]) -> str | None:
    from scipy.stats import levene

    worst: tuple[float, str] | None = None
    for name, code in codes.items():
        groups = [residuals[code == number] for number in np.unique(code)]
        if min(map(len, groups)) < 3 or max(map(np.ptp, groups)) == 0:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            p = float(levene(*groups, center="median").pvalue)
        if p < SUSPICIOUS / len(codes) and (worst is None or p < worst[0]):
            worst = p, name
    return None if worst is None else worst[1]


def _outliers(studentised: Matrix, fitted: Fit, runs: NDArray[np.int64]) -> tuple[int, ...]:
    from scipy.stats import t

    n, freedom = len(studentised), fitted.freedom
    if freedom < 3:
        return ()
    squared = np.minimum(studentised**2, freedom - 1e-9)
    external = np.abs(studentised) * np.sqrt((freedom - 1) / (freedom - squared))
    return tuple(int(run) for run in runs[external > t.ppf(1 - 0.025 / n, freedom - 1)])


def _drift(fitted: Fit, runs: NDArray[np.int64]) -> tuple[int, float] | None:
    """The largest jump of the residuals' mean over the order of runs, if a CUSUM as large is rare among orders drawn at random.

    Its distribution is that of a Brownian bridge's maximum (Kolmogorov): P(max > c) ≈ 2 Σ (−1)ᵏ⁻¹ exp(−2k²c²).
    """
    residuals, n = fitted.residuals, len(runs)
    spread = float(residuals.std())
    if n < 12 or spread == 0:
        return None
    sums = np.cumsum(residuals - residuals.mean())[:-1] / (spread * np.sqrt(n))
    at = int(np.abs(sums).argmax())
    height = float(abs(sums[at]))
    k = np.arange(1, 20)
    p = float(2 * ((-1.0) ** (k - 1) * np.exp(-2 * k**2 * height**2)).sum())
    if p >= SUSPICIOUS:
        return None
    return int(runs[at]), float(residuals[at + 1 :].mean() - residuals[: at + 1].mean())
