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
OPENING: Final = 1.0
"""Runs at the highest fidelity whose time the first runs at the lowest may take: what is lost if the ladder proves misleading."""
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
    left = (levels for levels in spread if not history.ran(levels, 0))
    return next((Choice(levels, 0, {"what": "first"}) for levels in left), None)


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
    complete, (goals, _) = history.complete(0), history.measured(0)
    before = {key(levels) for levels in (*tested, history.space.default)}
    at = [place for place, (levels, _) in enumerate(complete) if key(levels) in before]
    if len(at) == len(complete) or not goals:
        return None
    costs = np.array([[goal.cost(values[goal.response]) for goal in goals] for _, values in complete])
    return complete[tester(costs, at)][0]


def tester(costs: Array, tested: Sequence[int]) -> int:
    """Which point to run at every fidelity next.

    The one whose ranks differ most from those of points that were tested before. With two goals these are soon the best in either,
    in both and in none: so pairs show whether ranks agree, and whichever way that turns out, some of them are good.

    Parameters
    ----------
    costs
        Of each point at the lowest fidelity, shape (n, goals).
    tested
        Numbers of points that were.
    """
    from scipy.stats import rankdata

    ranks = rankdata(costs, axis=0) / len(costs)
    away = np.full(len(costs), np.inf)
    for point in tested:
        away = np.minimum(away, np.abs(ranks - ranks[point]).max(axis=1))
    away[list(tested)] = -1.0
    return int(np.argmax(np.where(np.isinf(away), -ranks.sum(axis=1), away)))
