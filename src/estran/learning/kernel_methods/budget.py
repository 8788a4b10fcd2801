"""Kernel learners that keep at most so many rows."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.kernel_methods.model import KernelLearner, loops
from estran.learning.kernel_methods.plan import KernelName, Plan, Rule, Shape, shape
from estran.learning.learner import Features, Labels, State
from estran.learning.settings import one_of, positive, whole
from estran.learning.snapshots import check_fits

COST: Final = "O(B·(d + K))"


class Budgeted(KernelLearner):
    """What learners with a budget have in common: at most ``budget`` rows, the *supports*, each with a coefficient a class.

    The score of a row x is Σ αᵢ·K(sᵢ, x).
    """

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        rule: Rule,
        kernel: Shape,
        budget: int,
        *settings: float,
    ) -> None:
        super().__init__(features, classes)
        self.budget = whole(self.name, "budget", budget)
        self._plan = Plan(rule, kernel, self.prototypes, features, budget, settings)
        self._vector = self._plan.vector()
        seed = float(rng.integers(2**53)) if rule is Rule.RANDOM else 0.0
        self._live, self._spare = self._plan.fresh(seed), self._plan.fresh(seed)
        self._stale = np.zeros(budget, dtype=np.bool_)

    def state(self) -> State:
        """Copies of all that is remembered, by name.

        ``supports``, shape (features, budget), one a column, in use from the first; their ``squares`` |s|²; ``coefficients``, shape
        (prototypes, budget); ``clock``: supports in use, the oldest one's place, mistakes, Forgetron's Q, seed, draws made; of the
        Projectron also the ``inverse`` of the supports' Gram matrix, shape (budget, budget).
        """
        return {name: view.copy() for name, view in self._plan.views(self._live).items()}

    def load(self, state: State) -> None:
        """Replace all that is remembered.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or the clock is out of range.
        """
        parts = self._plan.views(self._live)
        check_fits(self.name, parts, state)
        self._plan.check(self.name, state)
        for name, part in parts.items():
            part[...] = state[name]
        self._stale[:] = True

    def _learn(self, rows: Features, labels: Labels, answers: Labels) -> tuple[int, bool]:
        done, fine = loops("budget_kernel").learn(self._vector, self._live, self._spare, self._stale, rows, labels, answers)
        if fine:
            self._live, self._spare = self._spare, self._live
        return done, fine

    def _decide(self, rows: Features, found: NDArray[np.float64]) -> tuple[int, bool]:
        done, fine = loops("budget_kernel").decide(self._vector, self._live, rows, found)
        return done, fine


class KernelPerceptron(Budgeted):
    """Kernel perceptron with a budget: every mistake becomes a support of coefficient ±1; when full, another one goes.

    Parameters
    ----------
    features, classes, rng
        As for every learner; drawn from only by ``random``.
    budget
        Most supports that are kept.
    removal
        Which goes when another one comes: the ``oldest``, which follows change, or a ``random`` one (RBP).
    kernel
        ``gaussian`` exp(−γ·|x − s|²), ``polynomial`` (γ·x·s + offset)^degree, or ``linear`` x·s.
    gamma
        γ; 1/features if not given, for rows scaled to about 1.
    degree, offset
        Of the polynomial kernel.

    Notes
    -----
    Freund, Schapire, *Large margin classification using the perceptron algorithm*, Machine Learning 37:277, 1999, for the kernel
    perceptron. Dekel, Shalev-Shwartz, Singer, SIAM J. Comput. 37:1342, 2008, describe removal of the oldest; Cavallanti,
    Cesa-Bianchi, Gentile, *Tracking the best hyperplane with a simple budget perceptron*, Machine Learning 69:143, 2007, the
    randomized budget perceptron.

    Examples
    --------
    >>> xor = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> learner = KernelPerceptron(2, 2, np.random.default_rng(0), budget=4)
    >>> for _ in range(3):
    ...     learner.learn_many(*xor)
    >>> learner.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "kernel-perceptron"
    about = About("kernel", 1, COST, "Cavallanti, Cesa-Bianchi, Gentile 2007")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        budget: int = 100,
        removal: Literal["oldest", "random"] = "oldest",
        kernel: KernelName = "gaussian",
        gamma: float | None = None,
        degree: int = 3,
        offset: float = 1.0,
    ) -> None:
        rule = (Rule.OLDEST, Rule.RANDOM)[one_of(self.name, "removal", removal, ("oldest", "random"))]
        super().__init__(features, classes, rng, rule, shape(self.name, features, kernel, gamma, degree, offset), budget)


