"""What the recommended point gains over the default, goal by goal, told by runs with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from estran.optimize.goals import Goals
from estran.optimize.standing import Standing
from estran.optimize.trials import Point
from estran.study.verdicts import Error, error


@dataclass(frozen=True, slots=True)
class Gain:
    """What the recommended point gains in one response over the default.

    Attributes
    ----------
    default, recommended
        Means over the seeds that both were run with.
    difference
        As `estran.study.verdicts.error`: absolute and relative, in pairs of equal seeds.
    better
        Whether the interval of the difference lies on the better side of 0; None where it holds 0, or there is none.
    """

    response: str
    unit: str
    default: float
    recommended: float
    difference: Error
    better: bool | None


def gains_of(default: Standing, best: Standing, target: str, goals: Goals, units: Mapping[str, str]) -> tuple[Gain, ...]:
    """What the best point gains in each goal over the default, in pairs of equal seeds; empty where they share none.

    Parameters
    ----------
    target
        Name of the fidelity that counts.
    units
        Of responses.
    """
    both = [_by_seed(one.point, target) for one in (best, default)]
    seeds = sorted(set(both[0]) & set(both[1]))
    if not seeds:
        return ()
    gains = []
    for k, goal in enumerate(goals.goals):
        mine, theirs = ([goal.cost(side[seed][k]) for seed in seeds] for side in both)
        found = error(mine, theirs)
        if best.exact and default.exact:
            found = _exact(found)
        bounds = found.absolute_ci95
        told = bounds is not None and not bounds[0] <= 0 <= bounds[1]
        better = (found.absolute < 0) == goal.minimize if told else None
        gains.append(Gain(goal.response, units.get(goal.response, ""), float(np.mean(theirs)), float(np.mean(mine)), found, better))
    return tuple(gains)


def _exact(found: Error) -> Error:
    """A difference of runs that replicates are known to repeat."""
    relative = None if found.relative is None else (found.relative, found.relative)
    return replace(found, relative_ci95=relative, absolute_ci95=(found.absolute, found.absolute))


def _by_seed(point: Point, target: str) -> dict[int, tuple[float, ...]]:
    return {
        trial.ask.seed: trial.told.costs for trial in point.at(target) if trial.told is not None and trial.told.costs is not None
    }
