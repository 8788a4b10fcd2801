"""How points stand against each other under noise: means, intervals, and the chance of each to be feasible and on the front.

A run's responses scatter about its point's mean with a variance that is taken to be the same everywhere and is pooled over all
points with replicates, as in analysis of variance. Given the runs, the mean of a point is then distributed about its average like
Student's t with the pooled degrees of freedom; draws from it say how likely a point is on the front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.optimize.goals import Goals
from estran.optimize.pareto import on_front
from estran.optimize.trials import Point, Trials
from estran.study.verdicts import t_quantile

Floats = NDArray[np.float64]
DRAWS: Final = 400
"""From the distribution of the means."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Spread of single runs about their point's mean.

    Attributes
    ----------
    deviation
        Of each column, shape (columns,).
    freedom
        Degrees of freedom; 0 where no point has replicates, and nothing is known of the spread.
    """

    deviation: Floats
    freedom: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How one point stands.

    Attributes
    ----------
    means, ci95
        Of each goal's response, as it was measured (not its cost). Intervals are of the mean by the pooled spread; None where no
        point has replicates.
    broken
        Mean violation of each limit; 0 or less where it is kept.
    feasible
        Probability that the means keep all limits.
    on_front
        Whether the means keep all limits and no other such point's are as good in all goals and better in one.
    front
        Probability of that.
    """

    point: Point
    runs: int
    means: tuple[float, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    broken: tuple[float, ...]
    feasible: float
    on_front: bool
    front: float


def standings(trials: Trials, fidelity: str, goals: Goals, rng: np.random.Generator) -> dict[int, Standing]:
    """How every point with a finished run at a fidelity stands, by its number.

    Parameters
    ----------
    rng
        Source of draws.
    """
    points = [point for point in trials.points.values() if point.done(fidelity)]
    if not points:
        return {}
    columns = [
        np.hstack([point.costs(fidelity), point.violations(fidelity).reshape(len(point.done(fidelity)), -1)]) for point in points
    ]
    means, runs = np.array([values.mean(axis=0) for values in columns]), np.array([len(values) for values in columns])
    spread = noise(columns)
    count = len(goals.goals)
    feasible, front = _chances(means, runs, spread, count, rng)
    kept = (means[:, count:] <= 0).all(axis=1)
    best = np.zeros(len(points), dtype=np.bool_)
    best[kept] = on_front(means[kept, :count])
    return {
        point.number: Standing(
            point, int(runs[i]),
            tuple(goal.cost(mean) for goal, mean in zip(goals.goals, means[i].tolist(), strict=False)),
            tuple(_interval(goals, k, means[i], int(runs[i]), spread) for k in range(count)),
            tuple(means[i, count:].tolist()), float(feasible[i]), bool(best[i]), float(front[i]),
        )
        for i, point in enumerate(points)
    }  # fmt: skip


def noise(columns: Sequence[Floats]) -> Noise:
    """Pooled spread of runs about their point's mean.

    Parameters
    ----------
    columns
        Of each point, its runs, shape (runs, columns).
    """
    freedom = sum(len(values) - 1 for values in columns)
    squares = np.sum([((values - values.mean(axis=0)) ** 2).sum(axis=0) for values in columns], axis=0)
    return Noise(np.sqrt(squares / max(freedom, 1)), freedom)


def chosen_replicate(found: Mapping[int, Standing], most: int) -> Standing | None:
    """The point whose place is least certain for what another run of it costs; None if no place is in doubt.

    The next run goes where the variance of "it is on the front", p (1 - p), shrinks most for one run more, in the manner of optimal
    computing budget allocation for several objectives (Lee, Chew, Teng, Goldsman, *Finding the non-dominated Pareto set for
    multi-objective simulation models*, IIE Transactions 42, 2010): clear winners and clear losers get no further run.

    Parameters
    ----------
    most
        Runs of a point at the most.
    """
    doubtful = [one for one in found.values() if DOUBT < one.front < 1 - DOUBT and one.runs < most]
    return max(
        doubtful, key=lambda one: (one.front * (1 - one.front) / (one.runs * (one.runs + 1)), -one.point.number), default=None
    )


DOUBT: Final = 0.05
"""Probability below which a point is taken not to be on the front, and above whose complement, to be."""


def _chances(means: Floats, runs: NDArray[np.int64], spread: Noise, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Probability of each point to be feasible, and to be on the front among the feasible."""
    draws = DRAWS if spread.freedom and spread.deviation.any() else 1
    scale = spread.deviation / np.sqrt(runs)[:, None] if draws > 1 else np.zeros_like(means)
    feasible, front = np.zeros(len(means)), np.zeros(len(means))
    for _ in range(draws):
        shift = rng.standard_t(spread.freedom, means.shape) if draws > 1 else 0.0
        drawn = means + scale * shift
        kept = (drawn[:, count:] <= 0).all(axis=1)
        feasible += kept
        front[np.flatnonzero(kept)[on_front(drawn[kept, :count])]] += 1
    return feasible / draws, front / draws


def _interval(goals: Goals, k: int, means: Floats, runs: int, spread: Noise) -> tuple[float, float] | None:
    if not spread.freedom:
        return None
    half = t_quantile(spread.freedom) * float(spread.deviation[k]) / float(np.sqrt(runs))
    middle = goals.goals[k].cost(float(means[k]))
    return middle - half, middle + half
