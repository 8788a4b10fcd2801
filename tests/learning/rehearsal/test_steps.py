"""One step of each strategy against the same step written in NumPy, float64, from its paper's loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.learner import State
from estran.learning.rehearsal.buffer import Memories

D, K, B = 7, 5, 4
Blame = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def made(choice: str, **settings: Any) -> Any:
    return registry.create(
        {choice: {"hidden": [45, 6], "batch": B, "learning_rate": 0.1, **settings}}, D, K, np.random.default_rng(3)
    )


def rows(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D)) * (rng.random((n, D)) < 0.6)
    return x.astype(np.float32).astype(np.float64), rng.integers(2, size=n)


def weights(state: State) -> list[NDArray[np.float64]]:
    return [state[part].astype(np.float64) for layer in range(3) for part in (f"w{layer}", f"b{layer}")]


def forward(params: list[NDArray[np.float64]], x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    acts = [x]
    for layer in range(3):
        z = acts[-1] @ params[2 * layer] + params[2 * layer + 1]
        acts.append(np.maximum(z, 0) if layer < 2 else z)
    return acts


def gradient(params: list[NDArray[np.float64]], x: NDArray[np.float64], blame: Blame) -> list[NDArray[np.float64]]:
    acts = forward(params, x)
    delta, found = blame(acts[-1]), []
    for layer in (2, 1, 0):
        found = [acts[layer].T @ delta, delta.sum(0), *found]
        delta = (delta @ params[2 * layer].T) * (acts[layer] > 0)
    return found


def odds(scores: NDArray[np.float64], allowed: NDArray[np.bool_] | None = None, t: float = 1.0) -> NDArray[np.float64]:
    shown = np.exp(scores / t - (scores / t).max(1, keepdims=True)) * (1 if allowed is None else allowed)
    return np.asarray(shown / shown.sum(1, keepdims=True))


def cross(y: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None) -> Blame:
    """Gradient of the mean cross-entropy."""
    return lambda scores: (odds(scores, allowed) - np.eye(K)[y]) / len(y)


def moved(before: list[NDArray[np.float64]], *gradients: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    return [part - 0.1 * sum(parts) for part, *parts in zip(before, *gradients, strict=True)]


def assert_close(learner: Any, wanted: list[NDArray[np.float64]]) -> None:
    for found, part in zip(weights(learner.state()), wanted, strict=True):
        np.testing.assert_allclose(found, part, atol=2e-6)


def memories(n: int, seed: int, scores: bool = False) -> Memories:
    x, y = rows(n, seed)
    return Memories(
        x.astype(np.float32), y + 2, np.random.default_rng(seed).normal(size=(n, K if scores else 0)).astype(np.float32)
    )


def test_naive_descends_on_the_mean_cross_entropy() -> None:
    learner, (x, y) = made("naive"), rows(B, 0)
    before = weights(learner.state())
    learner.learn_many(x, y)
    assert_close(learner, moved(before, gradient(before, x, cross(y))))


def test_er_descends_on_batch_and_representatives_together() -> None:
    learner, (x, y), memory = made("er"), rows(B, 0), memories(3, 1)
    before = weights(learner.state())
    learner.learn_beside(x, y, [memory])
    both = np.vstack([x, memory.x]), np.r_[y, memory.y]
    assert_close(learner, moved(before, gradient(before, both[0], cross(both[1]))))
    assert learner.buffer.offered == B


def test_er_ace_tells_a_batch_apart_only_from_its_own_classes() -> None:
    learner, (x, y), memory = made("er-ace"), rows(B, 0), memories(3, 1)
    before = weights(learner.state())
    learner.learn_beside(x, y, [memory])
    present = np.isin(np.arange(K), y)
    assert 0 < present.sum() < K
    parts = gradient(before, x, cross(y, present)), gradient(before, memory.x.astype(float), cross(memory.y))
    assert_close(learner, moved(before, *parts))


def test_der_pulls_scores_to_what_they_were() -> None:
    learner, (x, y) = made("der++", alpha=0.3, beta=0.7), rows(B, 0)
    dark, told = memories(3, 1, scores=True), memories(2, 2, scores=True)
    before = weights(learner.state())
    learner.learn_beside(x, y, [dark, told])
    parts = (
        gradient(before, x, cross(y)),
        gradient(before, dark.x.astype(float), lambda scores: 0.3 * 2 * (scores - dark.scores) / (3 * K)),
        gradient(before, told.x.astype(float), lambda scores: 0.7 * cross(told.y)(scores)),
    )
    assert_close(learner, moved(before, *parts))
    np.testing.assert_allclose(learner.buffer.memories().scores, forward(before, x)[-1], atol=1e-5)


@pytest.mark.parametrize("against", [True, False])
def test_a_gem_takes_off_what_runs_against_the_representatives(against: bool) -> None:
    learner, (x, y) = made("a-gem"), rows(B, 0)
    # Once they are known, the same rows with other classes pull the other way; with the same classes they do not.
    memory = Memories(x.astype(np.float32), (y + 1) % 2 if against else y, np.zeros((B, 0), np.float32))
    for _ in range(60):
        learner.learn_many(x, y)
    before = weights(learner.state())
    learner.learn_beside(x, y, [memory])
    g, reference = gradient(before, x, cross(y)), gradient(before, x, cross(memory.y))
    along = sum((a * b).sum() for a, b in zip(g, reference, strict=True))
    assert (along < 0) == against
    length = sum((b * b).sum() for b in reference)
    back = min(0.0, along / length)
    assert_close(learner, moved(before, [a - back * b for a, b in zip(g, reference, strict=True)]))


def test_lwf_learns_beside_what_it_knew_at_the_boundary() -> None:
    learner = made("lwf", apart=0, weight=0.8, temperature=3.0)
    x, new = rows(B, 0)[0], rows(B, 5)[0]
    learner.learn_many(x, np.array([0, 1, 1, 0]))
    teacher = weights(learner.state())
    labels = np.array([2, 3, 3, 2])
    learner.learn_many(new, labels)
    assert learner.boundaries == 1
    known = np.arange(K) < 2
    wanted = odds(forward(teacher, new)[-1], known, 3.0)
    first = gradient(teacher, new, lambda s: cross(labels)(s) + 0.8 * (odds(s, known, 3.0) - wanted) / 3.0 / B)
    assert_close(learner, moved(teacher, first))
    # A step later the teacher still is what was known at the boundary.
    before = weights(learner.state())
    learner.learn_many(x, labels)
    wanted = odds(forward(teacher, x)[-1], known, 3.0)
    second = gradient(before, x, lambda s: cross(labels)(s) + 0.8 * (odds(s, known, 3.0) - wanted) / 3.0 / B)
    assert_close(learner, moved(before, second))


def test_ewc_draws_back_weights_by_their_squared_gradients() -> None:
    learner = made("ewc", boundary=2 * B, weight=50.0, gamma=0.5)
    squares, before = [np.zeros(())] * 6, weights(learner.state())
    for seed in (0, 1):
        x, y = rows(B, seed)
        for row in range(B):
            single = gradient(before, x[row : row + 1], cross(y[row : row + 1]))
            squares = [total + part**2 / (2 * B) for total, part in zip(squares, single, strict=True)]
        learner.learn_many(x, y)
        before = weights(learner.state())
    assert learner.boundaries == 0
    anchor = before
    for seed in (2, 3):
        x, y = rows(B, seed)
        stepped = moved(before, gradient(before, x, cross(y)))
        learner.learn_many(x, y)
        pulls = [0.1 * 50.0 * part for part in squares]
        wanted = [(part + pull * still) / (1 + pull) for part, pull, still in zip(stepped, pulls, anchor, strict=True)]
        assert_close(learner, wanted)
        before = weights(learner.state())
    assert learner.boundaries == 1


def test_a_new_task_begins_with_a_new_class_but_not_twice_in_a_row() -> None:
    learner = made("lwf", apart=2 * B)
    x, _ = rows(B, 0)
    for labels, boundaries in ((0, 0), (1, 0), (2, 1), (3, 1), (0, 1), (4, 2), (4, 2)):
        learner.learn_many(x, np.full(B, labels))
        assert learner.boundaries == boundaries, labels
