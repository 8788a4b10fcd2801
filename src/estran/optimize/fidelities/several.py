"""The strategy of an optimisation over several fidelities, and what it has come to think of them."""

from __future__ import annotations

from collections.abc import Mapping

from estran.optimize.fidelities.earlier import known_runs
from estran.optimize.fidelities.ladder import Ladder, Rung
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.folder import Folder
from estran.optimize.journal import Journal
from estran.optimize.single import Single


def several(folder: Folder, widths: Mapping[str, int], alone: Single) -> MultiFidelity:
    """The strategy for a folder with two fidelities or more.

    Parameters
    ----------
    widths
        Of each fidelity, how many of its runs go on side by side.
    alone
        The search at the highest one by itself.
    """
    asked = folder.asked
    ladder = Ladder(tuple(Rung(one.name, widths[one.name]) for one in folder.fidelities))
    known = known_runs(asked.earlier, folder.space, folder.goals.responses, folder.fidelities)
    return MultiFidelity(folder.space, folder.goals, ladder, alone, trials=asked.trials, seed=asked.seed, known=known)


def trust_in_words(strategy: MultiFidelity, journal: Journal) -> list[str]:
    """In words, what is thought of each lower fidelity after all that a journal knows.

    Parameters
    ----------
    strategy
        A new one, that has been told nothing.
    """
    for ask, told in journal.recalled():
        strategy.recall(ask)
        if told is not None:
            strategy.tell(ask.number, told)
    goals = strategy.goals
    return [trust.words(strategy.ladder.highest) for trust in strategy.trusts([*goals.goals, *goals.limits])]
