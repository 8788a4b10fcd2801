"""Searches of functions: strategies asked and told without any run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from estran.optimize.goals import Goals
from estran.optimize.strategy import Ask, Strategy, Told
from estran.optimize.trials import Trials
from estran.spec.model import Variation
from estran.spec.ranges import Range
from estran.study.factors import Factor, factors_of

Measure = Callable[[Mapping[str, Any], int], Mapping[str, float]]
"""Responses at some levels with a seed."""


def floats(name: str, low: float, high: float, default: float, **more: Any) -> Factor:
    return Factor(name, (low, high), default, Range(low, high, **more))


def told(goals: Goals, values: Mapping[str, float], seconds: float = 1.0) -> Told:
    return Told("done", goals.costs(values), goals.violations(values), seconds, values)


def searched(strategy: Strategy, goals: Goals, measure: Measure, most: int = 1000) -> Trials:
    """Ask and tell until there is nothing more to ask for, or ``most`` runs are made."""
    trials = Trials()
    while len(trials) < most and (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        trials.add(ask)
        ended = told(goals, measure(ask.levels, ask.seed))
        strategy.tell(ask.number, ended)
        trials.tell(ask.number, ended)
    return trials


def asks(trials: Trials) -> list[Ask]:
    return [trial.ask for trial in trials]


def noise(levels: Mapping[str, Any], seed: int, size: float) -> float:
    """The same for the same levels and seed."""
    return float(np.random.default_rng([seed, *map(ord, repr(levels))]).normal(0.0, size))


__all__ = ["Factor", "Variation", "asks", "factors_of", "floats", "noise", "searched", "told"]
