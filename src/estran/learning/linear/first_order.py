"""First-order linear learners: they know a weight of each feature, and nothing of how sure they are of it."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from estran.learning.about import About
from estran.learning.linear.model import Linear
from estran.learning.linear.plan import Rule
from estran.learning.settings import one_of, positive, within

Loss = Literal["hinge", "logistic", "squared_hinge", "squared"]
_LOSSES: Final = ("hinge", "logistic", "squared_hinge", "squared")


def _about(source: str, cost: str = "O(K·d)") -> About:
    return About("linear", 1, cost, source)


class Perceptron(Linear):
    """Perceptron: w ← w + y·x on every mistake.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    bias
        Learn a constant beside the features.

    Notes
    -----
    Rosenblatt, *The perceptron*, Psychological Review 65:386, 1958. With several classes: Crammer and Singer, *Ultraconservative
    online algorithms*, JMLR 3:951, 2003, with all of the blame on the highest rival.

    Examples
    --------
    >>> learner = Perceptron(2, 2, np.random.default_rng(0))
    >>> learner.predict_then_learn(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]), np.array([1, 0, 1])).tolist()
    [0, 1, 1]
    """

    name = "perceptron"
    about = _about("Rosenblatt 1958")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, bias: bool = True) -> None:
        super().__init__(features, classes, Rule.PERCEPTRON, bias=bias)


class PA(Linear):
    """Passive-aggressive: the smallest step to a margin of 1, τ = ℓ/|x|² with the hinge loss ℓ.

    Notes
    -----
    Crammer, Dekel, Keshet, Shalev-Shwartz, Singer, *Online passive-aggressive algorithms*, JMLR 7:551, 2006, figure 1.

    Examples
    --------
    >>> learner = PA(1, 2, np.random.default_rng(0), bias=False)
    >>> learner.learn_many(np.array([[4.0]]), np.array([1]))
    >>> learner.decision_function(np.array([[4.0]])).tolist()
    [1.0]
    """

    name = "pa"
    about = _about("Crammer et al. 2006, fig. 1: PA")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, bias: bool = True) -> None:
        super().__init__(features, classes, Rule.PA, bias=bias)


class PA1(Linear):
    """Passive-aggressive with bounded steps: τ = min(C, ℓ/|x|²). For noisy labels.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    c
        Longest step.

    Notes
    -----
    Crammer et al., JMLR 7:551, 2006, figure 1, PA-I.
    """

    name = "pa1"
    about = _about("Crammer et al. 2006, fig. 1: PA-I")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, c: float = 1.0, bias: bool = True) -> None:
        super().__init__(features, classes, Rule.PA1, positive(self.name, "c", c), bias=bias)


class PA2(Linear):
    """Passive-aggressive with softened steps: τ = ℓ/(|x|² + 1/(2C)).

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    c
        Smaller values step more softly.

    Notes
    -----
    Crammer et al., JMLR 7:551, 2006, figure 1, PA-II.
    """

    name = "pa2"
    about = _about("Crammer et al. 2006, fig. 1: PA-II")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, c: float = 1.0, bias: bool = True) -> None:
        super().__init__(features, classes, Rule.PA2, positive(self.name, "c", c), bias=bias)


class OGD(Linear):
    """Online gradient descent with steps η/√t.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    learning_rate
        η.
    loss
        Of the margin m: ``hinge`` max(0, 1 − m), ``logistic`` log(1 + e⁻ᵐ), ``squared_hinge`` max(0, 1 − m)², or ``squared``
        (1 − m)²: least squares on labels of ±1, so that margins above 1 are pulled back to it. With the last two a step overshoots
        where its rate is above 1/|x|², the bias counted in (half that with several classes), and then may diverge.

    Notes
    -----
    Zinkevich, *Online convex programming and generalized infinitesimal gradient ascent*, ICML 2003.
    """

    name = "ogd"
    about = _about("Zinkevich 2003: greedy projection")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 1.0,
        loss: Loss = "hinge",
        bias: bool = True,
    ) -> None:
        rate = positive(self.name, "learning_rate", learning_rate)
        super().__init__(features, classes, Rule.OGD, rate, one_of(self.name, "loss", loss, _LOSSES), bias=bias)


class ROMMA(Linear):
    """Relaxed online maximum margin: on a mistake, the shortest w with w·wₜ ≥ |wₜ|² and y·w·x ≥ 1.

    Notes
    -----
    Li and Long, *The relaxed online maximum margin algorithm*, Machine Learning 46:361, 2002: w ← c·w + d·y·x with
    c = (|x|²|w|² − m)/(|x|²|w|² − m²), d = |w|²(1 − m)/(|x|²|w|² − m²).
    """

    name = "romma"
    about = _about("Li, Long 2002: ROMMA")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, bias: bool = True) -> None:
        super().__init__(features, classes, Rule.ROMMA, bias=bias)


class AggressiveROMMA(Linear):
    """ROMMA that also learns from right answers with a margin below 1; w ← y·x/|x|² where that alone meets both constraints.

    Notes
    -----
    Li and Long, Machine Learning 46:361, 2002, aggressive ROMMA.
    """

    name = "aromma"
    about = _about("Li, Long 2002: aggressive ROMMA")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, bias: bool = True) -> None:
        super().__init__(features, classes, Rule.AROMMA, bias=bias)


class ALMA(Linear):
    """Approximate large margin, p = 2: rows and weights at most of length 1, steps C/√k, margins wanted (1 − α)·B/√k, B = 1/α.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    alpha
        Share of the largest margin that may be missed.
    c
        First step; √2 in the paper.

    Notes
    -----
    Gentile, *A new approximate maximal margin classification algorithm*, JMLR 2:213, 2001, figure 1.
    """

    name = "alma"
    about = _about("Gentile 2001, fig. 1, p = 2")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        alpha: float = 0.9,
        c: float = 2.0**0.5,
        bias: bool = True,
    ) -> None:
        alpha = within(self.name, "alpha", alpha, 0.0, 1.0)
        super().__init__(features, classes, Rule.ALMA, alpha, positive(self.name, "c", c), 1.0 / alpha, bias=bias)


class AdaGrad(Linear):
    """Gradient descent with a step of its own for each weight, η/(ε + √Σg²).

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    learning_rate
        η.
    loss
        As for `OGD`.
    epsilon
        Keeps first steps finite.

    Notes
    -----
    Duchi, Hazan, Singer, *Adaptive subgradient methods*, JMLR 12:2121, 2011, figure 1 with diagonal matrices.
    """

    name = "adagrad"
    about = _about("Duchi, Hazan, Singer 2011, fig. 1")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 0.1,
        loss: Loss = "logistic",
        epsilon: float = 1e-8,
        bias: bool = True,
    ) -> None:
        rate, least = positive(self.name, "learning_rate", learning_rate), positive(self.name, "epsilon", epsilon)
        super().__init__(features, classes, Rule.ADAGRAD, rate, one_of(self.name, "loss", loss, _LOSSES), least, bias=bias)


class FTRL(Linear):
    """Follow the regularised leader, proximal: AdaGrad's steps with exact zeros where |z| ≤ λ₁.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    alpha, beta
        Step of each weight: α/(β + √Σg²).
    l1, l2
        Strengths of both penalties.
    loss
        As for `OGD`.

    Notes
    -----
    McMahan et al., *Ad click prediction: a view from the trenches*, KDD 2013, algorithm 1.
    """

    name = "ftrl"
    about = _about("McMahan et al. 2013, alg. 1")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        alpha: float = 0.1,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        loss: Loss = "logistic",
        bias: bool = True,
    ) -> None:
        steps = positive(self.name, "alpha", alpha), one_of(self.name, "loss", loss, _LOSSES), positive(self.name, "beta", beta)
        penalties = [within(self.name, key, value, 0.0, np.inf, closed=True) for key, value in (("l1", l1), ("l2", l2))]
        super().__init__(features, classes, Rule.FTRL, *steps, *penalties, bias=bias)
