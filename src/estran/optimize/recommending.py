"""Which point is recommended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from estran.optimize.goals import Goals
from estran.optimize.standing import Standing

SURE: Final = 0.5
"""Least probability to keep all limits."""


def recommended(found: Mapping[int, Standing], goals: Goals) -> Standing | None:
    """The point to use; None if no point is likely to keep all limits.

    With one goal it is the best mean. Of a front it is the point nearest to the ideal that has the best of each goal, with every
    goal scaled to its range over all points (compromise programming: Zeleny, *Multiple criteria decision making*, 1982), among
    those that are not worse than the default in any goal by more than their intervals together, if there are any.
    """
    front = [one for one in found.values() if one.on_front and one.feasible >= SURE]
    if not front:
        kept = [one for one in found.values() if one.feasible >= SURE]
        front = kept if goals.single else []
    if not front:
        return None
    if 0 in found:
        front = [one for one in front if not_worse(one, found[0], goals)] or front
    costs = np.array([_costs(one, goals) for one in front])
    low, reach = costs.min(axis=0), np.ptp([_costs(one, goals) for one in found.values()], axis=0)
    apart = np.linalg.norm((costs - low) / np.where(reach > 0, reach, 1.0), axis=1)
    return front[int(apart.argmin())]


def not_worse(one: Standing, other: Standing, goals: Goals) -> bool:
    """Whether no goal is worse at one point than at another by more than both intervals allow."""
    apart = _costs(one, goals) - _costs(other, goals)
    return bool((apart <= np.hypot(_halves(one), _halves(other))).all())


def how(goals: Goals, *, better: bool) -> str:
    """How `recommended` chooses, in words; ``better`` if it is not worse than the default."""
    if goals.single:
        return "the best mean among points that keep all limits" if goals.limits else "the best mean"
    among = "the points of the front that are in no goal told to be worse than the default" if better else "the points of the front"
    return f"nearest to the best of every goal among {among}, each goal scaled to its range over all points"


def _costs(one: Standing, goals: Goals) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([goal.cost(mean) for goal, mean in zip(goals.goals, one.means, strict=True)])


def _halves(one: Standing) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Half the width of each goal's interval; 0 where nothing is known of the noise."""
    return np.array([0.0 if interval is None else (interval[1] - interval[0]) / 2 for interval in one.ci95])
