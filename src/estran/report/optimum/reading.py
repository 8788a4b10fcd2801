"""An optimisation's folder, read, told and written as a page."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from estran.optimize.answer import Answer
from estran.optimize.fidelities.ladder import Ladder, Rung
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.folder import Folder
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
    return optimum(folder, trials, found, trusted(folder, trials))


def trusted(folder: Folder, trials: Trials) -> dict[str, str]:
    """How far each fidelity is believed, in words: what the strategy thinks of it that has seen all trials."""
    names = [one.name for one in folder.fidelities]
    if len(names) < 2:
        return {}
    ladder = Ladder(tuple(Rung(name) for name in names))
    strategy = MultiFidelity(folder.space, folder.goals, ladder, trials=folder.asked.trials, seed=folder.asked.seed)
    for trial in trials:
        strategy.recall(trial.ask)
        if trial.told is not None:
            strategy.tell(trial.ask.number, trial.told)
    words: dict[str, list[str]] = defaultdict(list)
    for trust in strategy.trusts():
        words[trust.fidelity].append(trust.words(ladder.highest))
    return {name: f"{'. '.join(said)}." for name, said in words.items()} | {names[-1]: "It is what counts."}
