"""Exp3 and Exp4: bandits that bear any rewards, even those of an adversary."""

from __future__ import annotations

import math
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.bandits.model import Array, Pulling, kernel, rows
from estran.learning.learner import LearnerError, NotFiniteError
from estran.learning.settings import whole, within

_NOBODY: Final = np.empty((0, 0))


class _Weighted(Pulling):
    """Hedge on estimates of what was not seen."""

    def __init__(self, arms: int, rng: np.random.Generator, voices: int, gamma: float | None) -> None:
        super().__init__(arms, rng, {"losses": (voices,)})
        # From 0 would mean no exploration, to 1 nothing else.
        self._gamma = 0.0 if gamma is None else within(self.name, "gamma", gamma, 0.0, 1.0)

    def probabilities(self, context: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Probability of each arm to be chosen now, shape (arms,)."""
        found = np.empty(self.arms)
        if not kernel().spread(self._numbers, self._gamma, self._advice(context), self.arms, found):
            raise self._improper()
        return found

    def choose(self, context: NDArray[Any] | None = None) -> int:
        """Draw an arm by its probability."""
        arm = int(kernel().draw(self._numbers, self._gamma, self._advice(context), self.arms))
        if arm < 0:
            raise self._improper()
        return arm

    def learn(self, context: NDArray[Any] | None, arm: int, reward: float, *, probability: float | None = None) -> None:
        """Learn what an arm has brought.

        Raises
        ------
        LearnerError
            If there is no such arm, or it cannot have been drawn, or the reward or ``probability`` is not from 0 to 1.
        NotFiniteError
            If a number is NaN or infinite, or the estimate gets so. Nothing is learned then.
        """
        value, which, advice = self._reward(reward), self._arm(arm), self._advice(context)
        if probability is not None and not 0 < probability <= 1:
            what = f"the probability of arm {arm} is {probability!r}"
            raise LearnerError(what, where=self.name, remedy="give what probabilities() said at the choice, above 0 up to 1")
        used = kernel().weigh_reward(self._numbers, self._gamma, advice, self.arms, which, value, float(probability or 0.0))
        if math.isnan(used):
            raise self._improper()
        if used < 0:
            what = f"an arm that was drawn with probability {-used:g} has brought {value:g}: its estimate is infinite"
            raise NotFiniteError(what, where=self.name, remedy="set gamma, which keeps probabilities up; nothing was learned")
        if used == 0:
            what = f"arm {arm} has probability 0, so it cannot have been drawn"
            raise LearnerError(what, where=self.name, remedy="hand in the probability that it was drawn with")

    def _advice(self, context: Any) -> Array:
        return _NOBODY

    def _improper(self) -> LearnerError:
        remedy = "let each row be 0 or more and sum to 1; nothing was learned"
        return LearnerError("advice is no distribution", where=self.name, remedy=remedy)

    @classmethod
    def warm(cls) -> None:
        """Compile what is needed, or load it from numba's cache, so that a run does not wait for it."""
        bandit = cast("Any", cls)(2, np.random.default_rng(0))
        bandit.learn(None, bandit.choose(), 0.0)


class Exp3(_Weighted):
    """Exp3: arms are drawn by shares as of Hedge, and rewards are divided by the probability to have seen them.

    So estimates are right on average, whatever the rewards; nothing is assumed of where they come from. Over T rounds with K arms
    the expected regret against the best arm is at most 2 √(T K ln K) with the default.

    Parameters
    ----------
    arms, rng
        As for every bandit.
    gamma
        Part of the draws that explores all arms alike, above 0 and below 1, as in the original; √(K ln K / ((e − 1) T))
        keeps regret below 2.63 √(T K ln K). By default nothing explores besides the shares, and the learning rate falls as
        √(ln K / (K t)).

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    With ``gamma``: Auer, Cesa-Bianchi, Freund, Schapire, *The nonstochastic multiarmed bandit problem*, SIAM J. Comput. 32:48,
    2002, figure 1 and corollary 3.2. Default: Bubeck, Cesa-Bianchi, *Regret analysis of stochastic and nonstochastic multi-armed
    bandit problems*, 2012, section 3.1, which estimates losses 1 − reward. Rewards must be from 0 to 1. The context is ignored.

    Examples
    --------
    >>> bandit = Exp3(2, np.random.default_rng(0), gamma=0.1)
    >>> bandit.probabilities().tolist()
    [0.5, 0.5]
    >>> bandit.learn(None, arm=1, reward=1.0)
    >>> bandit.probabilities().round(4).tolist()
    [0.4775, 0.5225]
    """

    name = "exp3"
    about = About("bandits", 1, "O(K)", "Auer et al. 2002b, fig. 1; Bubeck, Cesa-Bianchi 2012, sec. 3.1", "arms")

    def __init__(self, arms: int, rng: np.random.Generator, *, gamma: float | None = None) -> None:
        super().__init__(arms, rng, arms, gamma)


class Exp4(_Weighted):
    """Exp4: Exp3 for experts that advise on arms; it comes close to the best expert, though only one arm's reward is seen.

    The context is the advice: row i has expert i's probabilities of the arms, shape (experts, arms). The expected regret
    against the best of N experts is at most 2 √(T K ln N) with the default.

    Parameters
    ----------
    arms, rng
        As for every bandit.
    experts
        How many give advice; must be set.
    gamma
        As for `Exp3`.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    With ``gamma``: Auer, Cesa-Bianchi, Freund, Schapire 2002, there also Exp4. Default: Bubeck, Cesa-Bianchi 2012, section 4.2.
    Rewards must be from 0 to 1.

    Examples
    --------
    >>> bandit, advice = Exp4(3, np.random.default_rng(0), experts=2), np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    >>> bandit.probabilities(advice).tolist()
    [0.5, 0.25, 0.25]
    >>> bandit.learn(advice, arm=0, reward=0.0)
    >>> bool(bandit.probabilities(advice)[0] < 0.5)
    True
    """

    name = "exp4"
    about = About("bandits", 1, "O(N·K)", "Auer et al. 2002b, Exp4; Bubeck, Cesa-Bianchi 2012, sec. 4.2", "arms")

    def __init__(self, arms: int, rng: np.random.Generator, *, experts: int = 0, gamma: float | None = None) -> None:
        self.experts = whole(self.name, "experts", experts)
        super().__init__(arms, rng, self.experts, gamma)

    def _advice(self, context: Any) -> Array:
        what = f"the advice of {self.experts} experts on {self.arms} arms"
        return rows(context, (self.experts, self.arms), self.name, what)

    @classmethod
    def warm(cls) -> None:
        """Compile what is needed, or load it from numba's cache, so that a run does not wait for it."""
        bandit, advice = cls(2, np.random.default_rng(0), experts=2), np.full((2, 2), 0.5)
        bandit.learn(advice, bandit.choose(advice), 0.0)