class Forgetron(Budgeted):
    """Forgetron, self-tuned: before the oldest support goes, all shrink, just so much that its going does little harm.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    budget
        Most supports that are kept; the paper's bound on mistakes wants 83 or more.
    gamma
        Of the Gaussian kernel exp(−γ·|x − s|²); 1/features if not given. The rule wants K(x, x) ≤ 1, so there is no other kernel.

    Notes
    -----
    Dekel, Shalev-Shwartz, Singer, *The Forgetron: a kernel-based perceptron on a budget*, SIAM J. Comput. 37:1342, 2008, the
    self-tuned Forgetron: φ is the largest number up to 1 with Ψ(φσ, φμ) + Q ≤ 15/32·M, where Ψ(λ, μ) = λ² + 2λ − 2λμ, σ is the
    oldest support's coefficient, μ its margin after the step, M the number of mistakes and Q the sum of all Ψ so far. Several
    classes: the same rule on the vectors (e_label − e_rival) ⊗ φ(x)/√2, which have length 1.

    Examples
    --------
    >>> xor = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> learner = Forgetron(2, 2, np.random.default_rng(0), budget=4)
    >>> for _ in range(3):
    ...     learner.learn_many(*xor)
    >>> learner.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "forgetron"
    about = About("kernel", 1, COST, "Dekel, Shalev-Shwartz, Singer 2008: self-tuned Forgetron")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        budget: int = 100,
        gamma: float | None = None,
    ) -> None:
        kernel = shape(self.name, features, "gaussian", gamma, 1, 0.0)
        super().__init__(features, classes, rng, Rule.FORGETRON, kernel, budget)


class Projectron(Budgeted):
    """Projectron: a mistake that the supports can nearly express moves their coefficients; any other becomes a support.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    budget
        Most supports that are kept: when they are as many, all mistakes are projected. A mistake costs O(B²).
    eta
        How much of a row's vector, in length, may be lost by projection before the budget is reached.
    kernel, gamma, degree, offset
        As for `KernelPerceptron`.

    Notes
    -----
    Orabona, Keshet, Caputo, *Bounded kernel-based online learning*, JMLR 10:2643, 2009, the Projectron (not Projectron++), with the
    incremental inverse of the Gram matrix. There, η alone bounds the number of supports; the budget is an addition, as it is
    used in comparisons with other budgeted learners. Several classes share the supports.

    Examples
    --------
    >>> xor = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> learner = Projectron(2, 2, np.random.default_rng(0), budget=4)
    >>> for _ in range(3):
    ...     learner.learn_many(*xor)
    >>> learner.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "projectron"
    about = About("kernel", 1, f"{COST}; mistakes O(B²)", "Orabona, Keshet, Caputo 2009: Projectron")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        budget: int = 100,
        eta: float = 0.1,
        kernel: KernelName = "gaussian",
        gamma: float | None = None,
        degree: int = 3,
        offset: float = 1.0,
    ) -> None:
        form = shape(self.name, features, kernel, gamma, degree, offset)
        super().__init__(features, classes, rng, Rule.PROJECTRON, form, budget, positive(self.name, "eta", eta))


class BudgetPA(Budgeted):
    """Budgeted passive-aggressive with simple removal: the step to a margin of 1, and the support that it costs least to lose.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    budget
        Most supports that are kept.
    c
        Longest step; smaller for noisier labels.
    kernel, gamma, degree, offset
        As for `KernelPerceptron`.

    Notes
    -----
    Wang, Vucetic, *Online passive-aggressive algorithms on a budget*, AISTATS 2010, BPA-S: support r goes where
    ½|f − fₜ|² + C·loss(f) is least over f = fₜ − αᵣ·K(sᵣ, ·) + β·K(x, ·), that is where αᵣ²·(K(r, r) − K(r, x)²/K(x, x)) is, and
    β = αᵣ·K(r, x)/K(x, x) ± min(C, loss/K(x, x)). Several classes: β has one number each, and the step
    is against the highest rival only.

    Examples
    --------
    >>> xor = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> learner = BudgetPA(2, 2, np.random.default_rng(0), budget=4)
    >>> for _ in range(3):
    ...     learner.learn_many(*xor)
    >>> learner.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "bpa-s"
    about = About("kernel", 1, COST, "Wang, Vucetic 2010: BPA-S")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        budget: int = 100,
        c: float = 1.0,
        kernel: KernelName = "gaussian",
        gamma: float | None = None,
        degree: int = 3,
        offset: float = 1.0,
    ) -> None:
        form = shape(self.name, features, kernel, gamma, degree, offset)
        super().__init__(features, classes, rng, Rule.BPAS, form, budget, positive(self.name, "c", c))
