"""Continual learning, judged: tasks one after another, accuracy on each after each, forgetting and transfer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels, Learner
from estran.learning.mistakes import SettingsError

Scenario: TypeAlias = Literal["class-incremental", "domain-incremental"]
Labelled: TypeAlias = tuple[Features, Labels]

SCENARIOS: Final = ("class-incremental", "domain-incremental")


@dataclass(frozen=True)
class Task:
    """Rows to learn from, and rows to be asked.

    Attributes
    ----------
    x, y
        To learn from: shapes (n, d) and (n,).
    asked, truth
        To be asked, and their classes.
    """

    x: Features = field(repr=False)
    y: Labels = field(repr=False)
    asked: Features = field(repr=False)
    truth: Labels = field(repr=False)


def split(train: Labelled, test: Labelled, per_task: int = 2, scenario: Scenario = "class-incremental") -> list[Task]:
    """Tasks of some classes each, in increasing order of the classes.

    Parameters
    ----------
    train, test
        Rows and classes to learn from, and to be asked.
    per_task
        How many classes a task has; the last may have fewer.
    scenario
        ``class-incremental``: labels stay what they are. ``domain-incremental``: a label says which of its task's classes a row
        is of, 0 for the first. See `estran.learning.streams.splits`.

    Raises
    ------
    SettingsError
        If the scenario is unknown, or a task would have no rows to be asked.

    Notes
    -----
    van de Ven, Tuytelaars, Tolias, *Three types of incremental learning*, Nature Machine Intelligence 4, 2022.

    Examples
    --------
    >>> rows = np.zeros((4, 1)), np.array([0, 1, 2, 3])
    >>> [task.y.tolist() for task in split(rows, rows, scenario="domain-incremental")]
    [[0, 1], [0, 1]]
    """
    if scenario not in SCENARIOS or per_task < 1:
        raise SettingsError(
            f"{per_task} classes a task, {scenario}", where="tasks", remedy=f"give 1 or more, and {' or '.join(SCENARIOS)}"
        )
    present = np.unique(train[1])
    tasks = []
    for start in range(0, len(present), per_task):
        classes = present[start : start + per_task]
        task = Task(*_of_classes(train, classes, scenario), *_of_classes(test, classes, scenario))
        if not len(task.truth):
            raise SettingsError(f"there are no rows of classes {classes.tolist()} to be asked", where="tasks", remedy="add some")
        tasks.append(task)
    return tasks


def _of_classes(rows: Labelled, classes: Labels, scenario: Scenario) -> Labelled:
    x, y = rows
    there = np.isin(y, classes)
    labels = y[there] if scenario == "class-incremental" else np.searchsorted(classes, y[there])
    return x[there], labels.astype(np.int64)


@dataclass(frozen=True)
class Scores:
    """How well tasks were known after each was learned.

    Attributes
    ----------
    matrix
        Accuracy R on task j (columns) after learning task i (rows), shape (tasks, tasks).
    before
        Accuracy on each task before anything was learned, shape (tasks,).
    asked
        How many rows of each task were asked, shape (tasks,).
    rows
        How many rows were learned.
    learning, answering
        How long learning and answering took, in the clock's unit; 0 without a clock.

    Notes
    -----
    Lopez-Paz, Ranzato, *Gradient episodic memory for continual learning*, NeurIPS 2017, equations 2 to 4, for accuracy and
    transfer. Chaudhry, Dokania, Ajanthan, Torr, *Riemannian walk for incremental learning*, ECCV 2018, definition 1, for
    forgetting.
    """

    matrix: NDArray[np.float64]
    before: NDArray[np.float64]
    asked: NDArray[np.int64]
    rows: int = 0
    learning: float = 0.0
    answering: float = 0.0

    @property
    def average_accuracy(self) -> float:
        """Mean accuracy on all tasks after the last: (1/T) Σ R_T,j."""
        return float(self.matrix[-1].mean())

    @property
    def overall_accuracy(self) -> float:
        """Share of all rows asked that are answered rightly after the last task: tasks weigh as they have rows."""
        return float(np.average(self.matrix[-1], weights=self.asked))

    @property
    def forgetting(self) -> float:
        """How much worse earlier tasks are known at the end than at best: the mean of max_i<T R_i,j − R_T,j. NaN for one task."""
        return self._mean(self.matrix[:-1, :-1].max(axis=0) - self.matrix[-1, :-1] if len(self.matrix) > 1 else np.empty(0))

    @property
    def backward_transfer(self) -> float:
        """How learning later tasks changed earlier ones: the mean of R_T,j − R_j,j over j < T. NaN for one task."""
        return self._mean((self.matrix[-1] - self.matrix.diagonal())[:-1])

    @property
    def forward_transfer(self) -> float:
        """What earlier tasks gave to one before it was learned: the mean of R_j−1,j − b_j over j > 1. NaN for one task."""
        return self._mean(self.matrix.diagonal(1) - self.before[1:])

    @property
    def rows_per_second(self) -> float:
        """Rows learned, by the clock's seconds of learning; NaN without a clock."""
        return self.rows / self.learning if self.learning > 0 else float("nan")

    @staticmethod
    def _mean(values: NDArray[np.float64]) -> float:
        return float(values.mean()) if values.size else float("nan")


