"""Tasks, and what is told of accuracy, forgetting and transfer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from estran.learning.continual import Scores, Task, learn_in_turn, split
from estran.learning.mistakes import SettingsError


def test_scores_of_a_worked_example() -> None:
    matrix = np.array([[0.9, 0.2, 0.3], [0.95, 0.8, 0.4], [0.5, 0.7, 1.0]])
    scores = Scores(matrix, np.array([0.1, 0.1, 0.1]), np.array([10, 20, 70]))
    assert scores.average_accuracy == pytest.approx((0.5 + 0.7 + 1.0) / 3)
    assert scores.overall_accuracy == pytest.approx(0.05 + 0.14 + 0.7)
    assert scores.forgetting == pytest.approx(((0.95 - 0.5) + (0.8 - 0.7)) / 2)
    assert scores.backward_transfer == pytest.approx(((0.5 - 0.9) + (0.7 - 0.8)) / 2)
    assert scores.forward_transfer == pytest.approx(((0.2 - 0.1) + (0.4 - 0.1)) / 2)
    assert math.isnan(scores.rows_per_second)


def test_one_task_has_neither_forgetting_nor_transfer() -> None:
    scores = Scores(np.array([[0.7]]), np.array([0.1]), np.array([10]))
    assert scores.average_accuracy == scores.overall_accuracy == 0.7
    assert all(math.isnan(value) for value in (scores.forgetting, scores.backward_transfer, scores.forward_transfer))


def test_tasks_bring_classes_or_domains() -> None:
    x, y = np.arange(20.0)[:, None], np.repeat(np.arange(5), 4)
    classes = split((x, y), (x, y))
    assert [np.unique(task.y).tolist() for task in classes] == [[0, 1], [2, 3], [4]]
    assert all(np.array_equal(task.x, task.asked) for task in classes)
    domains = split((x, y), (x, y), scenario="domain-incremental")
    assert [np.unique(task.truth).tolist() for task in domains] == [[0, 1], [0, 1], [0]]
    assert np.array_equal(np.concatenate([task.x for task in domains]), x)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"per_task": 0}, "0 classes"), ({"scenario": "task-incremental"}, "domain-incremental"), ({"test": True}, "to be asked")],
)
def test_tasks_that_cannot_be_are_refused(arguments: dict[str, Any], word: str) -> None:
    rows = np.zeros((4, 1)), np.arange(4)
    test = (np.zeros((2, 1)), np.arange(2)) if arguments.pop("test", False) else rows
    with pytest.raises(SettingsError, match=word):
        split(rows, test, **arguments)


class _Latest:
    """Answers the class that came last, and counts what it is handed."""

    def __init__(self) -> None:
        self.last, self.chunks = 0, []

    def learn_many(self, x: Any, y: Any) -> None:
        self.last = int(y[-1])
        self.chunks.append(len(y))

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.last)


def test_tasks_are_learned_in_turn_and_all_are_asked_after_each() -> None:
    tasks = [Task(np.zeros((5, 1)), np.full(5, k), np.zeros((3, 1)), np.full(3, k)) for k in range(3)]
    learner: Any = _Latest()
    ticks = iter(range(100))
    scores = learn_in_turn(learner, tasks, np.random.default_rng(0), passes=2, chunk=4, clock=lambda: float(next(ticks)))
    assert np.array_equal(scores.matrix, np.eye(3))
    assert scores.before.tolist() == [1, 0, 0]
    assert learner.chunks == [4, 1] * 6
    assert (scores.rows, scores.learning, scores.answering) == (30, 6.0, 3.0)
    assert scores.rows_per_second == 5.0
    assert (scores.forgetting, scores.backward_transfer) == (1.0, -1.0)


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"chunk": 0}, {"tasks": []}])
def test_learning_nothing_is_refused(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"tasks": [Task(np.zeros((1, 1)), np.zeros(1, int), np.zeros((1, 1)), np.zeros(1, int))], **wrong}
    with pytest.raises(SettingsError):
        learn_in_turn(_Latest(), rng=np.random.default_rng(0), **arguments)  # type: ignore[arg-type]
