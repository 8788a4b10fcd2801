"""Which points nothing beats, and how much they beat: Optuna's routines, which it does not export, behind one seam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def on_front(costs: Floats) -> NDArray[np.bool_]:
    """Which rows no other row is as low as in all columns and lower in one; of equal rows, all or none. Shape (rows,)."""
    from optuna.study._multi_objective import _is_pareto_front

    if not len(costs):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(_is_pareto_front(costs, assume_unique_lexsorted=False))


def hypervolume(costs: Floats, reference: Floats) -> float:
    """Volume of what rows are better than, up to a reference point; rows that are worse than it in some column add nothing.

    While, Bradstreet, Barone, *A fast way of calculating exact hypervolumes*, IEEE TEVC 16, 2012.
    """
    from optuna._hypervolume import compute_hypervolume

    inside = costs[(costs <= reference).all(axis=1)] if len(costs) else costs
    return float(compute_hypervolume(inside, reference)) if len(inside) else 0.0