def learn_in_turn(
    learner: Learner,
    tasks: Sequence[Task],
    rng: np.random.Generator,
    *,
    passes: int = 1,
    chunk: int = 100,
    clock: Callable[[], float] | None = None,
) -> Scores:
    """Let a learner learn task after task, and ask it for all tasks after each. It is not told of tasks.

    Parameters
    ----------
    learner
        It goes on from what it knows, and is changed.
    tasks
        In the order in which they come.
    rng
        Source of the order of rows in each task, drawn anew for each pass.
    passes
        How often each task's rows come before the next task.
    chunk
        Rows that are handed over at once. It makes no difference to what is learned.
    clock
        Seconds, to be told how long learning and answering took.

    Raises
    ------
    SettingsError
        If there are no tasks, or a number is less than 1.
    LearnerError
        If rows or labels do not fit the learner, or learning diverges.

    Examples
    --------
    >>> from estran.learning import registry
    >>> x, y = np.repeat(np.eye(4), 50, axis=0), np.repeat(np.arange(4), 50)
    >>> learner = registry.create({"er": {"buffer": 20}}, 4, 4, np.random.default_rng(0))
    >>> scores = learn_in_turn(learner, split((x, y), (x, y)), np.random.default_rng(1))
    >>> scores.average_accuracy, scores.forgetting
    (1.0, 0.0)
    """
    if not tasks or passes < 1 or chunk < 1:
        what = f"{len(tasks)} tasks, {passes} passes, chunks of {chunk}"
        raise SettingsError(what, where="tasks", remedy="give 1 or more of each")
    now = clock or (lambda: 0.0)
    learning, answering, count = 0.0, 0.0, 0
    before = _accuracies(learner, tasks)
    matrix = np.empty((len(tasks), len(tasks)))
    for number, task in enumerate(tasks):
        for _ in range(passes):
            order = rng.permutation(len(task.y))
            x, y = task.x[order], task.y[order]
            count += len(y)
            begun = now()
            for start in range(0, len(y), chunk):
                learner.learn_many(x[start : start + chunk], y[start : start + chunk])
            learning += now() - begun
        begun = now()
        matrix[number] = _accuracies(learner, tasks)
        answering += now() - begun
    sizes = np.array([len(task.truth) for task in tasks])
    return Scores(matrix, before, sizes, count, learning, answering)


def _accuracies(learner: Learner, tasks: Sequence[Task]) -> NDArray[np.float64]:
    return np.array([float((learner.predict(task.asked) == task.truth).mean()) for task in tasks])
