"""Sparse linear learners: first-order rules that keep the weights of features without use at exactly zero."""

from __future__ import annotations

import importlib
import math
from typing import Any, ClassVar, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.learner import State, StateError
from estran.learning.linear.first_order import Loss
from estran.learning.linear.model import Linear
from estran.learning.linear.plan import Rule
from estran.learning.settings import one_of, positive, whole, within
from estran.learning.snapshots import check_fits

_LOSSES: Final = ("hinge", "logistic", "squared_hinge")
Schedule = Literal["root", "constant"]


def _about(source: str) -> About:
    return About("sparse", 1, "O(K·d)", source)


class Sparse(Linear):
    """A linear classifier whose weights shrink at every row, and so become exactly zero where no gradient holds them up.

    A row costs as much as it has nonzero features: weights are shrunk when they are next looked at, to the same effect as at once.
    The bias does not shrink. ``state()["weights"]`` are the weights as they are by now; what they follow from is beside them.
    """

    compiled: ClassVar[str] = "estran.learning.linear.sparse_kernel"

    def __init__(
        self, features: int, classes: int, rule: Rule, first: float, loss: str, l1: float, bias: bool, *more: float
    ) -> None:
        settings = first, one_of(self.name, "loss", loss, _LOSSES), within(self.name, "l1", l1, 0.0, math.inf, closed=True)
        super().__init__(features, classes, rule, *settings, bool(bias), *more, bias=bias)
        parts = self._plan.views(self._live)
        if rule is Rule.TRUNCATED:
            parts["rate"][...] = 1.0
        self._pace(parts)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights as they are by now, shape (prototypes, features + 1), the bias last; a copy."""
        return self._weights(self._live)

    @property
    def sparsity(self) -> float:
        """Share of the features' weights that are exactly zero."""
        return float((self.weights[:, : self.features] == 0.0).mean()) if self.features else 1.0

    def state(self) -> State:
        """Copies of ``weights``, of the numbers from which they follow, and of the ``clock``."""
        parts = self._plan.views(self._live)
        return {"weights": self.weights} | {name: parts[name].copy() for name in parts if name not in self._derived}

    def load(self, state: State) -> None:
        """Replace all that is remembered.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or the weights do not follow from the others.
        """
        check_fits(self.name, self.state(), state)
        parts = self._plan.views(self._spare)
        for name in parts.keys() - self._derived:
            parts[name][...] = state[name]
        self._pace(parts)
        if not np.array_equal(self._weights(self._spare), state["weights"]):
            remedy = "load snapshots as they were made, of learners with the same settings"
            raise StateError("weights of the snapshot do not follow from what is beside them", where=self.name, remedy=remedy)
        self._live, self._spare = self._spare, self._live

    @classmethod
    def warm(cls) -> None:
        """Compile what learning and snapshots need, or load it from numba's cache, so that a run does not wait for it."""
        super().warm()
        cast("Any", cls)(1, 2, np.random.default_rng(0)).state()

    @property
    def _derived(self) -> frozenset[str]:
        """Parts that follow from others, and are in no snapshot."""
        return frozenset({"rate"} if self._plan.rule in (Rule.ADA_FOBOS, Rule.ADA_RDA) else ())

    def _pace(self, parts: dict[str, NDArray[Any]]) -> None:
        """Make what follows from other parts, in the very terms of the kernel."""
        if "squares" in parts:
            first, delta = self._plan.settings[0], self._plan.settings[4]
            parts["rate"][...] = first / (delta + np.sqrt(parts["squares"]))

    def _weights(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.empty((self._plan.prototypes, self._plan.width))
        importlib.import_module(self.compiled).effective(self._vector, numbers, found)
        return found


class TruncatedGradient(Sparse):
    """Truncated gradient: gradient descent; after every K rows, weights of at most θ move K·η·g towards zero.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    learning_rate
        η.
    l1
        g, the gravity per row.
    theta
        θ: larger weights do not shrink. None lets all shrink; with ``every: 1`` it is then `FOBOS`.
    every
        K, rows.
    schedule
        Steps of ``constant`` length η, as in the paper, or η/√t (``root``).
    loss
        As for `OGD`.

    Notes
    -----
    Langford, Li, Zhang, *Sparse online learning via truncated gradient*, JMLR 10:777, 2009, equations 4 to 6.

    Examples
    --------
    >>> learner = TruncatedGradient(2, 2, np.random.default_rng(0), learning_rate=0.5, l1=0.3, theta=0.4, bias=False)
    >>> learner.learn_many(np.array([[1.0, 0.5]]), np.array([1]))  # one weight is beyond θ, the other shrinks
    >>> learner.weights.round(6).tolist()
    [[0.5, 0.1]]
    """

    name = "truncated-gradient"
    about = _about("Langford, Li, Zhang 2009, eq. 4–6")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 1.0,
        l1: float = 1e-3,
        theta: float | None = None,
        every: int = 1,
        schedule: Schedule = "root",
        loss: Loss = "hinge",
        bias: bool = True,
    ) -> None:
        limit = math.inf if theta is None else positive(self.name, "theta", theta)
        more = limit, whole(self.name, "every", every), one_of(self.name, "schedule", schedule, ("root", "constant"))
        rate = positive(self.name, "learning_rate", learning_rate)
        super().__init__(features, classes, Rule.TRUNCATED, rate, loss, l1, bias, *more)


