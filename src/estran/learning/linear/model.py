"""What all linear online learners have in common: the arrays, the checks, and two habits of calling them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, NotFiniteError, State, StateError
from estran.learning.linear.plan import LANES, Memory, Plan, Rule
from estran.learning.rows import (
    checked_chunk,
    checked_rows,
    compressed,
    is_sparse,
    odds_of,
    ready,
    shaped_chunk,
    shaped_rows,
    writable,
)
from estran.learning.snapshots import check_fits


class Linear(Habits):
    """A linear classifier that learns from a stream, row by row, by one rule.

    Two classes share one weight vector; more have one each, and learn from the *max-score violation*: a row pulls the prototype
    of its label, and pushes the one with the highest score among the others. Rows are NumPy arrays or SciPy's sparse matrices;
    both teach the same, bit for bit. Learning and predicting are compiled by numba at the first use.

    Subclasses are the rules; their settings are keywords.
    """

    about: ClassVar[About]
    compiled: ClassVar[str] = "estran.learning.linear.kernel"
    """Module of ``learn``, ``learn_sparse``, ``decide`` and ``decide_sparse``, as that module has them."""

    def __init__(
        self,
        features: int,
        classes: int,
        rule: Rule,
        *settings: float,
        bias: bool,
        memory: Memory = Memory.NONE,
        prior: float = 1.0,
        fade: float = 0.0,
    ) -> None:
        if classes < 2:
            raise RequestError(f"{classes} class cannot be told apart", where=self.name, remedy="give data of two classes or more")
        self.features, self.classes = features, classes
        self.bias = bool(bias)
        # Only the loop of all plain rules counts on rows that are filled up to whole vectors.
        lanes, prototypes = LANES if self.compiled == Linear.compiled else 1, 1 if classes == 2 else classes
        self._plan = Plan(rule, memory, prototypes, features + self.bias, settings, prior, fade, lanes)
        self._vector = self._plan.vector()
        self._live, self._spare = self._plan.fresh(), self._plan.fresh()
        self._kernel: Any = None

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Answer each row of a chunk before learning from it.

        Parameters
        ----------
        x
            Shape (n, features), dense or sparse.
        y
            Class indices, shape (n,).

        Returns
        -------
        Labels
            What `predict` would have said of each row had all before it, and no others, been learned; shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit. Nothing of it is then learned.
        NotFiniteError
            If a value is not finite, or the weights diverge. Nothing of the chunk is then learned.
        """
        kernel = self._kernel or self._load_kernel()
        if ready(x, y, self.features, _INT):
            answers = np.empty(len(y), _INT)
            bad = kernel.learn(self._vector, self._live, self._spare, x, y, answers)
        elif is_sparse(x):
            data, columns, starts = compressed(x, self.features, self.name)
            labels = _labels(y, len(starts) - 1, self.name)
            answers = np.empty(len(labels), dtype=np.int64)
            bad = kernel.learn_sparse(self._vector, self._live, self._spare, data, columns, starts, labels, answers, self.bias)
        else:
            rows, labels = shaped_chunk(x, y, self.features, self.name)
            rows, labels = writable(rows), writable(labels)
            answers = np.empty(len(labels), dtype=np.int64)
            bad = kernel.learn(self._vector, self._live, self._spare, rows, labels, answers)
        if bad >= 0:
            self._refuse(x, y, bad)
        self._live, self._spare = self._spare, self._live
        return answers

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite, or the weights diverge; nothing of the chunk is then learned.
        """
        self.predict_then_learn(x, y)

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """Scores: shape (n,) for two classes, positive for class 1; else shape (n, classes)."""
        scores = self._scores(x)
        return scores[:, 0] if self.classes == 2 else scores

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes): the softmax of the scores (the logistic function for two classes).

        The order of classes is what was learned; the numbers are calibrated only where the loss is logistic.
        """
        scores = self._scores(x)
        if self.classes == 2:
            scores = np.column_stack([np.zeros(len(scores)), scores])
        return odds_of(scores)

    def predict(self, x: Features) -> Labels:
        """Class of the highest score of each row, shape (n,)."""
        scores = self._scores(x)
        best = scores[:, 0] > 0 if self.classes == 2 else scores.argmax(axis=1)
        return np.asarray(best, dtype=np.int64)

    def learn_by(self, loop: Callable[..., int], x: Features, y: Labels, *more: Any) -> Labels:
        """`predict_then_learn` by another loop over the same numbers, such as one that learns some rows only.

        Parameters
        ----------
        loop
            Takes what ``learn`` of the compiled module takes, and ``more``; answers what that answers.
        x, y
            The chunk; sparse rows are filled up.
        """
        rows, labels = (writable(part) for part in shaped_chunk(x, y, self.features, self.name))
        answers = np.empty(len(labels), dtype=np.int64)
        bad = loop(self._vector, self._live, self._spare, rows, labels, answers, *more)
        if bad >= 0:
            self._refuse(rows, labels, bad)
        self._live, self._spare = self._spare, self._live
        return answers

    def read_by(self, loop: Callable[..., int], x: Features) -> NDArray[np.float64]:
        """What another loop over the same numbers says of each row, shape (n, prototypes); it is called as ``decide`` is."""
        rows = writable(shaped_rows(x, self.features, self.name))
        found = np.empty((len(rows), self._plan.prototypes))
        bad = loop(self._vector, self._live, rows, found)
        if bad >= 0:
            self._refuse(rows, None, bad)
        return found

    def state(self) -> State:
        """Copies of all that is remembered, by name: ``weights``, shape (prototypes, features + 1), the bias last; ``clock``."""
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
        for name in parts.keys() & {"variance", "covariance"}:
            spreads = np.diagonal(state[name], axis1=1, axis2=2) if name == "covariance" else state[name]
            if not (spreads > 0).all():
                remedy = "load snapshots of learners with the same settings"
                raise StateError(f"{name} of the snapshot is not positive", where=self.name, remedy=remedy)
        for name, part in parts.items():
            part[...] = state[name]
        self._live, self._spare = self._spare, self._live

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cast("Any", cls)(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        learner.predict(np.zeros((1, 1)))

    def _scores(self, x: Features) -> NDArray[np.float64]:
        kernel = self._kernel or self._load_kernel()
        if is_sparse(x):
            data, columns, starts = compressed(x, self.features, self.name)
            found = np.empty((len(starts) - 1, self._plan.prototypes))
            bad = kernel.decide_sparse(self._vector, self._live, data, columns, starts, self.bias, found)
        else:
            return self.read_by(kernel.decide, x)
        if bad >= 0:
            self._refuse(x, None, bad)
        return found

    def _load_kernel(self) -> Any:
        """Import the compiled part (and numba with it), when it is first needed."""
        self._kernel = importlib.import_module(self.compiled)
        return self._kernel

    def _refuse(self, x: Any, y: Any, bad: int) -> None:
        """Say what was wrong at the row where the kernel stopped."""
        n = x.shape[0]
        if is_sparse(x):
            x = np.asarray(x.tocsr()[[min(bad, n - 1)]].toarray())
            y = None if y is None else np.asarray(y)[[min(bad, n - 1)]]
        if y is None:
            checked_rows(x, self.features, self.name)
        else:
            checked_chunk(x, y, self.features, self.classes, self.name)
        raise NotFiniteError(
            f"scores or weights overflow at row {min(bad, n - 1)} of a chunk of {n}",
            where=self.name,
            remedy="scale the inputs to about 1, or take smaller steps; nothing of this chunk was learned",
        )


def is_plain(learner: object) -> bool:
    """Whether a learner is linear, and learns and answers by the loop of `estran.learning.linear.kernel`."""
    if not isinstance(learner, Linear) or learner.compiled != Linear.compiled:
        return False
    kind = type(learner)
    return kind.predict is Linear.predict and kind.predict_then_learn is Linear.predict_then_learn


_INT = np.dtype(np.int64)


def _labels(y: Labels, n: int, learner: str) -> Labels:
    return writable(shaped_chunk(np.zeros((n, 0)), y, 0, learner)[1])
