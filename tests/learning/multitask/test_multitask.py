"""Perceptrons that share what they learn: against the paper's compound vectors, and what every learner promises."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.datasets import load
from estran.learning.evaluation import prequential
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, StateError
from estran.learning.multitask import model
from estran.learning.multitask.model import MultitaskPerceptron


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def make(features: int = 5, classes: int = 2, **settings: Any) -> MultitaskPerceptron:
    return MultitaskPerceptron(features, classes, rng(), **settings)


def stream(n: int, tasks: int, classes: int = 2, apart: float = 0.5, seed: int = 1) -> tuple[Features, Labels]:
    """Rows of tasks whose weights are one common part and a part of their own; the last column is the task."""
    chance = rng(seed)
    weights = chance.normal(size=(4, classes)) + apart * chance.normal(size=(tasks, 4, classes))
    x, task = chance.normal(size=(n, 4)), chance.integers(tasks, size=n)
    return np.column_stack([x, task]), np.einsum("nd,ndk->nk", x, weights[task]).argmax(axis=1)


class Tasked(MultitaskPerceptron):
    """Rows of the conformance suite have no task: here it is told by their first feature."""

    def __init__(self, features: int, classes: int, rng: np.random.Generator) -> None:
        super().__init__(features + 1, classes, rng, tasks=2)

    @staticmethod
    def _told(x: Any) -> Any:
        return np.column_stack([x, x[:, 0] > 2.0])

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        return super().predict_then_learn(self._told(x), y)

    def _scores(self, x: Features) -> Any:
        return super()._scores(self._told(x))


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance(check: Any) -> None:
    check(Tasked)


def test_examples() -> None:
    assert doctest.testmod(model, extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("classes", [2, 3])
def test_a_chunk_is_its_rows_and_sparse_ones_are_dense_ones(classes: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(120, 3, classes)
    chunked, single = (make(5, classes, tasks=3, b=2.0) for _ in range(2))
    answers = np.concatenate(
        [chunked.predict_then_learn(sparse.csr_matrix(x[at : at + 50]), y[at : at + 50]) for at in (0, 50, 100)]
    )
    for i in range(120):
        assert single.predict_one(x[i]) == answers[i]
        single.learn_one(x[i], int(y[i]))
    assert np.array_equal(chunked.state()["weights"], single.state()["weights"])


@pytest.mark.parametrize("classes", [2, 3])
def test_tasks_that_are_not_related_are_perceptrons_of_their_own(classes: int) -> None:
    x, y = stream(200, 3, classes)
    together = make(5, classes, tasks=3, b=0.0)
    answers = together.predict_then_learn(x, y)
    for task in range(3):
        mine = x[:, -1] == task
        alone: Any = registry.create("perceptron", 4, classes, rng())
        assert np.array_equal(alone.predict_then_learn(x[mine, :-1], y[mine]), answers[mine])
        assert np.array_equal(alone.state()["weights"], together.state()["weights"][task])


@pytest.mark.parametrize("given", ["b", "interaction"])
def test_it_is_the_perceptron_of_compound_vectors(given: str) -> None:
    tasks, b = 4, 3.0
    # The paper's matrix for b; and one of a chain of tasks.
    matrix = (1 + b) * np.eye(tasks) - b / tasks
    if given == "interaction":
        chain = np.diag(np.ones(tasks - 1), 1)
        chain += chain.T
        matrix = np.eye(tasks) + np.diag(chain.sum(axis=0)) - chain
    learner = make(tasks=tasks, bias=False, **({"b": b} if given == "b" else {"interaction": matrix.tolist()}))
    x, y = stream(150, tasks)
    metric, compound = np.kron(np.linalg.inv(matrix), np.eye(4)), np.zeros(4 * tasks)
    for row, label in zip(x, y, strict=True):
        phi = np.kron(np.eye(tasks)[int(row[-1])], row[:-1])
        margin = (2 * label - 1) * (compound @ phi)
        assert learner.decision_function(row[None])[0] == pytest.approx(compound @ phi, abs=1e-9)
        if margin <= 0:
            compound = compound + (2 * label - 1) * metric @ phi
        learner.learn_one(row, int(label))
    np.testing.assert_allclose(learner.state()["weights"][:, 0, :4].ravel(), compound, atol=1e-9)


def test_related_tasks_learn_sooner_together() -> None:
    wrong = {}
    for b in (0.0, 5.0):
        x, y = stream(1000, 10, apart=0.2)
        wrong[b] = (make(tasks=10, b=b).predict_then_learn(x, y) != y).mean()
    assert wrong[5.0] < wrong[0.0] - 0.03


def test_it_learns_digits_in_two_tasks() -> None:
    digits = load("digits")
    rows = np.column_stack([digits.x, np.arange(len(digits.y)) % 2])
    learner = make(digits.features + 1, digits.classes, tasks=2, b=5.0)
    assert prequential(learner, [(rows, digits.y)], digits.classes).sliding(500).accuracy[-1] > 0.87


def test_bad_input_leaves_no_trace() -> None:
    learner = make(tasks=2)
    learner.learn_many(*stream(30, 2))
    before = learner.state()["weights"]
    good = np.zeros((2, 5))
    for number in (2.0, -1.0, 0.5):
        rows = good.copy()
        rows[1, -1] = number
        with pytest.raises(LearnerError, match=f"row 1 of 2 is of task {number:g}, and there are 2"):
            learner.learn_many(rows, np.array([0, 1]))
        with pytest.raises(LearnerError, match="number tasks from 0 to 1"):
            learner.predict(rows)
    with pytest.raises(LearnerError, match="labels run from 0 to 2"):
        learner.learn_many(good, np.array([0, 2]))
    with pytest.raises(NotFiniteError, match="NaN"):
        learner.learn_many(np.full((1, 5), np.nan), np.array([0]))
    with pytest.raises(NotFiniteError, match="overflow"):
        learner.learn_many(np.array([[1e200, 0, 0, 0, 0]] * 4), np.array([0, 1, 0, 1]))
    with pytest.raises(StateError):
        learner.load({"weights": np.zeros((3, 1, 5))})
    assert np.array_equal(before, learner.state()["weights"])


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"tasks": 0}, "tasks is 0"),
        ({"b": -1.0}, "b is -1.0"),
        ({"interaction": [[1.0]]}, "give 2 rows of 2 numbers"),
        ({"interaction": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite"),
        ({"interaction": [[1.0, 0.5], [0.0, 1.0]]}, "symmetric"),
        ({"interaction": [["a", 0.5], [0.0, 1.0]]}, "give 2 rows of 2 numbers"),
        ({"bias": 1}, "bias is 1"),
        ({"classes": 1}, "1 classes of rows"),
    ],
)
def test_wrong_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make(**choice)
    assert text in str(raised.value)
