"""What a point would add to the hypervolume that a front dominates. Boxes and volumes are Optuna's."""

from __future__ import annotations

from typing import Final

import numpy as np

from estran.optimize.fidelities.gaussian import Array
from estran.optimize.pareto import on_front

BEYOND: Final = 0.1
"""Share of the front's range by which the reference point lies beyond its worst (Ishibuchi et al. 2018)."""


def reference(costs: Array) -> Array:
    """A point that is somewhat worse in every goal than all of the front of these costs, shape (goals,)."""
    front = costs[on_front(costs)]
    worst, best = front.max(axis=0), front.min(axis=0)
    whole = np.where(worst > best, worst - best, np.ptp(costs, axis=0))
    return np.asarray(worst + BEYOND * np.where(whole > 0, whole, np.maximum(np.abs(worst), 1.0)))


class Gain:
    """By how much points would raise the hypervolume above a front.

    The volume above a front is a sum over boxes that it leaves free, and so is what a point adds to it: Daulton, Balandat and
    Bakshy, *Differentiable expected hypervolume improvement for parallel multi-objective Bayesian optimization*, NeurIPS 2020.

    Parameters
    ----------
    costs
        Of the points that are known, shape (n, goals); n may be 0.
    beyond
        The reference point.
    """

    def __init__(self, costs: Array, beyond: Array) -> None:
        from optuna._hypervolume import get_non_dominated_box_bounds

        within = costs[(costs < beyond).all(axis=1)]
        if not len(within):
            self._low, self._high = np.full((1, len(beyond)), -np.inf), beyond[None]
        elif len(beyond) == 1:
            self._low, self._high = np.full((1, 1), -np.inf), within.min(axis=0)[None]
        else:
            self._low, self._high = get_non_dominated_box_bounds(within, beyond)

    def __call__(self, costs: Array) -> Array:
        """Of each of these costs, shape (..., goals) to (...)."""
        flat = costs.reshape(-1, costs.shape[-1])
        total = np.zeros(len(flat))
        for low, high in zip(self._low, self._high, strict=True):
            total += np.maximum(high - np.maximum(flat, low), 0.0).prod(axis=1)
        return np.asarray(total.reshape(costs.shape[:-1]))
