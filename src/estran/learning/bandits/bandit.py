"""The seam to bandits: one arm is pulled a round, and only what it brings becomes known."""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.learner import State


@runtime_checkable
class Bandit(Protocol):
    """Chooses one of several arms a round, and learns from the reward of that arm alone.

    It is made by a *factory* ``(arms, rng, **settings)``. An arm is anything that can be tried: a version of a model, a host, a
    setting. Where the losses of all arms become known, an `estran.learning.experts.forecaster.Forecaster` learns faster.
    """

    arms: int

    def choose(self, context: NDArray[Any] | None = None) -> int:
        """The arm to pull now.

        Parameters
        ----------
        context
            What is known of this round, for methods that use it (they say which shape); others ignore it.

        Raises
        ------
        LearnerError
            If the context does not fit.
        """
        ...

    def learn(self, context: NDArray[Any] | None, arm: int, reward: float, *, probability: float | None = None) -> None:
        """Learn what an arm has brought.

        Parameters
        ----------
        context
            The one for which the arm was chosen.
        arm
            Which, from 0.
        reward
            The higher the better, within the range that the method says.
        probability
            With which the arm was chosen. Methods that weigh by it (``exp3``, ``exp4``) else take what it would be now. So it is
            needed where anything was learned in between, as when rewards come late; others ignore it.

        Raises
        ------
        LearnerError
            If there is no such arm, or the reward is out of range, or the context does not fit. Nothing is learned then.
        NotFiniteError
            If a number is NaN or infinite. Nothing is learned then.
        """
        ...

    def state(self) -> State:
        """A snapshot, the draws to come included; shares no memory with the bandit."""
        ...

    def load(self, state: State) -> None:
        """Replace everything learned by a snapshot of a bandit with the same settings.

        Raises
        ------
        StateError
            If it does not fit. What was learned before is then unchanged.
        """
        ...


@runtime_checkable
class Randomized(Bandit, Protocol):
    """A bandit that knows with which probability it chooses each arm: ``exp3``, ``exp4`` and ``epsilon-greedy``."""

    def probabilities(self, context: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Probability of each arm to be chosen now, shape (arms,); worth keeping with the choice, to judge others by it later."""
        ...


def create(choice: registry.Choice, arms: int, rng: np.random.Generator) -> Bandit:
    """Make a bandit, by name and settings as a learner is: ``ucb1``, ``{linucb: {features: 3}}``, ``module:Class``.

    Parameters
    ----------
    choice
        Name, or name and settings.
    arms
        How many arms there are.
    rng
        Source of all its randomness.

    Raises
    ------
    SettingsError
        If there is no such bandit, or it does not take a setting.
    RequestError
        If a setting's value is out of range.

    Examples
    --------
    >>> bandit = create("ucb1", 2, np.random.default_rng(0))
    >>> for _ in range(100):
    ...     arm = bandit.choose()
    ...     bandit.learn(None, arm, reward=[0.2, 0.9][arm])
    >>> bandit.choose()
    1
    """
    return cast(Bandit, registry.build(choice, "arms", arms, rng))
