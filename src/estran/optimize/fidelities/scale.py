"""The scale that a response is modelled on: its logarithm where that is less lopsided, less its mean, by its spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.optimize.fidelities.cokriging import Rungs
from estran.optimize.fidelities.gaussian import Array

WIDE: Final = 4.0
"""Greatest value by the least from which a logarithm is thought of."""
_FLAT: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Scale:
    """To and from what a Gaussian process models; the same for all fidelities, so that what they share stays comparable."""

    logarithmic: bool
    centre: float
    spread: float

    @classmethod
    def of(cls, y: Array, rungs: Rungs) -> Scale:
        """The scale for values, shape (n,), at rungs of the ladder, (n,).

        The centre is that of the rung with most values, the spread that of the rung that varies most.
        """
        logarithmic = _is_lopsided(y)
        values = np.log(y) if logarithmic else y
        groups = [values[rungs == rung] for rung in np.unique(rungs)]
        centre = float(max(groups, key=len).mean()) if groups else 0.0
        spread = max((float(group.std()) for group in groups if len(group) > 2), default=float(np.std(values)) if len(y) else 1.0)
        return cls(logarithmic, centre, spread if spread > _FLAT * max(1.0, abs(centre)) else 1.0)

    def to(self, y: Array) -> Array:
        """From values of the response."""
        values = np.log(np.maximum(y, np.finfo(np.float64).tiny)) if self.logarithmic else y
        return np.asarray((values - self.centre) / self.spread)

    def back(self, z: Array) -> Array:
        """To values of the response."""
        values = z * self.spread + self.centre
        return np.exp(np.clip(values, -700.0, 700.0)) if self.logarithmic else np.asarray(values)


def flat(y: Array) -> bool:
    """Whether values are all the same but for rounding."""
    return bool(np.ptp(y) <= _FLAT * max(1e-300, float(np.abs(y).max()))) if len(y) else True


def _is_lopsided(y: Array) -> bool:
    if len(y) < 4 or y.min() <= 0 or y.max() < WIDE * y.min():
        return False
    return abs(_skewness(np.log(y))) < abs(_skewness(y))


def _skewness(y: Array) -> float:
    away = y - y.mean()
    return float((away**3).mean() / max(float((away**2).mean()) ** 1.5, 1e-300))
