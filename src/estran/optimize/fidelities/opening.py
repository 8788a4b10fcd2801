"""The first runs: the default everywhere, and some points at the lowest fidelity; and pairs that put the ladder to the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from estran.optimize.fidelities.candidates import Levels
from estran.optimize.fidelities.history import Choice, History

PAIRS: Final = 8
"""Points that are run at every fidelity, whichever chooses them: so many tell whether the ladder misleads."""
FEWEST: Final = 5
"""First runs at the lowest fidelity, at the least."""
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
    return int(np.clip(OPENING * high / low, FEWEST, max(PER_FACTOR * factors, FEWEST)))


def tested(history: History, chosen: Choice) -> Choice:
    """A run at a lower rung in place of a chosen one at the highest, where it makes a pair that the ladder is to be judged by."""
    if chosen.rung < history.ladder.top:
        return chosen
    for rung, dead in enumerate(history.ladder.dead(history.trials)[:-1]):
        if not dead and pairs(history, rung) < PAIRS and not history.ran(chosen.levels, rung):
            return Choice(chosen.levels, rung, {"what": "test"})
    return chosen


def pairs(history: History, rung: int) -> int:
    """Points that were run both at a rung and at the highest."""
    return sum(bool(history.ran(levels, rung)) for levels in history.at_top())
