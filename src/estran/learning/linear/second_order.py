"""Second-order linear learners: they also know how sure they are of each weight, and move the unsure ones most.

Each keeps a covariance S beside its weights w: all of it (``covariance: full``, O(d²)), or its diagonal alone (the default, O(d)),
where 1/S is updated column by column. m is a row's margin, v = x·S·x its variance, and S begins as ``prior`` times the identity.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal

import numpy as np

from estran.learning.about import About
from estran.learning.linear.model import Linear
from estran.learning.linear.plan import Memory, Rule
from estran.learning.settings import one_of, positive, within

Covariance = Literal["diagonal", "full"]


def _about(source: str) -> About:
    return About("linear", 2, "O(K·d), full O(K·d²)", source)


class SecondOrder(Linear):
    """What the second-order rules share.

    Parameters
    ----------
    features, classes
        As for every learner.
    covariance
        ``diagonal`` or ``full``.
    prior
        Variance of each weight before the first row.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        rule: Rule,
        *settings: float,
        covariance: str,
        prior: float,
        bias: bool,
        fade: float = 0.0,
    ) -> None:
        memory = (Memory.DIAGONAL, Memory.FULL)[one_of(self.name, "covariance", covariance, ("diagonal", "full"))]
        prior = positive(self.name, "prior", prior)
        super().__init__(features, classes, rule, *settings, bias=bias, memory=memory, prior=prior, fade=fade)


class SOP(SecondOrder):
    """Second-order perceptron: scores w·S'·x with S'⁻¹ = S⁻¹ + x·xᵀ; on a mistake w ← w + y·x and S ← S'.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    covariance
        ``diagonal`` or ``full``.
    prior
        Variance of each weight before the first row; 1/a in the paper.
    bias
        Learn a constant beside the features.

    Notes
    -----
    Cesa-Bianchi, Conconi, Gentile, *A second-order perceptron algorithm*, SIAM J. Comput. 34:640, 2005.
    """

    name = "sop"
    about = _about("Cesa-Bianchi, Conconi, Gentile 2005")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.SOP, covariance=covariance, prior=prior, bias=bias)


class CW(SecondOrder):
    """Confidence-weighted, by variance: the smallest change (in divergence) with m ≥ φ·v.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    eta
        Confidence wanted in each answer, above one half; φ is its normal quantile.

    Notes
    -----
    Dredze, Crammer, Pereira, *Confidence-weighted linear classification*, ICML 2008: w ← w + α·y·S·x, S⁻¹ ← S⁻¹ + 2αφ·x·xᵀ,
    with α the positive root of 2φv²α² + v(1 + 2φm)α + m − φv = 0.
    """

    name = "cw"
    about = _about("Dredze, Crammer, Pereira 2008")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        eta: float = 0.7,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.CW, _quantile(self.name, eta), covariance=covariance, prior=prior, bias=bias)


class ECCW(SecondOrder):
    """Exact convex confidence-weighted: the smallest change with P(right) ≥ η, that is m ≥ φ·√v.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    eta
        Confidence wanted in each answer, above one half; φ is its normal quantile.

    Notes
    -----
    Crammer, Dredze, Pereira, *Exact convex confidence-weighted learning*, NIPS 2008. The survey's and LIBOL's "CW" is this one.
    """

    name = "eccw"
    about = _about("Crammer, Dredze, Pereira 2008")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        eta: float = 0.7,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.ECCW, _quantile(self.name, eta), covariance=covariance, prior=prior, bias=bias)


class AROW(SecondOrder):
    """Adaptive regularisation of weights: w ← w + ℓ/(v + r)·y·S·x, S⁻¹ ← S⁻¹ + x·xᵀ/r while ℓ = max(0, 1 − m) > 0.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    r
        Larger steps less, and grows sure more slowly.

    Notes
    -----
    Crammer, Kulesza, Dredze, *Adaptive regularization of weight vectors*, NIPS 2009, figure 1.

    Examples
    --------
    >>> learner = AROW(1, 2, np.random.default_rng(0), bias=False)
    >>> learner.learn_many(np.array([[1.0]]), np.array([1]))
    >>> {name: part.tolist() for name, part in learner.state().items() if name != "clock"}
    {'weights': [[0.5]], 'variance': [[0.5]]}
    """

    name = "arow"
    about = _about("Crammer, Kulesza, Dredze 2009, fig. 1")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        r: float = 1.0,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.AROW, positive(self.name, "r", r), covariance=covariance, prior=prior, bias=bias)


