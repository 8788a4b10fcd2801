"""What is run at the highest fidelity because the one below speaks for it, whatever the model of both says."""

from __future__ import annotations

from typing import Final

import numpy as np

from estran.optimize.fidelities.candidates import key
from estran.optimize.fidelities.history import Choice, History
from estran.optimize.fidelities.volume import Gain, reference
from estran.optimize.goals import Goals
from estran.optimize.pareto import hypervolume

LITTLE: Final = 0.01
"""Share of the hypervolume below which a point is not promoted."""


def promoted(history: History, rung: int, told: Goals) -> Choice | None:
    """The point that adds most hypervolume, as measured at a lower rung, to those that were run at the highest.

    Parameters
    ----------
    told
        Goals and limits that the rung measures, and of which it is believed.
    """
    kept = [
        (levels, [goal.cost(values[goal.response]) for goal in told.goals])
        for levels, values in history.complete(rung)
        if all(limit.violation(values[limit.response]) <= 0 for limit in told.limits)
    ]
    if not kept:
        return None
    costs = np.array([cost for _, cost in kept], dtype=np.float64)
    there = {key(levels) for levels in history.at_top()}
    known = np.array([key(levels) in there for levels, _ in kept])
    beyond = reference(costs)
    shares = Gain(costs[known], beyond)(costs) / max(hypervolume(costs, beyond), 1e-300)
    at = int(np.argmax(np.where(known, -np.inf, shares)))
    if known[at] or shares[at] < LITTLE:
        return None
    return Choice(kept[at][0], history.ladder.top, {"what": "promote", "gain": float(f"{shares[at]:.4g}")})
