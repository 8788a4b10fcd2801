"""A learner on rows that are standardised as they come."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.about import About
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, State, StateError
from estran.learning.rows import checked_rows, shaped_chunk, shaped_rows, writable
from estran.learning.snapshots import check_fits

_PREFIX: Final = "learner."


class Scaled(Habits):
    """Hands rows on to another learner with each column's running mean taken off and divided by its running deviation.

    Mean and deviation are those of all rows learned before, with the row at hand counted in: its features are known when it is to
    be answered, its label is not looked at. So nothing is peeked at, and the n-th row's values are at most √(n − 1). The first
    row, and columns that have not varied yet, are zero. Columns in whatever units thus come to the scale that learners want.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learner
        Which, by name and settings.

    Raises
    ------
    SettingsError
        If the choice is wrong.

    Notes
    -----
    Welford, *Note on a method for calculating corrected sums of squares and products*, Technometrics 4:419, 1962. Taking off the
    mean fills sparse rows up; what was learned when mean and deviation were others is not converted.

    Examples
    --------
    >>> model = Scaled(2, 2, np.random.default_rng(0), learner="pa1")
    >>> x = np.random.default_rng(1).normal(loc=[300, 0], scale=[40, 1e-3], size=(500, 2))
    >>> y = (x[:, 0] - 300 > x[:, 1] * 4e4).astype(np.int64)
    >>> bool((model.predict_then_learn(x, y) == y)[100:].mean() > 0.9)
    True
    """

    name = "scaled"
    about = About("composed", 0, "the inner learner's, and O(d)", "Welford 1962")

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, learner: registry.Choice = "softmax") -> None:
        self.features, self.classes = features, classes
        self.base = registry.create(learner, features, classes, rng)
        self._count, self._mean, self._squares = 0.0, np.zeros(features), np.zeros(features)

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit; nothing of it is then learned.
        NotFiniteError
            If a value is not finite, or what follows from it; nothing of the chunk is then learned.
        """
        rows, labels, known = self._next(x, y)
        self.base.learn_many(rows, labels)
        self._count, self._mean, self._squares = known

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Learn from a chunk, and return what `predict` would have said of each row just before it was learned, shape (n,).

        Raises
        ------
        LearnerError, NotFiniteError
            As `learn_many`. An inner learner that has no ``predict_then_learn`` is asked and taught row by row: if it fails at
            one, it is taken back to its snapshot, or, where it has none, keeps the rows before.
        """
        rows, labels, known = self._next(x, y)
        both: Any = getattr(self.base, "predict_then_learn", None)
        answers = both(rows, labels) if both is not None else self._row_by_row(rows, labels)
        self._count, self._mean, self._squares = known
        return np.asarray(answers, dtype=np.int64)

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        return self.base.predict_proba(self._scaled(x))

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        return self.base.predict(self._scaled(x))

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """The inner learner's scores.

        Raises
        ------
        LearnerError
            If it has none.
        """
        decide: Any = getattr(self.base, "decision_function", None)
        if decide is None:
            raise LearnerError("the inner learner has no scores", where=self.name, remedy="ask for predict_proba")
        return np.asarray(decide(self._scaled(x)), dtype=np.float64)

    def state(self) -> State:
        """The inner learner's parts as ``learner.…``; ``count`` of rows, and ``mean`` and ``squares`` of each column.

        Raises
        ------
        StateError
            If the inner learner has none.
        """
        inner = {f"{_PREFIX}{part}": array for part, array in self.base.state().items()}
        return {**inner, **{part: array.copy() for part, array in self._own().items()}}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        own = {part: array for part, array in state.items() if not part.startswith(_PREFIX)}
        check_fits(self.name, self._own(), own)
        if own["count"][0] < 0 or (own["squares"] < 0).any():
            remedy = "load snapshots as state() makes them"
            raise StateError("count or squares of the snapshot are negative", where=self.name, remedy=remedy)
        self.base.load({part.removeprefix(_PREFIX): array for part, array in state.items() if part.startswith(_PREFIX)})
        self._count = float(own["count"][0])
        self._mean, self._squares = (np.array(own[part], dtype=np.float64) for part in ("mean", "squares"))

    @classmethod
    def check_choices(cls, learner: registry.Choice = "softmax") -> None:
        """Make sure that the inner learner exists and takes its settings.

        Raises
        ------
        SettingsError
            Naming what it does not have.
        """
        registry.check(learner)

    @classmethod
    def warm(cls) -> None:
        """Compile what scaling needs, or load it from numba's cache; which learner is inside is not known here."""
        from estran.learning import scaling_kernel

        scaling_kernel.scale(0.0, np.zeros(1), np.zeros(1), np.zeros((1, 1)), np.zeros((1, 1)), True)

    def _own(self) -> dict[str, NDArray[np.float64]]:
        return {"count": np.array([self._count]), "mean": self._mean, "squares": self._squares}

    def _next(self, x: Features, y: Labels) -> tuple[Features, Labels, tuple[float, NDArray[np.float64], NDArray[np.float64]]]:
        """A chunk scaled row after row, and what will be known after it."""
        rows, labels = shaped_chunk(x, y, self.features, self.name)
        mean, squares = self._mean.copy(), self._squares.copy()
        scaled = self._scale(mean, squares, rows, keep=True)
        return scaled, labels, (self._count + len(rows), mean, squares)

    def _scaled(self, x: Features) -> Features:
        """Rows scaled each for itself."""
        return self._scale(self._mean, self._squares, shaped_rows(x, self.features, self.name), keep=False)

    def _scale(self, mean: NDArray[np.float64], squares: NDArray[np.float64], rows: Features, *, keep: bool) -> Features:
        from estran.learning import scaling_kernel

        scaled = np.empty(rows.shape)
        bad = scaling_kernel.scale(self._count, mean, squares, writable(rows), scaled, keep)
        if bad >= 0:
            checked_rows(rows, self.features, self.name)
            remedy = "clean the data, or change its units; nothing of this chunk was learned"
            raise NotFiniteError(f"the variance overflows at row {bad} of {len(rows)}", where=self.name, remedy=remedy)
        return scaled

    def _row_by_row(self, rows: Features, labels: Labels) -> Labels:
        try:
            before = self.base.state()
        except StateError:
            before = None
        answers = np.empty(len(rows), dtype=np.int64)
        try:
            for i in range(len(rows)):
                answers[i] = self.base.predict(rows[i : i + 1])[0]
                self.base.learn_many(rows[i : i + 1], labels[i : i + 1])
        except LearnerError:
            if before is not None:
                self.base.load(before)
            raise
        return answers