class NAROW(SecondOrder):
    """AROW with r = v/(b·v − 1), which learns only from rows of variance above 1/b.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    b
        Smaller stops earlier.

    Notes
    -----
    Orabona and Crammer, *New adaptive algorithms for online classification*, NIPS 2010.
    """

    name = "narow"
    about = _about("Orabona, Crammer 2010: NAROW")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        b: float = 1.0,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.NAROW, positive(self.name, "b", b), covariance=covariance, prior=prior, bias=bias)


class SCW1(SecondOrder):
    """Soft confidence-weighted I: as ECCW, with steps of at most C.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    eta
        Confidence wanted in each answer, above one half; φ is its normal quantile.
    c
        Price of not reaching it: larger is more aggressive.

    Notes
    -----
    Wang, Zhao, Hoi, *Exact soft confidence-weighted learning*, ICML 2012, proposition 1.
    """

    name = "scw1"
    about = _about("Wang, Zhao, Hoi 2012, prop. 1")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        eta: float = 0.75,
        c: float = 1.0,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(
            features,
            classes,
            Rule.SCW1,
            _quantile(self.name, eta),
            positive(self.name, "c", c),
            covariance=covariance,
            prior=prior,
            bias=bias,
        )


class SCW2(SecondOrder):
    """Soft confidence-weighted II: as ECCW, with the missing confidence squared in the objective.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    eta
        Confidence wanted in each answer, above one half; φ is its normal quantile.
    c
        Price of not reaching it: larger is more aggressive.

    Notes
    -----
    Wang, Zhao, Hoi, ICML 2012, proposition 2.
    """

    name = "scw2"
    about = _about("Wang, Zhao, Hoi 2012, prop. 2")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        eta: float = 0.9,
        c: float = 1.0,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(
            features,
            classes,
            Rule.SCW2,
            _quantile(self.name, eta),
            positive(self.name, "c", c),
            covariance=covariance,
            prior=prior,
            bias=bias,
        )


class NHERD(SecondOrder):
    """Normal herd: w ← w + ℓ/(v + 1/C)·y·S·x, and S such that v becomes v/(1 + C·v)².

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    c
        Larger is more aggressive.

    Notes
    -----
    Crammer and Lee, *Learning via Gaussian herding*, NIPS 2010, full and diagonal ("exact") updates of S⁻¹ by (2C + C²v)·x·xᵀ.
    """

    name = "nherd"
    about = _about("Crammer, Lee 2010")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        c: float = 1.0,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.NHERD, positive(self.name, "c", c), covariance=covariance, prior=prior, bias=bias)


class IELLIP(SecondOrder):
    """Improved ellipsoid method: on a mistake w ← w + (1 − m)/v·y·S·x, S ← (S − cₜ·S·x·xᵀ·S/v)/(1 − cₜ), cₜ = c·bᵗ.

    Parameters
    ----------
    features, classes, rng, covariance, prior, bias
        As for `SOP`.
    b, c
        How fast the ellipsoid ceases to shrink, and how much it shrinks at first; both below 1.

    Notes
    -----
    Yang, Jin, Ye, *Online learning by ellipsoid method*, ICML 2009.
    """

    name = "iellip"
    about = _about("Yang, Jin, Ye 2009")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        b: float = 0.3,
        c: float = 0.1,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        bias: bool = True,
    ) -> None:
        first = within(self.name, "c", c, 0.0, 1.0)
        super().__init__(
            features,
            classes,
            Rule.IELLIP,
            within(self.name, "b", b, 0.0, 1.0),
            covariance=covariance,
            prior=prior,
            bias=bias,
            fade=first,
        )


def _quantile(learner: str, eta: float) -> float:
    return NormalDist().inv_cdf(within(learner, "eta", eta, 0.5, 1.0))
