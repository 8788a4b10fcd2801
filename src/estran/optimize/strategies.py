"""Which strategy an optimisation is searched by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from estran.optimize.earlier import known_of, made_on
from estran.optimize.fidelities.several import several
from estran.optimize.fidelities.several import trust_in_words as told
from estran.optimize.folder import Folder
from estran.optimize.journal import Journal
from estran.optimize.sampling import Sampling
from estran.optimize.single import Single
from estran.optimize.strategy import Strategy


def strategy_of(folder: Folder, widths: Mapping[str, int]) -> Strategy:
    """The strategy that an optimisation was asked for.

    Parameters
    ----------
    widths
        Of each fidelity, how many of its runs go on side by side.
    """
    alone = _alone(folder)
    return several(folder, widths, alone) if len(folder.fidelities) > 1 else alone


def trust_in_words(folder: Folder, journal: Journal) -> list[str]:
    """What is thought of every fidelity below the target, after all that the journal knows; nothing where there is none."""
    if len(folder.fidelities) < 2:
        return []
    return told(several(folder, {one.name: 1 for one in folder.fidelities}, _alone(folder)), journal)


def _alone(folder: Folder) -> Single:
    """The search at the target. Of earlier studies at other fidelities it knows nothing, if those are searched too."""
    asked, target = folder.asked, folder.target
    earlier = [path for path in asked.earlier if len(folder.fidelities) == 1 or made_on(Path(path)) == target.on]
    known, _ = known_of(earlier, folder.space, folder.goals, asked)
    drawn = Sampling(folder.space, folder.goals, sampler=asked.sampler, seed=asked.seed, budget=asked.trials, known=known)
    return Single(
        folder.space, folder.goals, drawn, fidelity=target.name, budget=asked.trials, replicates=asked.replicates, seed=asked.seed
    )