class FOBOS(Sparse):
    """Forward-backward splitting: a gradient step η/√t, then each weight moves λ·η/√t towards zero. With λ = 0 it is `OGD`.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    learning_rate
        η.
    l1
        λ.
    loss
        As for `OGD`.

    Notes
    -----
    Duchi and Singer, *Efficient online and batch learning using forward backward splitting*, JMLR 10:2899, 2009: equations 2 and 3
    with the ℓ₁ norm, both steps of one length.

    Examples
    --------
    >>> learner = FOBOS(2, 2, np.random.default_rng(0), l1=0.25, bias=False)
    >>> learner.learn_many(np.array([[1.0, 0.125]]), np.array([1]))
    >>> learner.weights.tolist(), learner.sparsity
    ([[0.75, 0.0]], 0.5)
    """

    name = "fobos"
    about = _about("Duchi, Singer 2009, eq. 2–3, ℓ₁")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 1.0,
        l1: float = 1e-3,
        loss: Loss = "hinge",
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.FOBOS, positive(self.name, "learning_rate", learning_rate), loss, l1, bias)


class RDA(Sparse):
    """Regularised dual averaging: w minimises ḡ·w + λ|w|₁ + γ/(2√t)·|w|², ḡ the mean of all gradients.

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    gamma
        γ: larger ones step less.
    l1
        λ: a weight is zero where its mean gradient is no larger.
    loss
        As for `OGD`.

    Notes
    -----
    Xiao, *Dual averaging methods for regularized stochastic learning and online optimization*, JMLR 11:2543, 2010, equation 10:
    w = −(√t/γ)·soft(ḡ, λ).

    Examples
    --------
    >>> learner = RDA(2, 2, np.random.default_rng(0), gamma=2.0, l1=0.25, bias=False)
    >>> learner.learn_many(np.array([[1.0, 0.125]]), np.array([1]))
    >>> learner.weights.tolist()
    [[0.375, 0.0]]
    """

    name = "rda"
    about = _about("Xiao 2010, eq. 10")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        gamma: float = 1.0,
        l1: float = 1e-3,
        loss: Loss = "hinge",
        bias: bool = True,
    ) -> None:
        super().__init__(features, classes, Rule.RDA, positive(self.name, "gamma", gamma), loss, l1, bias, 0.0)


