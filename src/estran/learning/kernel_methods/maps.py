"""Kernel learners that map rows to features in which a linear learner comes near to the kernel."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.kernel_methods.model import KernelLearner, loops
from estran.learning.kernel_methods.plan import FILLED, KernelName, Plan, Rule, shape
from estran.learning.learner import Features, Labels, LearnerError, State, StateError
from estran.learning.rows import checked_rows, shaped_rows, writable
from estran.learning.settings import one_of, positive, whole
from estran.learning.snapshots import check_fits

Loss: TypeAlias = Literal["hinge", "logistic", "squared_hinge"]
_LOSSES: Final = ("hinge", "logistic", "squared_hinge")
_LEAST: Final = 1e-10
"""Eigenvalues below this much of the largest one are rounding."""


class Mapped(KernelLearner):
    """What learners with a map have in common: rows are mapped, and a linear learner has the rest to do."""

    width: int
    """Features that rows are mapped to."""

    def map(self, x: Features) -> NDArray[np.float64]:
        """What rows are mapped to, shape (n, width).

        Raises
        ------
        LearnerError
            If the rows do not fit, or there is no map yet.
        NotFiniteError
            If a value is not finite, or the length of a row overflows.
        """
        rows = writable(shaped_rows(x, self.features, self.name))
        z = np.empty((len(rows), self.width))
        done, fine = self._map(rows, z)
        if not fine:
            checked_rows(rows, self.features, self.name)
            raise self._overflow(done, len(rows))
        return z

    def _map(self, rows: Features, z: NDArray[np.float64]) -> tuple[int, bool]:
        """Fill in the maps of rows; how many were gone through, and whether all was well."""
        raise NotImplementedError

    def _mapped_scores(self, rows: Features, weights: NDArray[np.float64], found: NDArray[np.float64]) -> tuple[int, bool]:
        z = np.empty((len(rows), self.width))
        done, fine = self._map(rows, z)
        if fine:
            done, fine = loops("maps_kernel").score(weights, z, found)
        return done, fine


class Fourier(Mapped):
    """Online gradient descent on random Fourier features (FOGD): as many numbers, whatever was seen, and no budget to tune.

    Parameters
    ----------
    features, classes
        As for every learner.
    rng
        Source of the seed from which the frequencies are drawn; a snapshot has the seed only.
    frequencies
        D; a row becomes 2·D features, and the kernel's error falls as 1/√D.
    kernel
        ``gaussian`` exp(−γ·|x − s|²), or ``laplacian`` exp(−γ·Σ|xⱼ − sⱼ|).
    gamma
        γ; 1/features if not given, for rows scaled to about 1.
    learning_rate
        η of every step.
    loss
        Of the margin m: ``hinge`` max(0, 1 − m), ``logistic`` log(1 + e⁻ᵐ), or ``squared_hinge`` max(0, 1 − m)².

    Notes
    -----
    Lu, Hoi, Wang, Zhao, Liu, *Large scale online kernel learning*, JMLR 17(47), 2016, FOGD; Rahimi, Recht, *Random features for
    large-scale kernel machines*, NIPS 2007. z(x) = (cos ω₁·x, …, sin ω₁·x, …)/√D, so that z(x)·z(s) is K(x, s) on average and
    |z(x)| = 1; ω is normal of variance 2γ, or Cauchy of scale γ.

    Examples
    --------
    >>> xor = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> learner = Fourier(2, 2, np.random.default_rng(0), frequencies=50)
    >>> for _ in range(10):
    ...     learner.learn_many(*xor)
    >>> learner.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "fourier"
    about = About("kernel", 1, "O(D·(d + K))", "Lu et al. 2016: FOGD")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        frequencies: int = 200,
        kernel: Literal["gaussian", "laplacian"] = "gaussian",
        gamma: float | None = None,
        learning_rate: float = 0.5,
        loss: Loss = "hinge",
    ) -> None:
        super().__init__(features, classes)
        self._cauchy = bool(one_of(self.name, "kernel", kernel, ("gaussian", "laplacian")))
        self._gamma = 1.0 / max(1, features) if gamma is None else positive(self.name, "gamma", gamma)
        self._steps = np.array([positive(self.name, "learning_rate", learning_rate), one_of(self.name, "loss", loss, _LOSSES)])
        count = whole(self.name, "frequencies", frequencies)
        self._seed = float(rng.integers(2**53))
        self._frequencies: NDArray[np.float64] | None = None
        self._shape, self.width = (features, count), 2 * count
        self._live, self._spare = np.zeros((2, self.prototypes, self.width))

    def state(self) -> State:
        """Copies of the ``weights``, shape (prototypes, 2·D), and the ``seed`` of the frequencies."""
        return {"seed": np.array([self._seed]), "weights": self._live.copy()}

    def load(self, state: State) -> None:
        """Replace weights and frequencies.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or the seed is not a whole number from 0.
        """
        check_fits(self.name, self.state(), state)
        seed = float(state["seed"][0])
        if not (seed.is_integer() and 0 <= seed < 2**53):
            remedy = "load snapshots as state() makes them"
            raise StateError(f"the seed of the snapshot is {seed:g}", where=self.name, remedy=remedy)
        if seed != self._seed:
            self._seed, self._frequencies = seed, None
        self._live[...] = state["weights"]

    def _learn(self, rows: Features, labels: Labels, answers: Labels) -> tuple[int, bool]:
        waves = self._waves()
        done, fine = loops("maps_kernel").learn_fourier(self._steps, waves, self._live, self._spare, rows, labels, answers)
        if fine:
            self._live, self._spare = self._spare, self._live
        return done, fine

    def _decide(self, rows: Features, found: NDArray[np.float64]) -> tuple[int, bool]:
        return self._mapped_scores(rows, self._live, found)

    def _map(self, rows: Features, z: NDArray[np.float64]) -> tuple[int, bool]:
        done, fine = loops("maps_kernel").map_fourier(self._waves(), rows, z)
        return done, fine

    def _waves(self) -> NDArray[np.float64]:
        """The frequencies, drawn when they are first needed."""
        if self._frequencies is None:
            self._frequencies = np.empty(self._shape)
            loops("functions_kernel").draw(self._seed, self._gamma, self._cauchy, self._frequencies)
        return self._frequencies


