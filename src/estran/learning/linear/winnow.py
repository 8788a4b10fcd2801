"""Winnow: a first-order learner whose steps multiply weights, for rows of which few features matter."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.learner import LearnerError
from estran.learning.linear.model import Linear
from estran.learning.linear.plan import Rule
from estran.learning.rows import is_sparse
from estran.learning.settings import flag, within


class Winnow(Linear):
    """Winnow: on a mistake, weights of the row's features are multiplied by α^(±x). For many features of which few matter.

    Parameters
    ----------
    features, classes, rng
        As for every learner; nothing is drawn.
    alpha
        α, above 1. Smaller is slower, and bears more noise.
    balanced
        Each feature has two positive weights, u⁺ and u⁻ = 1/u⁺, that begin at 1; a row's score is (u⁺ − u⁻)·x. So weights take
        both signs and need no threshold, and a constant is learned beside the features. False is the plain Winnow: one positive
        weight a feature, beginning at 1; answers 1 where w·x > θ. It refuses to learn rows with negative values.
    threshold
        θ of the plain Winnow for two classes; by default half the number of features. More classes compare scores without one.
    bound
        No weight (no u⁺) leaves the range from 1/bound to bound, so none can overflow, or come so near to zero that it never
        grows again. From the default's far-off bounds on, a sum in float64 has long lost sight of all other weights; small
        bounds let concepts be forgotten sooner.
    bias
        Learn a constant beside the features, where balanced.

    Notes
    -----
    Littlestone, *Learning quickly when irrelevant attributes abound: a new linear-threshold algorithm*, Machine Learning 2:285,
    1988, Winnow2: its mistakes on a disjunction of k of d attributes grow by k·log d. Balanced: Littlestone's thesis (UC Santa
    Cruz, 1989), and Dagan, Karov, Roth, *Mistake-driven learning in text categorization*, EMNLP 1997. Since u⁺·u⁻ stays 1, the
    snapshot holds only their difference. Winnow is for values up to 1: exponents of a row that has larger ones are divided by
    its largest.
    Several classes: the label's prototype is promoted, its highest rival's demoted.

    Examples
    --------
    >>> learner = Winnow(4, 2, np.random.default_rng(0), balanced=False)
    >>> learner.predict_then_learn(np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [1.0, 0, 0, 0]]), np.array([1, 1, 1])).tolist()
    [0, 0, 1]
    >>> learner.state()["weights"].tolist()
    [[4.0, 1.0, 1.0, 1.0, -2.0]]
    """

    name = "winnow"
    about = About("linear", 1, "O(K·d)", "Littlestone 1988: Winnow2")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        alpha: float = 2.0,
        balanced: bool = True,
        threshold: float | None = None,
        bound: float = 1e100,
        bias: bool = True,
    ) -> None:
        rate = math.log(within(self.name, "alpha", alpha, 1.0, 1e6))
        bound = within(self.name, "bound", bound, 1.0, 1e150)
        self._balanced = flag(self.name, "balanced", balanced)
        if threshold is not None and (self._balanced or classes > 2):
            instead = "or set balanced: false" if self._balanced else "as scores are compared with each other"
            raise RequestError("there is no threshold", where=self.name, remedy=f"leave it out, {instead}")
        # The plain Winnow's last column is not learned: it holds minus the threshold.
        super().__init__(features, classes, Rule.WINNOW, self._balanced, rate, bound, bias=bias or not self._balanced)
        if not self._balanced:
            limit = features / 2 if threshold is None else within(self.name, "threshold", threshold, 0.0, math.inf)
            weights = self._plan.views(self._live)["weights"]
            weights[:, :features] = 1.0
            weights[:, features] = -limit if classes == 2 else 0.0

    def _refuse(self, x: Any, y: Any, bad: int) -> NoReturn:
        if not self._balanced and y is not None and bad < x.shape[0]:
            row = np.asarray(x.tocsr()[[bad]].toarray()[0] if is_sparse(x) else x[bad])
            if np.isfinite(row).all() and (row < 0).any():
                raise LearnerError(
                    f"row {bad} of {x.shape[0]} has a negative value",
                    where=self.name,
                    remedy="set balanced: true, or scale features to 0 and above; nothing of this chunk was learned",
                )
        super()._refuse(x, y, bad)
        raise AssertionError("unreachable")
