"""Several tasks learned at once, each from what the others learn too."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, State
from estran.learning.rows import checked_chunk, checked_rows, odds_of, shaped_chunk, shaped_rows, writable
from estran.learning.settings import flag, whole, within
from estran.learning.snapshots import check_fits


class MultitaskPerceptron(Habits):
    """A perceptron for each of several tasks; a mistake in one moves the others along, as far as they are related.

    The last column of a row is the number of its task, from 0; the others are its features. Tasks share features and classes.

    Parameters
    ----------
    features, classes, rng
        As for every learner: ``features`` counts the task's column; nothing is drawn.
    tasks
        How many there are.
    b
        How closely all are related: 0 learns each alone, and the larger it is, the more they are one.
    interaction
        Instead of ``b``: matrix A of any relations, shape (tasks, tasks), symmetric and positive definite, like the identity plus
        the Laplacian of a graph whose edges join related tasks.
    bias
        Learn a constant beside the features.

    Raises
    ------
    RequestError
        If a setting is out of range, or A is not such a matrix.

    Notes
    -----
    Cavallanti, Cesa-Bianchi, Gentile, *Linear algorithms for online multitask classification*, JMLR 11:2901, 2010: on a
    mistake in task i every task j makes the perceptron's step times (A⁻¹)ⱼᵢ. With ``b`` that is (b + K)/((1 + b)K) for the task
    itself and b/((1 + b)K) for the K − 1 others. Theirs is for two classes; more have a prototype each per task, and learn from
    the max-score violation, as all linear learners of the house.

    Examples
    --------
    >>> rows = np.array([[1.0, 0.0], [1.0, 1.0]])  # of tasks 0 and 1
    >>> model = MultitaskPerceptron(2, 2, np.random.default_rng(0), tasks=2, b=1.0, bias=False)
    >>> model.learn_many(rows[:1], np.array([1]))
    >>> model.decision_function(rows).tolist()
    [0.75, 0.25]
    """

    name = "multitask"
    about = About("multitask", 1, "O(tasks·K·d) at a mistake, else O(K·d)", "Cavallanti, Cesa-Bianchi, Gentile 2010")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        tasks: int = 2,
        b: float = 1.0,
        interaction: Sequence[Sequence[float]] | None = None,
        bias: bool = True,
    ) -> None:
        if classes < 2 or features < 1:
            what = f"{classes} classes of rows of {features} columns"
            raise RequestError(what, where=self.name, remedy="give two classes or more, and the task as the last column")
        self.features, self.classes = features, classes
        self.tasks = whole(self.name, "tasks", tasks)
        b = within(self.name, "b", b, 0.0, np.inf, closed=True)
        self._shares = _shares(self.tasks, b) if interaction is None else _inverse(interaction, self.tasks)
        self._bias = float(flag(self.name, "bias", bias))
        shape = (self.tasks, 1 if classes == 2 else classes, features)
        self._live, self._spare = np.zeros(shape), np.zeros(shape)

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Answer each row of a chunk before learning from it, shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit, or a row has no task. Nothing of it is then learned.
        NotFiniteError
            If a value is not finite, or the weights diverge. Nothing of the chunk is then learned.
        """
        rows, labels = shaped_chunk(x, y, self.features, self.name)
        rows, labels = writable(rows), writable(labels)
        answers = np.empty(len(rows), dtype=np.int64)
        bad = _kernel().learn(self._live, self._spare, self._shares, self._bias, rows, labels, answers)
        if bad >= 0:
            checked_chunk(rows, labels, self.features, self.classes, self.name)
            raise self._refusal(rows, bad)
        self._live, self._spare = self._spare, self._live
        return answers

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order; raises as `predict_then_learn` does."""
        self.predict_then_learn(x, y)

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """Scores by each row's task: shape (n,) for two classes, positive for class 1; else shape (n, classes)."""
        scores = self._scores(x)
        return scores[:, 0] if self.classes == 2 else scores

    def predict(self, x: Features) -> Labels:
        """Class of the highest score of each row, shape (n,)."""
        scores = self._scores(x)
        return np.asarray(scores[:, 0] > 0 if self.classes == 2 else scores.argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Softmax of the scores, shape (n, classes): in the right order, but not calibrated."""
        scores = self._scores(x)
        if self.classes == 2:
            scores = np.column_stack([np.zeros(len(scores)), scores])
        return odds_of(scores)

    def state(self) -> State:
        """A copy of ``weights``, shape (tasks, prototypes, features): the bias's last, where the task's number is in a row."""
        return {"weights": self._live.copy()}

    def load(self, state: State) -> None:
        """Replace all weights.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        check_fits(self.name, {"weights": self._live}, state)
        self._live[...] = state["weights"]

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cls(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        learner.predict(np.zeros((1, 1)))

    def _scores(self, x: Features) -> NDArray[np.float64]:
        rows = writable(shaped_rows(x, self.features, self.name))
        found = np.empty((len(rows), self._live.shape[1]))
        bad = _kernel().decide(self._live, self._bias, rows, found)
        if bad >= 0:
            checked_rows(rows, self.features, self.name)
            raise self._refusal(rows, bad)
        return found

    def _refusal(self, rows: Features, bad: int) -> LearnerError:
        """What is wrong with a row of finite values."""
        at, number = min(bad, len(rows) - 1), rows[min(bad, len(rows) - 1), -1]
        if not (0 <= number < self.tasks and number == np.floor(number)):
            what = f"row {at} of {len(rows)} is of task {number:g}, and there are {self.tasks}"
            return LearnerError(what, where=self.name, remedy=f"number tasks from 0 to {self.tasks - 1} in the last column")
        what = f"scores or weights overflow at row {at} of a chunk of {len(rows)}"
        return NotFiniteError(what, where=self.name, remedy="scale the inputs to about 1; nothing of this chunk was learned")


def _shares(tasks: int, b: float) -> NDArray[np.float64]:
    """Inverse of (1 + b)·I − (b/K)·1·1ᵀ, by which all tasks are related alike."""
    shares = np.full((tasks, tasks), b / ((1.0 + b) * tasks))
    np.fill_diagonal(shares, (b + tasks) / ((1.0 + b) * tasks))
    return shares


def _inverse(interaction: Sequence[Sequence[float]], tasks: int) -> NDArray[np.float64]:
    """Inverse of a matrix of relations.

    Raises
    ------
    RequestError
        If it is not square, symmetric and positive definite.
    """
    remedy = f"give {tasks} rows of {tasks} numbers, symmetric and positive definite"
    try:
        matrix = np.array(interaction, dtype=np.float64)
        if matrix.shape != (tasks, tasks) or not np.isfinite(matrix).all() or not np.array_equal(matrix, matrix.T):
            raise RequestError(f"interaction is {interaction!r}", where=MultitaskPerceptron.name, remedy=remedy)
        np.linalg.cholesky(matrix)
    except (ValueError, TypeError, np.linalg.LinAlgError) as error:
        raise RequestError(f"interaction is {interaction!r}: {error}", where=MultitaskPerceptron.name, remedy=remedy) from error
    return np.ascontiguousarray(np.linalg.inv(matrix))


@functools.cache
def _kernel() -> Any:
    """The compiled part, imported (and numba with it) when it is first needed; asking again is quicker than importing again."""
    return importlib.import_module("estran.learning.multitask.kernel")
