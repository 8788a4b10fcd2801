"""The first runs: the default everywhere, some points at the lowest fidelity, and pairs that put the ladder to the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from estran.optimize.fidelities.candidates import Levels, key
from estran.optimize.fidelities.gaussian import Array
from estran.optimize.fidelities.history import Choice, History

TESTS: Final = 4
"""Points that are run at every fidelity, beside the default: with it, as many as a verdict needs (`trust.ENOUGH`)."""
OPENING: Final = 2.0
"""Runs at the highest fidelity whose time the first runs at the lowest may take."""
PER_FACTOR: Final = 10
"""First runs at the lowest fidelity for each factor, at the most (Loeppky, Sacks and Welch, Technometrics 51, 2009)."""


def default(history: History) -> Choice | None:
    """The default at every rung: the gain is measured against it, and it tells what runs cost."""
    levels = history.space.default
    rungs = range(len(history.ladder.rungs))
    return next((Choice(levels, rung, {"what": "default"}) for rung in rungs if not history.ran(levels, rung)), None)


def first(history: History, spread: Sequence[Levels]) -> Choice | None:
    """Points at the lowest rung, in the order of ``spread``, unless it measures no goal or always fails."""
    if history.ladder.dead(history.trials)[0] or (history.complete(0) and not history.measured(0)[0]):
        return None
    low, *_, high = history.ladder.seconds(history.trials)
    if len(history.for_purpose("first")) >= opening_size(len(history.space.factors), low, high):
        return None
    return _next(history, spread, 0, "first")


def opening_size(factors: int, low: float | None, high: float | None) -> int:
    """How many points to begin with at the lowest rung, given what a run costs there and at the highest (None: not known)."""
    if low is None or high is None:
        return factors + 1
    return int(np.clip(OPENING * high / low, TESTS + 1, max(PER_FACTOR * factors, TESTS + 1)))


def test(history: History) -> Choice | None:
    """Points at every rung, so that pairs tell whether rungs agree."""
    dead, tested = history.ladder.dead(history.trials), history.for_purpose("test")
    rungs = [rung for rung in range(len(dead)) if not dead[rung] or rung == history.ladder.top]
    if len(tested) < TESTS and (chosen := _tester(history, tested)) is not None:
        tested = [*tested, chosen]
    for levels in tested:
        for rung in rungs:
            if not history.ran(levels, rung):
                return Choice(levels, rung, {"what": "test"})
    return None


def _tester(history: History, tested: Sequence[Levels]) -> Levels | None:
    """The next point to test with, of those that were run at the lowest rung; None if there are none."""
    complete, (goals, limits) = history.complete(0), history.measured(0)
    before = {key(levels) for levels in (*tested, history.space.default)}
    at = [place for place, (levels, _) in enumerate(complete) if key(levels) in before]
    if len(at) == len(complete) or not goals:
        return None
    costs = np.array([[goal.cost(values[goal.response]) for goal in goals] for _, values in complete])
    violations = np.array([[limit.violation(values[limit.response]) for limit in limits] for _, values in complete])
    return complete[tester(costs, violations.reshape(len(complete), len(limits)), at)][0]


def tester(costs: Array, violations: Array, tested: Sequence[int]) -> int:
    """Which point to run at every fidelity next.

    Among those that promise most, the one whose ranks differ most from those of the points that were tested before: so the pairs
    show whether ranks agree, and most of them are worth their runs.

    Parameters
    ----------
    costs, violations
        Of each point at the lowest fidelity, shape (n, goals) and (n, limits).
    tested
        Numbers of points that were.
    """
    from optuna.study._multi_objective import _fast_non_domination_rank
    from scipy.stats import rankdata

    count = len(costs)
    penalty = np.maximum(violations, 0.0).sum(axis=1) if violations.shape[1] else None
    promise = 1 - (rankdata(_fast_non_domination_rank(costs, penalty=penalty), method="min") - 1) / count
    ranks = rankdata(costs, axis=0) / count
    away = np.ones(count)
    for point in tested:
        away = np.minimum(away, np.abs(ranks - ranks[point]).max(axis=1))
    away[list(tested)] = -1.0
    return int(np.argmax(away * promise))


def pioneer(history: History, spread: Sequence[Levels]) -> Choice | None:
    """Points at the highest rung, for use where nothing below has a say: one more than there are factors, and what was tested."""
    top = history.ladder.top
    made = {trial.ask.point for trial in history.trials.at(history.ladder.highest)}
    if len(made) > len(history.space.factors) + 1:
        return None
    return _next(history, spread, top, "pioneer")


def _next(history: History, spread: Sequence[Levels], rung: int, what: str) -> Choice | None:
    left = (levels for levels in spread if not history.ran(levels, rung))
    return next((Choice(levels, rung, {"what": what}) for levels in left), None)
