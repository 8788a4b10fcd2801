"""An optimisation's folder, read, told and written as a page."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from estran.optimize.answer import Answer
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.folder import Folder
from estran.optimize.loop import recall
from estran.optimize.strategies import strategy_of
from estran.optimize.trials import Trials
from estran.report.optimum.effects import effects
from estran.report.optimum.gather import optimum
from estran.report.optimum.page import write_optimum_page
from estran.report.optimum.view import Optimum


def write(folder: Folder, found: Answer) -> tuple[Optimum, Path]:
    """Write the page of an optimisation, and return what it tells with where it is.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    shown = told(folder, found)
    goals = [goal.response for goal in folder.goals.goals]
    drivers = effects(folder.path / folder.target.name, goals, folder.asked.seed)
    return shown, write_optimum_page(shown, drivers, folder.path)


def told(folder: Folder, found: Answer) -> Optimum:
    """What the page tells, but for the effects of factors."""
    trials = folder.trials()
    return optimum(folder, trials, found, trusted(folder))


def trusted(folder: Folder) -> dict[str, list[str]]:
    """How far each fidelity below the one that counts is believed, in words: what the strategy thinks that has seen all trials."""
    names = [one.name for one in folder.fidelities]
    if len(names) < 2:
        return {}
    strategy = strategy_of(folder, dict.fromkeys(names, 1))
    if not isinstance(strategy, MultiFidelity):
        return {}
    recall(folder.journal(), strategy, Trials())
    words: dict[str, list[str]] = defaultdict(list)
    for trust in strategy.trusts([*folder.goals.goals, *folder.goals.limits]):
        words[trust.fidelity].append(trust.words(names[-1]))
    return words
