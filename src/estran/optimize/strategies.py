"""Which strategy an optimisation is searched by."""

from __future__ import annotations

from collections.abc import Mapping

from estran.errors import RequestError
from estran.optimize.earlier import known_of
from estran.optimize.folder import Folder
from estran.optimize.sampling import Sampling
from estran.optimize.single import Single
from estran.optimize.strategy import Strategy


def strategy_of(folder: Folder, widths: Mapping[str, int]) -> Strategy:
    """The strategy that an optimisation was asked for.

    Parameters
    ----------
    widths
        Of each fidelity, how many of its runs go on side by side.

    Raises
    ------
    RequestError
        If there is none for several fidelities.
    """
    asked = folder.asked
    if len(folder.fidelities) > 1:
        raise RequestError("one fidelity is searched at a time", where="--fidelities", remedy="name one")
    known, _ = known_of(asked.earlier, folder.space, folder.goals, asked)
    drawn = Sampling(folder.space, folder.goals, sampler=asked.sampler, seed=asked.seed, budget=asked.trials, known=known)
    return Single(
        folder.space, folder.goals, drawn, fidelity=folder.target.name, budget=asked.trials, replicates=asked.replicates,
        seed=asked.seed,
    )  # fmt: skip
