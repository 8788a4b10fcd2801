"""What all linear regressors have in common: the arrays, the checks, and both habits of calling them."""

from __future__ import annotations

import functools
import importlib
from typing import Any, ClassVar, cast

import numpy as np

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.learner import Features, NotFiniteError, State, StateError
from estran.learning.regression.plan import Plan, Rule
from estran.learning.regression.regressor import NumberHabits
from estran.learning.regression.rows import Numbers, checked_targets, shaped_targets
from estran.learning.rows import checked_rows, compressed, is_sparse, ready, shaped_rows, writable
from estran.learning.settings import flag
from estran.learning.snapshots import check_fits


class LinearRegressor(NumberHabits):
    """Answers w·x, and learns w from a stream, row by row, by one rule.

    Rows are NumPy arrays or SciPy's sparse matrices; both teach the same, bit for bit. Learning and predicting are compiled by
    numba at the first use. Subclasses are the rules; their settings are keywords.
    """

    about: ClassVar[About]

    def __init__(self, features: int, rule: Rule, *settings: float, bias: bool, margin: float = 0.0, prior: float = 1.0) -> None:
        if features < 1:
            raise RequestError(f"rows of {features} features teach nothing", where=self.name, remedy="give data of one or more")
        self.features, self.bias = features, flag(self.name, "bias", bias)
        self._plan = Plan(rule, features + self.bias, settings, margin, prior)
        self._vector = self._plan.vector()
        self._live, self._spare = self._plan.fresh(), self._plan.fresh()

    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        """Answer each row of a chunk before learning from it.

        Parameters
        ----------
        x
            Shape (n, features), dense or sparse.
        y
            What each row is to be answered with, shape (n,).

        Returns
        -------
        Numbers
            What `predict` would have said of each row had all before it, and no others, been learned; shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit. Nothing of it is then learned.
        NotFiniteError
            If a value is not finite, or the weights diverge. Nothing of the chunk is then learned.
        """
        kernel = _kernel()
        if is_sparse(x):
            data, columns, starts = compressed(x, self.features, self.name)
            targets = writable(shaped_targets(y, len(starts) - 1, self.name))
            answers = np.empty(len(targets))
            bad = kernel.learn_sparse(self._vector, self._live, self._spare, data, columns, starts, targets, answers, self.bias)
        else:
            rows, targets = x, y
            if not ready(x, y, self.features, _FLOAT):
                rows = writable(shaped_rows(x, self.features, self.name))
                targets = writable(shaped_targets(y, len(rows), self.name))
            answers = np.empty(len(targets))
            bad = kernel.learn(self._vector, self._live, self._spare, rows, targets, answers)
        if bad >= 0:
            self._refuse(x, y, bad)
        self._live, self._spare = self._spare, self._live
        return answers

    def learn_many(self, x: Features, y: Numbers) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite, or the weights diverge; nothing of the chunk is then learned.
        """
        self.predict_then_learn(x, y)

    def predict(self, x: Features) -> Numbers:
        """The number of each row, shape (n,)."""
        kernel = _kernel()
        if is_sparse(x):
            data, columns, starts = compressed(x, self.features, self.name)
            found = np.empty(len(starts) - 1)
            bad = kernel.decide_sparse(self._vector, self._live, data, columns, starts, self.bias, found)
        else:
            rows = writable(shaped_rows(x, self.features, self.name))
            found = np.empty(len(rows))
            bad = kernel.decide(self._vector, self._live, rows, found)
        if bad >= 0:
            self._refuse(x, None, bad)
        return found

    def state(self) -> State:
        """Copies of all that is remembered, by name: ``weights``, shape (features + 1,), the bias last; ``clock``."""
        return {name: view.copy() for name, view in self._plan.views(self._live).items()}

    def load(self, state: State) -> None:
        """Replace all that is remembered.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or a variance not positive.
        """
        parts = self._plan.views(self._spare)
        check_fits(self.name, parts, state)
        for name, holds in (("variances", np.greater), ("squares", np.greater_equal), ("clock", np.greater_equal)):
            if name in parts and not holds(state[name], 0).all():
                remedy = "load snapshots of learners with the same settings"
                raise StateError(f"{name} of the snapshot are too small", where=self.name, remedy=remedy)
        for name, part in parts.items():
            part[...] = state[name]
        self._live, self._spare = self._spare, self._live

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        regressor = cast("Any", cls)(1, np.random.default_rng(0))
        regressor.learn_many(np.zeros((1, 1)), np.zeros(1))
        regressor.predict(np.zeros((1, 1)))

    def _refuse(self, x: Any, y: Any, bad: int) -> None:
        """Say what was wrong at the row where the kernel stopped."""
        n = x.shape[0]
        if y is None:
            checked_rows(x, self.features, self.name)
        else:
            checked_targets(x, y, self.features, self.name)
        raise NotFiniteError(
            f"answers or weights overflow at row {min(bad, n - 1)} of a chunk of {n}",
            where=self.name,
            remedy="scale inputs and targets to about 1, or take smaller steps; nothing of this chunk was learned",
        )


_FLOAT = np.dtype(np.float64)


@functools.cache
def _kernel() -> Any:
    """The compiled part, imported (and numba with it) when it is first needed; asking again is quicker than importing again."""
    return importlib.import_module("estran.learning.regression.kernel")
