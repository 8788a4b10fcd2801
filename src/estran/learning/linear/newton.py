"""The online Newton step: second-order learning of the logistic loss."""

from __future__ import annotations

import math

import numpy as np

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.linear.plan import Rule
from estran.learning.linear.second_order import Covariance, SecondOrder
from estran.learning.settings import positive


class ONS(SecondOrder):
    """Online Newton step on the logistic loss: A ← A + ∇∇ᵀ, then w ← w − A⁻¹·∇/γ.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    gamma
        γ: smaller takes longer steps.
    covariance
        ``full``: all of A⁻¹, kept by the formula of Sherman and Morrison. ``diagonal``: A is the diagonal of what it would be.
    prior
        A begins as ε = 1/prior times the identity.
    radius
        Weights, of all prototypes together, are kept within a ball of this radius: after a step outside, the nearest point of the
        ball in the norm of A takes their place. None is no ball.
    bias
        Learn a constant beside the features.

    Notes
    -----
    Hazan, Agarwal, Kale, *Logarithmic regret algorithms for online convex optimization*, Machine Learning 69:169, 2007. Its
    regret of O(d·log T) holds within a ball, with γ no larger than ½·min(1/(4GD), α), where α is the loss's exp-concavity there.
    That is so small that steps are too long to be of use: search γ. The projection is for ``diagonal`` only, where it is a
    search for one multiplier, O(K·d). With ``full`` it takes an eigendecomposition, O(d³), at each row that leaves the ball, so
    it is refused.

    Several classes: the loss is that of the max-score violation, as of `OGD`; each prototype has an A of its own.

    Examples
    --------
    >>> learner = ONS(1, 2, np.random.default_rng(0), gamma=1.0, bias=False)
    >>> learner.learn_many(np.array([[1.0]]), np.array([1]))
    >>> {name: part.tolist() for name, part in learner.state().items() if name != "clock"}
    {'weights': [[0.4]], 'variance': [[0.8]]}
    """

    name = "ons"
    about = About("linear", 2, "O(K·d), full O(K·d²)", "Hazan, Agarwal, Kale 2007: online Newton step")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        gamma: float = 1.0,
        covariance: Covariance = "diagonal",
        prior: float = 1.0,
        radius: float | None = None,
        bias: bool = True,
    ) -> None:
        if radius is not None and covariance == "full":
            raise RequestError(
                "radius does not go with covariance: full, which would need O(d³) for each row",
                where=self.name,
                remedy="set covariance: diagonal, or leave radius out",
            )
        edge = math.inf if radius is None else positive(self.name, "radius", radius)
        gamma = positive(self.name, "gamma", gamma)
        super().__init__(features, classes, Rule.ONS, gamma, edge, covariance=covariance, prior=prior, bias=bias)
