"""What all kernel learners have in common: checks, answers, and two habits of calling them."""

from __future__ import annotations

import functools
import importlib
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, NotFiniteError
from estran.learning.rows import checked_chunk, checked_rows, odds_of, shaped_chunk, shaped_rows, writable


class KernelLearner(Habits):
    """A classifier that is linear in the space of a kernel, and learns from a stream, row by row.

    Two classes share one function; more have one each, and learn from the *max-score violation*: a row pulls the function of its
    label, and pushes the one with the highest score among the others. Rows are NumPy arrays, or SciPy's sparse matrices, which are
    filled up; zeros cost nothing in either. Learning and predicting are compiled by numba at the first use.

    Subclasses say how a chunk is learned and how rows are scored.
    """

    about: ClassVar[About]

    def __init__(self, features: int, classes: int) -> None:
        if classes < 2:
            raise RequestError(f"{classes} class cannot be told apart", where=self.name, remedy="give data of two classes or more")
        self.features, self.classes = features, classes
        self.prototypes = 1 if classes == 2 else classes

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
            If a value is not finite, or scores or coefficients overflow. Nothing of the chunk is then learned.
        """
        rows, labels = (writable(part) for part in shaped_chunk(x, y, self.features, self.name))
        answers = np.empty(len(labels), dtype=np.int64)
        done, fine = self._learn(rows, labels, answers)
        if not fine:
            checked_chunk(rows, labels, self.features, self.classes, self.name)
            raise self._overflow(done, len(rows))
        return answers

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite, or scores or coefficients overflow; nothing of the chunk is then learned.
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

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cast("Any", cls)(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        learner.predict(np.zeros((1, 1)))

    def _learn(self, rows: Features, labels: Labels, answers: Labels) -> tuple[int, bool]:
        """Learn a chunk and fill in answers; how many rows were gone through, and whether all was well: else nothing changed."""
        raise NotImplementedError

    def _decide(self, rows: Features, found: NDArray[np.float64]) -> tuple[int, bool]:
        """Fill in scores, shape (n, prototypes); how many rows were gone through, and whether all was well."""
        raise NotImplementedError

    def _scores(self, x: Features) -> NDArray[np.float64]:
        rows = writable(shaped_rows(x, self.features, self.name))
        found = np.empty((len(rows), self.prototypes))
        done, fine = self._decide(rows, found)
        if not fine:
            checked_rows(rows, self.features, self.name)
            raise self._overflow(done, len(rows))
        return found

    def _overflow(self, done: int, n: int) -> NotFiniteError:
        return NotFiniteError(
            f"scores or coefficients overflow at row {min(done, n - 1)} of a chunk of {n}",
            where=self.name,
            remedy="scale the inputs to about 1, or take smaller steps; nothing of this chunk was learned",
        )


@functools.cache
def loops(module: str) -> Any:
    """A compiled part, imported (and numba with it) when it is first needed; asking again is quicker than importing again."""
    return importlib.import_module(f"estran.learning.kernel_methods.{module}")
