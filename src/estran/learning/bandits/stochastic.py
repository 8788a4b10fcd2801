"""Bandits for rewards that are independent draws, an unknown distribution an arm: UCB1, Thompson sampling, ε-greedy."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.bandits.model import Pulling, kernel
from estran.learning.learner import NotFiniteError, State
from estran.learning.settings import one_of, positive, within


class _Counting(Pulling):
    """Keeps how often each arm was tried, and what it has brought in sum."""

    counted = ("counts",)

    def __init__(self, arms: int, rng: np.random.Generator) -> None:
        super().__init__(arms, rng, {"counts": (arms,), "sums": (arms,)})

    def _add(self, arm: int, reward: float) -> None:
        total = float(self._parts["sums"][arm]) + reward
        if not math.isfinite(total):
            what = f"the rewards of arm {arm} add up to more than a float can hold"
            raise NotFiniteError(what, where=self.name, remedy="scale them to about 1; nothing was learned")
        self._parts["sums"][arm] = total
        self._parts["counts"][arm] += 1
        self._numbers[2] += 1

    @classmethod
    def warm(cls) -> None:
        """Compile what is needed, or load it from numba's cache, so that a run does not wait for it."""
        cast("Any", cls)(2, np.random.default_rng(0)).choose()


class Ucb1(_Counting):
    """UCB1: the arm of the highest upper confidence bound, mean + √(2 ln n / tries), after each has been tried once.

    Where rewards are independent draws, the expected regret grows as ln n: at most 8 Σ ln n / Δ + (1 + π²/3) Σ Δ, where Δ is how
    far the mean of a worse arm lies below the best. Nothing is drawn, so an adversary can foresee it.

    Parameters
    ----------
    arms, rng
        As for every bandit.
    exploration
        The 2 in the bound; less explores less, and gives up the guarantee.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Auer, Cesa-Bianchi, Fischer, *Finite-time analysis of the multiarmed bandit problem*, Machine Learning 47:235, 2002, figure 1
    and theorem 1. Rewards must be from 0 to 1. The context is ignored. Choices that no reward has come for yet are not
    counted: several in a row are the same arm.

    Examples
    --------
    >>> bandit = Ucb1(2, np.random.default_rng(0))
    >>> for reward in (0.0, 1.0, 1.0):
    ...     bandit.learn(None, bandit.choose(), reward)
    >>> bandit.state()["counts"].tolist()
    [1.0, 2.0]
    """

    name = "ucb1"
    about = About("bandits", 0, "O(K)", "Auer, Cesa-Bianchi, Fischer 2002, fig. 1", "arms")

    def __init__(self, arms: int, rng: np.random.Generator, *, exploration: float = 2.0) -> None:
        super().__init__(arms, rng)
        self._exploration = positive(self.name, "exploration", exploration)

    def choose(self, context: NDArray[Any] | None = None) -> int:
        """The arm of the highest bound, the first of them."""
        return int(kernel().optimistic(self._numbers, self._exploration, self.arms))

    def learn(self, context: NDArray[Any] | None, arm: int, reward: float, *, probability: float | None = None) -> None:
        """Learn what an arm has brought, from 0 to 1."""
        self._add(self._arm(arm), self._reward(reward))

    def _check(self, state: State) -> None:
        if (state["sums"] < 0).any() or (state["sums"] > state["counts"]).any():
            raise self._misfit("sums are not those of rewards from 0 to 1")


