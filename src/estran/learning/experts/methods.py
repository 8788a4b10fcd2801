"""Hedge, exponentiated gradient, and the leader, perturbed or not."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.experts.model import Weighing
from estran.learning.experts.plan import HEDGE, LEADER, PERTURBED
from estran.learning.settings import positive, within


class Hedge(Weighing):
    """Hedge, also known as the exponentially weighted average forecaster: shares ∝ exp(−η·losses so far).

    Its regret, Σ shares·losses − min Σ losses, is at most √(T ln N / 2) with η = √(8 ln N / T) over T rounds with N experts; and
    at most √(2 T ln N) + √(ln N / 8) with the default, at any T, whatever the losses.

    Parameters
    ----------
    experts, rng
        As for every forecaster.
    eta
        Learning rate; by default it falls with the rounds, as √(8 ln N / t).
    share
        Fixed share: the part of its share that each expert passes on to the others after a round, from 0 to below 1, so that one
        that becomes best later is found. About (changes of the best) / (rounds). It needs ``eta``.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Freund, Schapire, JCSS 55:119, 1997; learning rates: Cesa-Bianchi, Lugosi, *Prediction, Learning, and Games*, 2006, theorems
    2.2 and 2.3; fixed share: Herbster, Warmuth, *Tracking the best expert*, Machine Learning 32:151, 1998. Losses must be from 0 to
    1: scale others, and the bounds with them. With ``share``, the ``losses`` of a snapshot are those that would give the
    shares without it.

    Examples
    --------
    >>> versions = Hedge(3, np.random.default_rng(0))
    >>> versions.learn_many(np.array([[0.0, 1.0, 0.5]] * 20))
    >>> versions.shares().round(3).tolist(), versions.choose()
    ([0.998, 0.0, 0.002], 0)
    """

    name = "hedge"
    about = About("experts", 1, "O(N)", "Cesa-Bianchi, Lugosi 2006, sec. 2.2; Herbster, Warmuth 1998", "experts")

    def __init__(self, experts: int, rng: np.random.Generator, *, eta: float | None = None, share: float = 0.0) -> None:
        within(self.name, "share", share, 0.0, 1.0, closed=True)
        if eta is not None:
            positive(self.name, "eta", eta)
        elif share:
            what = f"share is {share!r} where eta is not set"
            raise RequestError(what, where=self.name, remedy="set eta, too: about √(8 ln N / rounds)")
        super().__init__(experts, rng, HEDGE, eta=eta, anytime=8.0 * math.log(max(1, experts)), share=share)


class ExponentiatedGradient(Weighing):
    """Exponentiated gradient: shares mix what the experts predict, and follow the gradient of a convex loss of the mix.

    ``learn`` takes the gradient of the loss with respect to the shares: for predictions x mixed to ŷ = shares·x it is ℓ'(ŷ)·x. The
    shares then fall by the factor exp(−η·gradient). Unlike Hedge, it comes close to the best *mix* of the experts.

    Parameters
    ----------
    experts, rng
        As for every forecaster.
    eta
        Learning rate, at about 1 / (range of the gradients)². For the square loss of predictions from 0 to 1, 2/3 keeps
        Σ (ŷ − y)² ≤ 3/2 · (Σ (u·x − y)² + ln N) for every mix u.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Kivinen, Warmuth, *Exponentiated gradient versus gradient descent for linear predictors*, Information and Computation 132:1,
    1997: EG, section 3; the bound is that of section 5 with c = 1. Gradients may be any finite numbers.

    Examples
    --------
    >>> mix, x, y = ExponentiatedGradient(2, np.random.default_rng(0), eta=0.5), np.array([0.2, 1.0]), 0.4
    >>> for _ in range(200):
    ...     mix.learn(2 * (mix.shares() @ x - y) * x)
    >>> mix.shares().round(2).tolist()
    [0.75, 0.25]
    """

    name = "eg"
    about = About("experts", 1, "O(N)", "Kivinen, Warmuth 1997, sec. 3", "experts")

    def __init__(self, experts: int, rng: np.random.Generator, *, eta: float = 2 / 3) -> None:
        super().__init__(experts, rng, HEDGE, eta=positive(self.name, "eta", eta), low=-math.inf, high=math.inf)

    def learn(self, losses: NDArray[np.float64]) -> None:
        """Learn the gradient of a round's loss with respect to the shares, shape (experts,); raises as `learn_many`."""
        super().learn(losses)


class FollowTheLeader(Weighing):
    """Follow the leader: all to the expert with the least losses so far, to the first of them where they are several.

    It is best where losses are independent draws, and loses as much as can be lost where they are not: two experts that are wrong
    in turn keep it wrong for ever. The baseline of the others.

    Notes
    -----
    Cesa-Bianchi, Lugosi 2006, section 3.2. Losses must be from 0 to 1. Nothing is drawn.

    Examples
    --------
    >>> leader = FollowTheLeader(2, np.random.default_rng(0))
    >>> leader.learn(np.array([0.3, 0.2]))
    >>> leader.choose(), leader.shares().tolist()
    (1, [0.0, 1.0])
    """

    name = "ftl"
    about = About("experts", 0, "O(N)", "Cesa-Bianchi, Lugosi 2006, sec. 3.2", "experts")

    def __init__(self, experts: int, rng: np.random.Generator) -> None:
        super().__init__(experts, rng, LEADER)


class FollowThePerturbedLeader(Weighing):
    """Follow the perturbed leader: each round, each expert gets an advance drawn from Exp(ε), and the least loss leads.

    `choose` draws anew at each call. `shares` are the exact chances to lead, by one integral an expert.

    Parameters
    ----------
    experts, rng
        As for every forecaster.
    epsilon
        Rate of the advances, whose mean is 1/ε; by default it falls with the rounds, as √((1 + ln N) / t), from 1 on.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Kalai, Vempala, *Efficient algorithms for online decision problems*, JCSS 71:291, 2005, section 1: the perturbed leading expert.
    Over T rounds it is expected to lose at most e^ε (L + H/ε), where L is the loss of the best expert and H = 1 + 1/2 + … + 1/N.
    The falling rate is after Hutter, Poland, *Adaptive online prediction by following the perturbed leader*, JMLR 6:639, 2005; with
    it the expected regret is at most 4.44 √((1 + ln N) T), which tests hold it to. Losses must be from 0 to 1.

    Examples
    --------
    >>> perturbed = FollowThePerturbedLeader(2, np.random.default_rng(0), epsilon=0.5)
    >>> perturbed.learn(np.array([0.0, 1.0]))
    >>> perturbed.shares().round(3).tolist()
    [0.697, 0.303]
    """

    name = "ftpl"
    about = About("experts", 1, "O(N); shares O(N²)", "Kalai, Vempala 2005, sec. 1", "experts")

    def __init__(self, experts: int, rng: np.random.Generator, *, epsilon: float | None = None) -> None:
        if epsilon is not None:
            positive(self.name, "epsilon", epsilon)
        at_least = max(1, experts) if isinstance(experts, int) else 1
        nodes, weights = np.polynomial.legendre.leggauss((at_least + 1) // 2)
        rule = np.array([(nodes + 1) / 2, weights / 2])
        super().__init__(experts, rng, PERTURBED, eta=epsilon, anytime=1 + math.log(at_least), limit=1.0, rule=rule)