class Nystroem(Mapped):
    """Online gradient descent on Nyström's map (NOGD): the first rows that had a loss are the landmarks of a low-rank kernel.

    Until there are as many as the budget, it is kernelised online gradient descent on them. Then the eigenvectors of their Gram
    matrix span the space in which it goes on, linearly, from the weights that the landmarks had. That moment costs O(B³), once.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    budget
        B, how many landmarks.
    rank
        How many eigenvectors, up to the budget, which it is if not given. The paper takes a fifth.
    kernel, gamma, degree, offset
        As for `estran.learning.kernel_methods.budget.KernelPerceptron`.
    learning_rate
        η of every step.
    loss
        As for `Fourier`; with ``logistic`` every row has a loss.

    Notes
    -----
    Lu, Hoi, Wang, Zhao, Liu, *Large scale online kernel learning*, JMLR 17(47), 2016, NOGD; Williams, Seeger, *Using the Nyström
    method to speed up kernel machines*, NIPS 2000. z(x) = D^(−1/2)·Vᵀ·(K(s₁, x), …), with D the largest eigenvalues of the Gram
    matrix and V their vectors, the largest number of each positive; w = D^(1/2)·Vᵀ·α to begin with. Eigenvalues below 10⁻¹⁰ of the
    largest are left out.

    Examples
    --------
    >>> xor = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> learner = Nystroem(2, 2, np.random.default_rng(0), budget=4)
    >>> for _ in range(10):
    ...     learner.learn_many(*xor)
    >>> learner.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "nystroem"
    about = About("kernel", 1, "O(B·(d + rank) + K·rank)", "Lu et al. 2016: NOGD")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        budget: int = 100,
        rank: int | None = None,
        kernel: KernelName = "gaussian",
        gamma: float | None = None,
        degree: int = 3,
        offset: float = 1.0,
        learning_rate: float = 0.5,
        loss: Loss = "hinge",
    ) -> None:
        super().__init__(features, classes)
        self.budget = whole(self.name, "budget", budget)
        self.width = budget if rank is None else whole(self.name, "rank", rank)
        if self.width > budget:
            remedy = "give a rank up to the budget"
            raise RequestError(f"rank is {rank}, but the budget {budget}", where=self.name, remedy=remedy)
        steps = positive(self.name, "learning_rate", learning_rate), float(one_of(self.name, "loss", loss, _LOSSES))
        form = shape(self.name, features, kernel, gamma, degree, offset)
        self._steps = np.array(steps)
        self._plan = Plan(Rule.OGD, form, self.prototypes, features, budget, steps)
        self._vector = self._plan.vector()
        self._first, self._first_spare = self._plan.fresh(0.0), self._plan.fresh(0.0)
        self._stale = np.zeros(budget, dtype=np.bool_)
        self._basis = np.zeros((budget, self.width))
        self._live, self._spare = np.zeros((2, self.prototypes, self.width))

    @property
    def settled(self) -> bool:
        """Whether the landmarks are found."""
        return bool(self._first[FILLED] == self.budget)

    def state(self) -> State:
        """Copies of all that is remembered, by name.

        ``supports``, shape (features, budget), the landmarks, one a column; their ``squares`` |s|²; the ``coefficients`` that they
        had, shape (prototypes, budget); ``clock``, of which the first number is how many there are; and, once there are all of
        them, ``basis`` V·D^(−1/2), shape (budget, rank), and ``weights``, shape (prototypes, rank).
        """
        first = {name: view.copy() for name, view in self._plan.views(self._first).items()}
        return {**first, "basis": self._basis.copy(), "weights": self._live.copy()}

    def load(self, state: State) -> None:
        """Replace all that is remembered.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or the clock is out of range.
        """
        check_fits(self.name, self.state(), state)
        self._plan.check(self.name, state)
        for name, part in self._plan.views(self._first).items():
            part[...] = state[name]
        self._stale[:] = True
        self._basis[...], self._live[...] = state["basis"], state["weights"]

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs before and after the landmarks are found."""
        learner = cls(1, 2, np.random.default_rng(0), budget=1)
        for row in (np.zeros((0, 1)), np.ones((1, 1))):
            learner.predict_then_learn(row, np.zeros(len(row), dtype=np.int64))
            learner.predict(row)

    def _learn(self, rows: Features, labels: Labels, answers: Labels) -> tuple[int, bool]:
        if self.settled:
            return self._go_on(self._first, self._basis, self._live, rows, labels, answers)
        done, fine = loops("budget_kernel").learn(self._vector, self._first, self._first_spare, self._stale, rows, labels, answers)
        if fine and self._first_spare[FILLED] == self.budget:
            basis, weights, fine = self._settle(self._first_spare)
            if fine:
                more, fine = self._go_on(self._first_spare, basis, weights, rows[done:], labels[done:], answers[done:])
                done += more
            if fine:
                self._basis = basis
        if fine:
            self._first, self._first_spare = self._first_spare, self._first
        return done, fine

    def _go_on(self, first: Any, basis: Any, weights: Any, rows: Features, labels: Labels, answers: Labels) -> tuple[int, bool]:
        """Learn linearly, from some weights into those that are live if all is well."""
        given = self._steps, self._vector, first, basis, weights, self._spare
        done, fine = loops("maps_kernel").learn_nystroem(*given, rows, labels, answers)
        if fine:
            self._live, self._spare = self._spare, self._live
        return done, fine

    def _settle(self, first: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
        """Basis and weights of the map that the landmarks give, and whether their Gram matrix is finite."""
        gram = np.empty((self.budget, self.budget))
        loops("maps_kernel").gram(self._vector, first, gram)
        if not np.isfinite(gram).all():
            return gram, gram, False
        values, vectors = np.linalg.eigh(gram)
        values, vectors = values[::-1][: self.width], vectors[:, ::-1][:, : self.width]
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(self.width)]
        vectors = vectors * np.where(largest < 0, -1.0, 1.0)
        roots = np.sqrt(np.where(values > _LEAST * values[0], values, 0.0))
        inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
        coefficients = self._plan.views(first)["coefficients"]
        return np.ascontiguousarray(vectors * inverse), np.ascontiguousarray(coefficients @ vectors * roots), True

    def _decide(self, rows: Features, found: NDArray[np.float64]) -> tuple[int, bool]:
        if self.settled:
            return self._mapped_scores(rows, self._live, found)
        done, fine = loops("budget_kernel").decide(self._vector, self._first, rows, found)
        return done, fine

    def _map(self, rows: Features, z: NDArray[np.float64]) -> tuple[int, bool]:
        if not self.settled:
            what = f"there are {self._first[FILLED]:.0f} landmarks of {self.budget}, so there is no map yet"
            raise LearnerError(what, where=self.name, remedy="learn more rows first")
        done, fine = loops("maps_kernel").map_nystroem(self._vector, self._first, self._basis, rows, z)
        return done, fine