class EpsilonGreedy(_Counting):
    """ε-greedy: any arm with probability ε, else the one of the highest mean reward so far. The baseline.

    Its regret grows linearly, since it never stops exploring.

    Parameters
    ----------
    arms, rng
        As for every bandit.
    epsilon
        Probability to explore, from 0 to below 1.
    initial
        What an arm that was never tried is taken for. Above all rewards, every arm is tried before any is tried twice.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Sutton, Barto, *Reinforcement Learning*, 1998, section 2.2, with sample means. Rewards may be any finite numbers. The context is
    ignored.

    Examples
    --------
    >>> bandit = EpsilonGreedy(2, np.random.default_rng(0), epsilon=0.1)
    >>> bandit.learn(None, arm=1, reward=0.5)
    >>> bandit.probabilities().round(3).tolist()
    [0.05, 0.95]
    """

    name = "epsilon-greedy"
    about = About("bandits", 0, "O(K)", "Sutton, Barto 1998, sec. 2.2", "arms")

    def __init__(self, arms: int, rng: np.random.Generator, *, epsilon: float = 0.1, initial: float = 0.0) -> None:
        super().__init__(arms, rng)
        self._epsilon = within(self.name, "epsilon", epsilon, 0.0, 1.0, closed=True)
        self._initial = within(self.name, "initial", initial, -math.inf, math.inf)

    def probabilities(self, context: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Probability of each arm to be chosen now, shape (arms,)."""
        found = np.full(self.arms, self._epsilon / self.arms)
        found[kernel().greedy(self._numbers, self._initial, self.arms)] += 1 - self._epsilon
        return found

    def choose(self, context: NDArray[Any] | None = None) -> int:
        """Draw whether to explore, and which arm then."""
        return int(kernel().explore(self._numbers, self._epsilon, self._initial, self.arms))

    def learn(self, context: NDArray[Any] | None, arm: int, reward: float, *, probability: float | None = None) -> None:
        """Learn what an arm has brought: any finite number."""
        self._add(self._arm(arm), self._reward(reward, -math.inf, math.inf))


class Thompson(Pulling):
    """Thompson sampling: draw each arm's mean reward from what is believed of it, and choose the arm of the highest draw.

    Parameters
    ----------
    arms, rng
        As for every bandit.
    rewards
        ``bernoulli``: 0 or 1; what lies between is made one of the two by a draw with that probability. ``gaussian``: any finite
        numbers, of a known spread.
    successes, failures
        Belief before the first reward, of ``bernoulli``: Beta(successes, failures).
    mean, deviation
        The same of ``gaussian``: a normal distribution.
    noise
        Standard deviation of the rewards of one arm, of ``gaussian``.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Thompson, Biometrika 25:285, 1933; Chapelle, Li, *An empirical evaluation of Thompson sampling*, NIPS 2011, algorithm 2. Rewards
    between 0 and 1: Agrawal, Goyal, *Analysis of Thompson sampling for the multi-armed bandit problem*, COLT 2012, algorithm 2.
    Gaussian: conjugate prior of a mean, variance known. The context is ignored.

    Examples
    --------
    >>> bandit = Thompson(2, np.random.default_rng(0))
    >>> for _ in range(200):
    ...     arm = bandit.choose()
    ...     bandit.learn(None, arm, reward=float(arm))
    >>> [bandit.choose() for _ in range(5)]
    [1, 1, 1, 1, 1]
    """

    name = "thompson"
    about = About("bandits", 0, "O(K)", "Chapelle, Li 2011, alg. 2; Agrawal, Goyal 2012", "arms")

    def __init__(
        self,
        arms: int,
        rng: np.random.Generator,
        *,
        rewards: Literal["bernoulli", "gaussian"] = "bernoulli",
        successes: float = 1.0,
        failures: float = 1.0,
        mean: float = 0.0,
        deviation: float = 1.0,
        noise: float = 1.0,
    ) -> None:
        self._gaussian = one_of(self.name, "rewards", rewards, ("bernoulli", "gaussian")) == 1
        self._prior = positive(self.name, "successes", successes), positive(self.name, "failures", failures)
        self._mean = within(self.name, "mean", mean, -math.inf, math.inf)
        # Beyond these their squares, or one over them, are no floats.
        self._precision = within(self.name, "deviation", deviation, 1e-100, 1e100) ** -2.0
        self._weight = within(self.name, "noise", noise, 1e-100, 1e100) ** -2.0
        super().__init__(arms, rng, {"counts": (arms,), "sums": (arms,)})

    counted = ("counts",)

    def choose(self, context: NDArray[Any] | None = None) -> int:
        """Draw a mean for each arm; the arm of the highest."""
        if self._gaussian:
            return int(_beliefs().gauss(self._numbers, self._mean, self._precision, self._weight, self.arms))
        return int(_beliefs().beta(self._numbers, *self._prior, self.arms))

    def learn(self, context: NDArray[Any] | None, arm: int, reward: float, *, probability: float | None = None) -> None:
        """Learn what an arm has brought: from 0 to 1, or any finite number if ``gaussian``."""
        which = self._arm(arm)
        before = float(self._parts["sums"][which])
        if self._gaussian:
            value = self._reward(reward, -math.inf, math.inf)
            if not math.isfinite(self._weight * (before + value)):
                what = f"the rewards of arm {arm} add up to more than a float can hold"
                raise NotFiniteError(what, where=self.name, remedy="scale them to about 1; nothing was learned")
        else:
            value = self._reward(reward)
            if 0 < value < 1:
                value = _beliefs().toss(self._numbers, value)
        self._parts["sums"][which] = before + value
        self._parts["counts"][which] += 1
        self._numbers[2] += 1

    def _check(self, state: State) -> None:
        if not self._gaussian and ((state["sums"] < 0).any() or (state["sums"] > state["counts"]).any()):
            raise self._misfit("sums are not those of rewards from 0 to 1")

    @classmethod
    def warm(cls) -> None:
        """Compile what is needed, or load it from numba's cache, so that a run does not wait for it."""
        cls(2, np.random.default_rng(0)).choose()
        cls(2, np.random.default_rng(0), rewards="gaussian").choose()


@functools.cache
def _beliefs() -> Any:
    """The compiled draws, imported (and numba with them) when they are first needed."""
    return importlib.import_module("estran.learning.bandits.beliefs_kernel")
