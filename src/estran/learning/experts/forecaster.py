"""The seam to prediction with expert advice: shares of the say, which follow losses."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.learner import State


@runtime_checkable
class Forecaster(Protocol):
    """Shares out the say among experts, and learns after each round what following each of them would have cost.

    It is made by a *factory* ``(experts, rng, **settings)``. An expert is anything that can be followed: a version of a model, a
    host, a setting. Where only the loss of the one that was followed becomes known, take a
    `estran.learning.bandits.bandit.Bandit`.
    """

    experts: int

    def shares(self) -> NDArray[np.float64]:
        """Probability of each expert in the coming round, shape (experts,)."""
        ...

    def choose(self) -> int:
        """The expert to follow: drawn by the shares, or the one that has them all. Only draws are counted by it."""
        ...

    def learn(self, losses: NDArray[np.float64]) -> None:
        """Learn what a round cost each expert, shape (experts,).

        Raises
        ------
        LearnerError
            If losses are not as many as experts, or not from 0 to 1 (where the method says so). Nothing is learned then.
        NotFiniteError
            If a loss is NaN or infinite. Nothing is learned then.
        """
        ...

    def learn_many(self, losses: NDArray[np.float64]) -> None:
        """Learn rounds, shape (n, experts), exactly as if they came one at a time; raises as `learn`, then learns none of them."""
        ...

    def state(self) -> State:
        """A snapshot, the draws to come included; shares no memory with the forecaster."""
        ...

    def load(self, state: State) -> None:
        """Replace everything learned by a snapshot of a forecaster with the same settings.

        Raises
        ------
        StateError
            If it does not fit. What was learned before is then unchanged.
        """
        ...


def create(choice: registry.Choice, experts: int, rng: np.random.Generator) -> Forecaster:
    """Make a forecaster, by name and settings as a learner is: ``hedge``, ``{hedge: {eta: 0.2}}``, ``module:Class``.

    Parameters
    ----------
    choice
        Name, or name and settings.
    experts
        How many experts there are.
    rng
        Source of all its randomness.

    Raises
    ------
    SettingsError
        If there is no such forecaster, or it does not take a setting.
    RequestError
        If a setting's value is out of range.

    Examples
    --------
    >>> forecaster = create({"hedge": {"eta": 1.0}}, 2, np.random.default_rng(0))
    >>> forecaster.learn(np.array([0.0, 1.0]))
    >>> forecaster.shares().round(3).tolist()
    [0.731, 0.269]
    """
    return cast(Forecaster, registry.build(choice, "experts", experts, rng))
