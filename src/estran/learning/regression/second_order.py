"""Second-order linear regressors: they also learn how sure they are of each direction, and need no learning rate.

Each keeps S = A⁻¹ beside its weights w, where A is a sum over rows, factored so that it stays positive definite however features
are scaled (`estran.learning.regression.factored`). A row costs O(d²); so does a snapshot, of (d + 1)·(d + 4)/2 + 1 numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.regression.model import LinearRegressor
from estran.learning.regression.plan import Rule, covariance
from estran.learning.settings import positive


def _about(source: str) -> About:
    return About("regression", 2, "O(d²)", source, "numbers")


class SecondOrderRegressor(LinearRegressor):
    """What the second-order rules share; a covariance to look at."""

    def covariance(self) -> NDArray[np.float64]:
        """S, shape (features + 1, features + 1), the bias last."""
        parts: dict[str, Any] = dict(self.state())
        return covariance(parts["variances"], parts["factor"])


class Ridge(SecondOrderRegressor):
    """Ridge regression, row by row: after each row w is what minimises λ·|w|² + Σ(w·x − y)² over all rows so far.

    Parameters
    ----------
    features, rng
        As for every regressor; nothing is drawn.
    l2
        λ. The bias is held back as any other weight.
    forgetting
        What a row weighs after the next one; 1 for no forgetting. About 1/(1 − forgetting) rows count. λ fades with the rows.
    bias
        Learn a constant beside the features.

    Notes
    -----
    Recursive least squares: with v = x·S·x and forgetting f, w ← w − e·S·x/(f + v) and S ← (S − S·x·xᵀ·S/(f + v))/f, beginning
    with S = I/λ (Haykin, *Adaptive filter theory*, on recursive least squares; Azoury, Warmuth, *Relative loss bounds for on-line
    density estimation with the exponential family of distributions*, Machine Learning 43:211, 2001, on ridge regression as an
    incremental off-line algorithm). Here S is updated in its factors U·D·Uᵀ (Bierman, Automatica 12:375, 1976). Where nothing is
    seen of a direction, forgetting widens D without end; it is held at 10¹² times its first value.

    Examples
    --------
    >>> model = Ridge(1, np.random.default_rng(0), l2=2.0, bias=False)
    >>> model.learn_many(np.array([[1.0], [2.0]]), np.array([7.0, 7.0]))
    >>> model.predict(np.array([[1.0]])).round(12).tolist()  # (7 + 14) / (2 + 1 + 4)
    [3.0]
    """

    name = "ridge"
    about = _about("recursive least squares; Bierman 1976")

    def __init__(
        self, features: int, rng: np.random.Generator, *, l2: float = 1.0, forgetting: float = 1.0, bias: bool = True
    ) -> None:
        prior = 1.0 / positive(self.name, "l2", l2)
        if positive(self.name, "forgetting", forgetting) > 1:
            raise RequestError(f"forgetting is {forgetting!r}", where=self.name, remedy="give a number above 0, up to 1")
        super().__init__(features, Rule.RIDGE, forgetting, bias=bias, prior=prior)


class ForwardRidge(SecondOrderRegressor):
    """Vovk's, Azoury's and Warmuth's forecaster: ridge regression that counts the row to be answered in, as if its target were 0.

    It answers w·x/(1 + v), with v = x·S·x: cautiously where a row is unlike those before.

    Parameters
    ----------
    features, rng, l2, bias
        As for `Ridge`.

    Notes
    -----
    Vovk, *Competitive on-line statistics*, International Statistical Review 69:213, 2001; Azoury, Warmuth, Machine Learning
    43:211, 2001 (the forward algorithm): with targets up to Y, the sum of its squared errors exceeds that of any fixed w, λ·|w|²
    included, by Y²·ln det(A/λ) at most (Cesa-Bianchi, Lugosi, *Prediction, learning, and games*, 2006, chapter 11).

    Examples
    --------
    >>> model = ForwardRidge(1, np.random.default_rng(0), bias=False)
    >>> model.learn_many(np.array([[1.0]]), np.array([6.0]))
    >>> model.predict(np.array([[1.0]])).tolist()  # 6 / (1 + 1 + 1), where ridge regression says 6 / (1 + 1)
    [2.0]
    """

    name = "forward-ridge"
    about = _about("Vovk 2001; Azoury, Warmuth 2001")

    def __init__(self, features: int, rng: np.random.Generator, *, l2: float = 1.0, bias: bool = True) -> None:
        super().__init__(features, Rule.FORWARD, bias=bias, prior=1.0 / positive(self.name, "l2", l2))


class OnlineNewton(SecondOrderRegressor):
    """Online Newton step on the loss e²/2: A ← A + g·gᵀ, w ← w − A⁻¹·g/γ with the gradient g = e·x.

    Rows that were answered well hardly count into A. Targets want to be of about unit scale: γ is measured in 1/y².

    Parameters
    ----------
    features, rng, bias
        As for `Ridge`.
    gamma
        γ (β in the paper): smaller steps further.
    epsilon
        A begins as this much of the identity.
    bound
        Answers are held between this and its negative, in units of the target: w is first projected to where w·x lies there,
        along A⁻¹·x. None for no bound, and no promise of a regret.

    Notes
    -----
    Hazan, Agarwal, Kale, *Logarithmic regret algorithms for online convex optimization*, Machine Learning 69:169, 2007. The
    projection is that of Luo, Agarwal, Cesa-Bianchi, Langford, *Efficient second order online learning by sketching*, NIPS 2016.

    Examples
    --------
    >>> model = OnlineNewton(1, np.random.default_rng(0), gamma=1.0, epsilon=1.0, bias=False)
    >>> model.learn_many(np.array([[1.0]]), np.array([1.0]))
    >>> model.predict(np.array([[1.0]])).tolist()
    [0.5]
    """

    name = "ons-regression"
    about = _about("Hazan, Agarwal, Kale 2007; Luo et al. 2016")

    def __init__(
        self,
        features: int,
        rng: np.random.Generator,
        *,
        gamma: float = 0.5,
        epsilon: float = 1.0,
        bound: float | None = None,
        bias: bool = True,
    ) -> None:
        limit = np.inf if bound is None else positive(self.name, "bound", bound)
        step, prior = positive(self.name, "gamma", gamma), 1.0 / positive(self.name, "epsilon", epsilon)
        super().__init__(features, Rule.NEWTON, step, limit, bias=bias, prior=prior)
