"""First-order linear regressors: they know a weight of each feature, and nothing of how sure they are of it.

m is a row's answer w·x, e = m − y its error.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from estran.learning.about import About
from estran.learning.regression.model import LinearRegressor
from estran.learning.regression.plan import Rule
from estran.learning.settings import one_of, positive, within

Loss = Literal["squared", "absolute", "epsilon_insensitive", "huber"]
_CODES: Final = {"squared": 0, "absolute": 1, "epsilon_insensitive": 1, "huber": 2}
"""As `estran.learning.regression.kernel` knows losses: an absolute loss is an insensitive one with a margin of 0."""
_VARIANTS: Final = {"pa": Rule.PA, "pa1": Rule.PA1, "pa2": Rule.PA2}


def _about(source: str) -> About:
    return About("regression", 1, "O(d)", source, "numbers")


class PARegression(LinearRegressor):
    """Passive-aggressive regression: the smallest step to an error of ε, w ← w − sign(e)·τ·x with the loss ℓ = max(0, |e| − ε).

    Parameters
    ----------
    features, rng
        As for every regressor; nothing is drawn.
    variant
        ``pa``: τ = ℓ/|x|², which follows every target; ``pa1``: at most C; ``pa2``: τ = ℓ/(|x|² + 1/(2C)).
    epsilon
        Error that is good enough, in units of the target.
    c
        C: smaller values step less. Not used by ``pa``.
    bias
        Learn a constant beside the features.

    Notes
    -----
    Crammer, Dekel, Keshet, Shalev-Shwartz, Singer, *Online passive-aggressive algorithms*, JMLR 7:551, 2006, section 5.

    Examples
    --------
    >>> model = PARegression(1, np.random.default_rng(0), variant="pa", epsilon=0.5, bias=False)
    >>> model.learn_many(np.array([[2.0]]), np.array([4.5]))
    >>> model.predict(np.array([[2.0]])).tolist()
    [4.0]
    """

    name = "pa-regression"
    about = _about("Crammer et al. 2006, section 5")

    def __init__(
        self,
        features: int,
        rng: np.random.Generator,
        *,
        variant: Literal["pa", "pa1", "pa2"] = "pa1",
        epsilon: float = 0.1,
        c: float = 1.0,
        bias: bool = True,
    ) -> None:
        one_of(self.name, "variant", variant, tuple(_VARIANTS))
        margin = within(self.name, "epsilon", epsilon, 0.0, np.inf, closed=True)
        super().__init__(features, _VARIANTS[variant], positive(self.name, "c", c), bias=bias, margin=margin)


class OGDRegression(LinearRegressor):
    """Online gradient descent with steps η/√t, or η.

    Parameters
    ----------
    features, rng, bias
        As for `PARegression`.
    learning_rate
        η.
    steps
        ``decaying``: η/√t at row t; ``fixed``: η, which goes on following drift.
    loss
        ``squared`` e²/2; ``absolute`` |e|; ``epsilon_insensitive`` max(0, |e| − ε); or ``huber``: e²/2 up to |e| = δ, then
        δ·(|e| − δ/2). All but the first bear outliers.
    epsilon
        ε of the insensitive loss, in units of the target.
    delta
        δ of Huber's loss, in units of the target.

    Notes
    -----
    Zinkevich, *Online convex programming and generalized infinitesimal gradient ascent*, ICML 2003, without a projection. Huber,
    *Robust estimation of a location parameter*, Annals of Mathematical Statistics 35:73, 1964.

    Examples
    --------
    >>> model = OGDRegression(1, np.random.default_rng(0), learning_rate=0.5, loss="huber", delta=1.0, bias=False)
    >>> model.predict_then_learn(np.array([[1.0], [1.0]]), np.array([0.5, 100.0])).tolist()
    [0.0, 0.25]
    """

    name = "ogd-regression"
    about = _about("Zinkevich 2003: greedy projection")

    def __init__(
        self,
        features: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 0.1,
        steps: Literal["decaying", "fixed"] = "decaying",
        loss: Loss = "squared",
        epsilon: float = 0.1,
        delta: float = 1.0,
        bias: bool = True,
    ) -> None:
        rate, fixed = positive(self.name, "learning_rate", learning_rate), one_of(self.name, "steps", steps, ("decaying", "fixed"))
        code, margin = _loss(self.name, loss, epsilon, delta)
        super().__init__(features, Rule.OGD, rate, code, fixed, bias=bias, margin=margin)


class AdaGradRegression(LinearRegressor):
    """Gradient descent with a step of its own for each weight, η/(10⁻⁸ + √Σg²).

    Parameters
    ----------
    features, rng, bias
        As for `PARegression`.
    learning_rate
        η: about how much a weight changes by a row.
    loss, epsilon, delta
        As for `OGDRegression`.

    Notes
    -----
    Duchi, Hazan, Singer, *Adaptive subgradient methods*, JMLR 12:2121, 2011, figure 1 with diagonal matrices.
    """

    name = "adagrad-regression"
    about = _about("Duchi, Hazan, Singer 2011, fig. 1")

    def __init__(
        self,
        features: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 0.5,
        loss: Loss = "squared",
        epsilon: float = 0.1,
        delta: float = 1.0,
        bias: bool = True,
    ) -> None:
        rate = positive(self.name, "learning_rate", learning_rate)
        code, margin = _loss(self.name, loss, epsilon, delta)
        super().__init__(features, Rule.ADAGRAD, rate, code, 1e-8, bias=bias, margin=margin)


class FTRLRegression(LinearRegressor):
    """Follow the regularised leader, proximal: AdaGrad's steps with exact zeros where |z| ≤ λ₁.

    Parameters
    ----------
    features, rng, bias
        As for `PARegression`.
    alpha, beta
        Step of each weight: α/(β + √Σg²).
    l1, l2
        Strengths of both penalties.
    loss, epsilon, delta
        As for `OGDRegression`.

    Notes
    -----
    McMahan et al., *Ad click prediction: a view from the trenches*, KDD 2013, algorithm 1, with another loss.
    """

    name = "ftrl-regression"
    about = _about("McMahan et al. 2013, alg. 1")

    def __init__(
        self,
        features: int,
        rng: np.random.Generator,
        *,
        alpha: float = 0.5,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        loss: Loss = "squared",
        epsilon: float = 0.1,
        delta: float = 1.0,
        bias: bool = True,
    ) -> None:
        code, margin = _loss(self.name, loss, epsilon, delta)
        steps = positive(self.name, "alpha", alpha), code, positive(self.name, "beta", beta)
        penalties = [within(self.name, key, value, 0.0, np.inf, closed=True) for key, value in (("l1", l1), ("l2", l2))]
        super().__init__(features, Rule.FTRL, *steps, *penalties, bias=bias, margin=margin)


def _loss(learner: str, loss: str, epsilon: float, delta: float) -> tuple[int, float]:
    """A loss's code, and the error up to which it is zero or quadratic."""
    one_of(learner, "loss", loss, tuple(_CODES))
    margins = {
        "epsilon_insensitive": within(learner, "epsilon", epsilon, 0.0, np.inf, closed=True),
        "huber": positive(learner, "delta", delta),
    }
    return _CODES[loss], margins.get(loss, 0.0)
