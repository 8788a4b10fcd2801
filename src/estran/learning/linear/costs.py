"""Cost-sensitive linear learners: for them some mistakes are worse than others, or some classes rarer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.linear.model import Linear
from estran.learning.linear.plan import Rule
from estran.learning.settings import flag, one_of, positive, within

PerClass: TypeAlias = float | Sequence[float]
"""One number for all classes, or one for each."""


def _about(source: str) -> About:
    return About("cost-sensitive", 1, "O(K·d)", source)


class PAUM(Linear):
    """Perceptron with uneven margins: w ← w + y·x on every row whose margin is not above its class's own.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    margins
        What rows of each class must exceed: a number for all classes, or a list with one for each. A larger one for the rare
        class moves the boundary away from its rows. They are in units of |x|², the reach of one update.
    bias
        Learn a constant beside the features.

    Notes
    -----
    Li, Zaragoza, Herbrich, Shawe-Taylor, Kandola, *The perceptron algorithm with uneven margins*, ICML 2002. Its learning rate η
    only scales weights and margins together, so it is 1 here. The paper's bias moves by y·R² with R the longest row of the
    training set, which a stream does not know; here it moves by y, as a feature that is always 1. With margins of 0 it is the
    `Perceptron`, to the bit. Several classes: as for `Perceptron`, with the margin of the label's class.

    Examples
    --------
    >>> learner = PAUM(1, 2, np.random.default_rng(0), margins=[0, 2], bias=False)
    >>> learner.learn_many(np.array([[1.0], [1.0], [1.0], [1.0]]), np.array([1, 1, 1, 1]))
    >>> learner.decision_function(np.array([[1.0]])).tolist()
    [3.0]
    """

    name = "paum"
    about = _about("Li et al. 2002: PAUM")

    def __init__(
        self, features: int, classes: int, rng: np.random.Generator, *, margins: PerClass = 1.0, bias: bool = True
    ) -> None:
        each = _each(self.name, "margins", margins, classes)
        super().__init__(features, classes, Rule.PAUM, *each, bias=bias)


class CPA(Linear):
    """Cost-sensitive passive-aggressive: the smallest step after which the margin from a rival is the root of what it would cost.

    Parameters
    ----------
    features, classes, rng, bias
        As for `PAUM`.
    costs
        Of answering class j where class i is right, as a matrix (a list of rows, one for each right class; the diagonal is 0).
        Or a list: of any wrong answer to a row of each class; or one number for all.
    form
        ``max_loss`` (CPA-ML) pushes away the rival whose score and root of cost together are highest, so it also learns from right
        answers of too small a margin. ``prediction`` (CPA-PB) learns from wrong answers only, away from what was answered.
    c
        Longest step, as for `PA1`; the paper's updates have no such bound, which is the default. Give one for noisy labels.

    Notes
    -----
    Crammer, Dekel, Keshet, Shalev-Shwartz, Singer, *Online passive-aggressive algorithms*, JMLR 7:551, 2006, on costs: with
    rival r, ℓ = w_r·x − w_y·x + √ρ(y, r) and τ = ℓ / (2|x|²), w_y ← w_y + τ·x and w_r ← w_r − τ·x. With costs of 1 ``max_loss``
    is `PA`, to the bit. The squares of ℓ together are no less than the cost of all answers.

    Examples
    --------
    >>> learner = CPA(1, 3, np.random.default_rng(0), costs=[[0, 1, 4], [1, 0, 1], [1, 1, 0]], bias=False)
    >>> learner.learn_many(np.array([[1.0]]), np.array([0]))
    >>> learner.decision_function(np.array([[1.0]])).tolist()
    [[1.0, 0.0, -1.0]]
    """

    name = "cpa"
    about = _about("Crammer et al. 2006: CPA-PB, CPA-ML")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        costs: PerClass | Sequence[Sequence[float]] = 1.0,
        form: Literal["prediction", "max_loss"] = "max_loss",
        c: float | None = None,
        bias: bool = True,
    ) -> None:
        kind = one_of(self.name, "form", form, ("prediction", "max_loss"))
        longest = math.inf if c is None else positive(self.name, "c", c)
        roots = np.sqrt(_matrix(self.name, "costs", costs, classes)).ravel().tolist()
        super().__init__(features, classes, Rule.CPA, kind, longest, *roots, bias=bias)


class CSOGD(Linear):
    """Cost-sensitive online gradient descent: hinge losses in which each class's rows weigh ρ.

    Parameters
    ----------
    features, classes, rng, bias
        As for `PAUM`.
    costs
        With the objective ``cost``, ρ of each class: what a wrong answer to one of its rows costs. With ``sum``, how much each
        class's recall counts. A number for all classes, or a list with one for each.
    objective
        ``sum`` is the weighted sum of recalls, which for two classes are specificity and sensitivity: ρ is the class's share in
        ``costs`` divided by how often it has come so far, scaled such that the least ρ is 1. ``cost`` is the cost of all mistakes.
    form
        ``margin`` (CSOGD-I): the loss is max(0, ρ − m). ``gradient`` (CSOGD-II): it is ρ·max(0, 1 − m).
    learning_rate
        η.
    decay
        Steps are η/√t, as those of `OGD`; false is the paper's constant η.

    Notes
    -----
    Wang, Zhao, Hoi, *Cost-sensitive online classification*, IEEE TKDE 26:2425, 2014. The paper knows the frequencies of classes
    beforehand; here they are counted, each class as if it had come once before the first row. Who knows them gives
    ``objective: cost`` and ρ. For two classes of which 1 is the rare one ρ is the paper's: η₁·T₀/(η₀·T₁) and 1. With
    costs of 1 it is `OGD` with the hinge loss, to the bit. The paper has two classes; with more, m is the max-score violation.

    Examples
    --------
    >>> learner = CSOGD(1, 2, np.random.default_rng(0), costs=[1, 3], objective="cost", form="gradient", bias=False)
    >>> learner.learn_many(np.array([[1.0]]), np.array([1]))
    >>> learner.decision_function(np.array([[1.0]])).tolist()
    [3.0]
    """

    name = "csogd"
    about = _about("Wang, Zhao, Hoi 2014: CSOGD-I, CSOGD-II")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        costs: PerClass = 1.0,
        objective: Literal["cost", "sum"] = "sum",
        form: Literal["margin", "gradient"] = "gradient",
        learning_rate: float = 1.0,
        decay: bool = True,
        bias: bool = True,
    ) -> None:
        rate = positive(self.name, "learning_rate", learning_rate)
        kind = one_of(self.name, "form", form, ("margin", "gradient"))
        goal = one_of(self.name, "objective", objective, ("cost", "sum"))
        each = _each(self.name, "costs", costs, classes, above=True)
        shrinking = flag(self.name, "decay", decay)
        super().__init__(features, classes, Rule.CSOGD, rate, kind, shrinking, goal, *each, bias=bias)


def _each(learner: str, name: str, value: Any, classes: int, *, above: bool = False) -> list[float]:
    """A number for every class, from 0, or ``above`` it."""
    numbers = _listed(value)
    if not isinstance(numbers, list):
        numbers = [numbers] * classes
    if len(numbers) != classes:
        remedy = f"give one number, or a list of {classes}, one for each class"
        raise RequestError(f"{name} has {len(numbers)} numbers", where=learner, remedy=remedy)
    return [within(learner, f"{name}[{k}]", number, 0.0, math.inf, closed=not above) for k, number in enumerate(numbers)]


def _matrix(learner: str, name: str, value: Any, classes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Cost of answering each column's class where each row's is right, from a matrix, or what `_each` takes."""
    rows = _listed(value)
    if not (isinstance(rows, list) and any(isinstance(row, list) for row in rows)):
        return np.outer(_each(learner, name, rows, classes), np.ones(classes)) * (1.0 - np.eye(classes))
    if len(rows) != classes or not all(isinstance(row, list) for row in rows):
        raise RequestError(
            f"{name} has {len(rows)} rows", where=learner, remedy=f"give a list of {classes} lists of {classes} numbers"
        )
    found = np.array([_each(learner, f"{name}[{i}]", row, classes) for i, row in enumerate(rows)])
    if found.diagonal().any():
        raise RequestError(f"{name} charges right answers", where=learner, remedy="give a matrix with zeros on its diagonal")
    return found


def _listed(value: Any) -> Any:
    """Sequences and arrays as lists, what is in them, too; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_listed(each) for each in value] if isinstance(value, (list, tuple)) else value