class EnhancedRDA(Sparse):
    """RDA that starts more strictly: with λ + γρ/√t for λ.

    Parameters
    ----------
    features, classes, rng, bias, gamma, l1, loss
        As for `RDA`.
    rho
        ρ: how much more strictly.

    Notes
    -----
    Xiao, JMLR 11:2543, 2010, algorithm 2.

    Examples
    --------
    >>> learner = EnhancedRDA(2, 2, np.random.default_rng(0), gamma=2.0, l1=0.25, rho=0.125, bias=False)
    >>> learner.learn_many(np.array([[1.0, 0.375]]), np.array([1]))
    >>> learner.weights.tolist()
    [[0.25, 0.0]]
    """

    name = "enhanced-rda"
    about = _about("Xiao 2010, alg. 2")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        gamma: float = 1.0,
        l1: float = 1e-3,
        rho: float = 1e-2,
        loss: Loss = "hinge",
        bias: bool = True,
    ) -> None:
        more = within(self.name, "rho", rho, 0.0, math.inf, closed=True)
        super().__init__(features, classes, Rule.RDA, positive(self.name, "gamma", gamma), loss, l1, bias, more)


class AdaFOBOS(Sparse):
    """FOBOS with AdaGrad's steps: a weight's gradient step and shrinkage are both times η/(δ + √Σg²).

    Parameters
    ----------
    features, classes, rng, bias
        As for `Perceptron`.
    learning_rate
        η.
    l1
        λ.
    delta
        δ: keeps first steps finite.
    loss
        As for `OGD`.

    Notes
    -----
    Duchi, Hazan, Singer, *Adaptive subgradient methods for online learning and stochastic optimization*, JMLR 12:2121, 2011: figure
    1, composite mirror descent with diagonal matrices and ℓ₁. With λ = 0 it is `AdaGrad`.

    Examples
    --------
    >>> learner = AdaFOBOS(2, 2, np.random.default_rng(0), learning_rate=1.0, l1=0.25, delta=1.0, loss="hinge", bias=False)
    >>> learner.learn_many(np.array([[1.0, 0.125]]), np.array([1]))
    >>> learner.weights.tolist()
    [[0.375, 0.0]]
    """

    name = "ada-fobos"
    about = _about("Duchi, Hazan, Singer 2011, fig. 1, ℓ₁")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 0.1,
        l1: float = 1e-3,
        delta: float = 1e-8,
        loss: Loss = "logistic",
        bias: bool = True,
    ) -> None:
        rate, least = positive(self.name, "learning_rate", learning_rate), positive(self.name, "delta", delta)
        super().__init__(features, classes, Rule.ADA_FOBOS, rate, loss, l1, bias, least)


class AdaRDA(Sparse):
    """RDA with AdaGrad's steps: w = −η·t/(δ + √Σg²)·soft(ḡ, λ), ḡ the mean of all gradients.

    Parameters
    ----------
    features, classes, rng, bias, learning_rate, l1, delta, loss
        As for `AdaFOBOS`.

    Notes
    -----
    Duchi, Hazan, Singer, JMLR 12:2121, 2011: figure 1, primal-dual subgradient with diagonal matrices and ℓ₁.

    Examples
    --------
    >>> learner = AdaRDA(2, 2, np.random.default_rng(0), learning_rate=1.0, l1=0.25, delta=1.0, loss="hinge", bias=False)
    >>> learner.learn_many(np.array([[1.0, 0.125]]), np.array([1]))
    >>> learner.weights.tolist()
    [[0.375, 0.0]]
    """

    name = "ada-rda"
    about = _about("Duchi, Hazan, Singer 2011, fig. 1, ℓ₁")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 0.1,
        l1: float = 1e-3,
        delta: float = 1e-8,
        loss: Loss = "logistic",
        bias: bool = True,
    ) -> None:
        rate, least = positive(self.name, "learning_rate", learning_rate), positive(self.name, "delta", delta)
        super().__init__(features, classes, Rule.ADA_RDA, rate, loss, l1, bias, least)
