"""How points stand against each other under noise: means, intervals, and the chance of each to be feasible and on the front.

Points meet the same seeds in the same order, and what a seed does to all of them is no difference between them: a run is its
point's mean plus its seed's effect plus an error, as in analysis of variance with blocks, fitted by least squares. So a point that
was run with one seed is compared fairly with one that was run with three. The error's variance is taken to be the same everywhere
and is pooled; given the runs, a mean is then distributed about its estimate like Student's t, and draws from it say how likely a
point is on the front.
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
_ENOUGH: Final = 2
_ROUNDING: Final = 1e-9
"""Means that differ by less than this share of the largest value differ by rounding only, and are made equal."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Means of points, freed from effects of seeds.

    Attributes
    ----------
    means
        Shape (points, columns).
    runs
        Of each point, shape (points,).
    deviation
        Of a run about its point's mean, of each column, shape (columns,).
    freedom
        Degrees of freedom of ``deviation``; 0 where no point has replicates, and nothing is known of the spread.
    """

    means: Floats
    runs: NDArray[np.int64]
    deviation: Floats
    freedom: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How one point stands.

    Attributes
    ----------
    means, ci95
        Of each goal's response, with its own sign (not its cost's), at the average seed. Intervals are by the pooled spread; None
        where no point has replicates.
    broken
        Mean violation of each limit; 0 or less where it is kept.
    feasible
        Probability that the means keep all limits.
    on_front
        Whether the means keep all limits and no other such point's are as good in all goals and better in one.
    front
        Probability of that.
    freedom
        Degrees of freedom by which the spread is known.
    """

    point: Point
    runs: int
    means: tuple[float, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    broken: tuple[float, ...]
    feasible: float
    on_front: bool
    front: float
    freedom: int

    @property
    def exact(self) -> bool:
        """Whether replicates are known to be alike, and tell nothing."""
        return all(interval is not None and interval[0] == interval[1] for interval in self.ci95)


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
    made = fitted([_runs(point, fidelity) for point in points])
    means = made.means
    count = len(goals.goals)
    feasible, front = _chances(made, count, rng)
    kept = (means[:, count:] <= 0).all(axis=1)
    best = np.zeros(len(points), dtype=np.bool_)
    best[kept] = on_front(means[kept, :count])
    return {
        point.number: Standing(
            point, int(made.runs[i]),
            tuple(goal.cost(mean) for goal, mean in zip(goals.goals, means[i].tolist(), strict=False)),
            tuple(_interval(goals, k, made, i) for k in range(count)),
            tuple(means[i, count:].tolist()), float(feasible[i]), bool(best[i]), float(front[i]), made.freedom,
        )
        for i, point in enumerate(points)
    }  # fmt: skip


def fitted(runs: Sequence[Mapping[int, Floats]]) -> Fitted:
    """Fit points and seeds to runs.

    Parameters
    ----------
    runs
        Of each point, its runs by seed, shape (columns,) each.

    Notes
    -----
    Means are those at the average seed. While fewer than two degrees of freedom are left for the error, seeds have no effect of
    their own, and what they do counts as error. The variance of a mean is taken to be that of the error over the number of runs;
    that of the seeds' estimated effects, which most points share, is left out.
    """
    values = np.array([value for one in runs for value in one.values()])
    which = np.repeat(np.arange(len(runs)), [len(one) for one in runs])
    seeds = np.unique([seed for one in runs for seed in one], return_inverse=True)[1].reshape(-1)
    counts = np.bincount(which)
    points, blocks = np.eye(len(runs))[which], np.eye(seeds.max() + 1)[seeds]
    contrasts = blocks[:, :-1] - blocks[:, -1:]
    freedom = len(values) - len(runs) - contrasts.shape[1]
    if freedom < _ENOUGH:
        contrasts, freedom = contrasts[:, :0], len(values) - len(runs)
    design = np.hstack([points, contrasts])
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    squares = ((values - design @ coefficients) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / max(freedom, 1))
    grain = _ROUNDING * np.abs(values).max(axis=0)
    deviation[deviation < grain] = 0.0
    means = coefficients[: len(runs)]
    return Fitted(np.round(means / np.where(grain > 0, grain, 1.0)) * grain, counts, deviation, freedom)


def _runs(point: Point, fidelity: str) -> dict[int, Floats]:
    return {
        trial.ask.seed: np.array([*trial.told.costs, *trial.told.violations])
        for trial in point.at(fidelity)
        if trial.told is not None and trial.told.costs is not None and trial.told.violations is not None
    }


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


def _chances(made: Fitted, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Probability of each point to be feasible, and to be on the front among the feasible."""
    means = made.means
    draws = DRAWS if made.freedom and made.deviation.any() else 1
    scale = made.deviation / np.sqrt(made.runs)[:, None] if draws > 1 else np.zeros_like(means)
    feasible, front = np.zeros(len(means)), np.zeros(len(means))
    for _ in range(draws):
        shift = rng.standard_t(made.freedom, means.shape) if draws > 1 else 0.0
        drawn = means + scale * shift
        kept = (drawn[:, count:] <= 0).all(axis=1)
        feasible += kept
        front[np.flatnonzero(kept)[on_front(drawn[kept, :count])]] += 1
    return feasible / draws, front / draws


def _interval(goals: Goals, k: int, made: Fitted, i: int) -> tuple[float, float] | None:
    if not made.freedom:
        return None
    half = t_quantile(made.freedom) * float(made.deviation[k]) / float(np.sqrt(made.runs[i]))
    middle = goals.goals[k].cost(float(made.means[i, k]))
    return middle - half, middle + half
