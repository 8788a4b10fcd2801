"""LinUCB: a bandit that learns from the context which arm is best, by one linear regression an arm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.bandits.model import Array, Pulling, kernel, rows
from estran.learning.learner import LearnerError, NotFiniteError, State
from estran.learning.settings import positive, whole, within


class LinUcb(Pulling):
    """LinUCB with disjoint models: the arm of the highest θ·x + α √(x·A⁻¹x), with A and θ of a ridge regression an arm.

    The context is x: shape (features,) for all arms alike, or (arms, features) where each arm has its own. Add a constant feature
    where rewards have one.

    Parameters
    ----------
    arms, rng
        As for every bandit; nothing is drawn.
    features
        Length of x; must be set.
    alpha
        Width of the bounds in standard deviations, from 0 (greedy).
    ridge
        What A begins with, times the identity.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Li, Chu, Langford, Schapire, *A contextual-bandit approach to personalized news article recommendation*, WWW 2010, algorithm 1,
    where ``ridge`` is 1. A is kept as its Cholesky factor U (A = UᵀU), to which a row is added by rotations: so it stays positive
    definite however features are scaled. Rewards may be any finite numbers.

    Examples
    --------
    >>> bandit, truth = LinUcb(2, np.random.default_rng(0), features=2), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> for x in np.random.default_rng(1).random((100, 2)):
    ...     arm = bandit.choose(x)
    ...     bandit.learn(x, arm, reward=float(truth[arm] @ x))
    >>> bandit.choose(np.array([0.9, 0.1])), bandit.choose(np.array([0.1, 0.9]))
    (0, 1)
    """

    name = "linucb"
    about = About("bandits", 2, "O(K·d²)", "Li, Chu, Langford, Schapire 2010, alg. 1", "arms")

    def __init__(self, arms: int, rng: np.random.Generator, *, features: int = 0, alpha: float = 1.0, ridge: float = 1.0) -> None:
        self.features = whole(self.name, "features", features)
        self._alpha = within(self.name, "alpha", alpha, 0.0, math.inf, closed=True)
        ridge = positive(self.name, "ridge", ridge)
        shape = (whole(self.name, "arms", arms), self.features)
        super().__init__(arms, rng, {"factors": (*shape, self.features), "moments": shape, "weights": shape})
        self._parts["factors"][:] = math.sqrt(ridge) * np.eye(self.features)

    def bounds(self, context: NDArray[Any]) -> NDArray[np.float64]:
        """Upper confidence bound of each arm's reward, shape (arms,).

        Raises
        ------
        LearnerError
            If the context does not fit.
        NotFiniteError
            If a number is NaN or infinite, or a bound gets so.
        """
        return self._bounds(context)[0]

    def choose(self, context: NDArray[Any] | None = None) -> int:
        """The arm of the highest bound, the first of them; raises as `bounds`."""
        return self._bounds(context)[1]

    def learn(self, context: NDArray[Any] | None, arm: int, reward: float, *, probability: float | None = None) -> None:
        """Learn what an arm has brought: any finite number; raises as `bounds`."""
        x, which = self._rows(context), self._arm(arm)
        value, parts = self._reward(reward, -math.inf, math.inf), self._parts
        own = x[min(which, len(x) - 1)]
        if not kernel().regress(parts["factors"][which], parts["moments"][which], parts["weights"][which], own, value):
            raise self._overflow()
        self._numbers[2] += 1

    def _bounds(self, context: Any) -> tuple[Array, int]:
        x, found = self._rows(context), np.empty(self.arms)
        best = kernel().confident(self._parts["factors"], self._parts["weights"], x, self._alpha, found)
        if best < 0:
            raise self._overflow()
        return found, int(best)

    def _rows(self, context: Any) -> Array:
        if np.ndim(context) == 2:
            return rows(context, (self.arms, self.features), self.name, f"{self.features} features of each of {self.arms} arms")
        return rows(context, (self.features,), self.name, f"{self.features} features")[None]

    def _overflow(self) -> LearnerError:
        remedy = "scale features and rewards to about 1; nothing was learned"
        return NotFiniteError("features and rewards lead to more than a float can hold", where=self.name, remedy=remedy)

    def _check(self, state: State) -> None:
        if not (np.diagonal(state["factors"], axis1=1, axis2=2) > 0).all() or np.tril(state["factors"], -1).any():
            raise self._misfit("factors are not upper triangular with a positive diagonal")

    @classmethod
    def warm(cls) -> None:
        """Compile what is needed, or load it from numba's cache, so that a run does not wait for it."""
        bandit, x = cls(2, np.random.default_rng(0), features=1), np.ones(1)
        bandit.learn(x, bandit.choose(x), 0.0)
