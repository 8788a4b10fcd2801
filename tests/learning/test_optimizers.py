"""The perceptron's optimizers, against their definitions written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.errors import RequestError
from estran.learning.learner import NotFiniteError, StateError
from estran.learning.mlp import Mlp

State = dict[str, np.ndarray]


def make(optimizer: Any, seed: int = 1, **settings: Any) -> Mlp:
    chosen = {"hidden": [7, 6], "dtype": "float64", "learning_rate": 0.02, **settings}
    return Mlp(5, 3, np.random.default_rng(seed), optimizer=optimizer, **chosen)


def gradients(weights: State, x: np.ndarray, y: int) -> State:
    """Of the cross-entropy, for the layers 5-7-6-3."""
    acts = [x]
    for layer in range(3):
        scores = acts[-1] @ weights[f"w{layer}"] + weights[f"b{layer}"]
        acts.append(np.maximum(0, scores) if layer < 2 else scores)
    blame = np.exp(acts[3] - acts[3].max())
    blame /= blame.sum()
    blame[y] -= 1
    found = {}
    for layer in (2, 1, 0):
        found |= {f"w{layer}": np.outer(acts[layer], blame), f"b{layer}": blame}
        blame = (weights[f"w{layer}"] @ blame) * (acts[layer] > 0)
    return found


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(n, 5))
    x[rng.random(x.shape) < 0.4] = 0
    return x, rng.integers(3, size=n)


def test_momentum_is_as_defined() -> None:
    mlp, (x, y) = make("momentum", momentum=0.8), rows(40)
    weights = {name: array for name, array in mlp.state().items() if name[0] in "wb"}
    velocity = {name: np.zeros_like(array) for name, array in weights.items()}
    mlp.learn_many(x, y)
    for row, label in zip(x, y, strict=True):
        for name, gradient in gradients(weights, row, label).items():
            velocity[name] = 0.8 * velocity[name] + gradient
            weights[name] = weights[name] - 0.02 * velocity[name]
    for name, array in weights.items():
        assert mlp.state()[name] == pytest.approx(array, abs=1e-10)
        assert mlp.state()[f"velocity_{name}"] == pytest.approx(velocity[name], abs=1e-10)


def test_adam_is_as_in_its_papers_algorithm() -> None:
    mlp, (x, y) = make("adam", momentum=0.85), rows(40)
    weights = {name: array for name, array in mlp.state().items() if name[0] in "wb"}
    m, v = ({name: np.zeros_like(array) for name, array in weights.items()} for _ in range(2))
    mlp.learn_many(x, y)
    for t, (row, label) in enumerate(zip(x, y, strict=True), start=1):
        for name, gradient in gradients(weights, row, label).items():
            m[name] = 0.85 * m[name] + 0.15 * gradient
            v[name] = 0.999 * v[name] + 0.001 * gradient**2
            corrected, spread = m[name] / (1 - 0.85**t), v[name] / (1 - 0.999**t)
            weights[name] = weights[name] - 0.02 * corrected / (np.sqrt(spread) + 1e-8)
    for name, array in weights.items():
        assert mlp.state()[name] == pytest.approx(array, abs=1e-8)
    assert mlp.state()["powers"] == pytest.approx([0.85**40, 0.999**40])


def test_momentum_of_zero_is_plain_descent() -> None:
    plain, heavy = make("sgd"), make("momentum", momentum=0)
    for mlp in (plain, heavy):
        mlp.learn_many(*rows(60))
    for name, array in plain.state().items():
        assert heavy.state()[name] == pytest.approx(array, abs=1e-12)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_going_on_from_a_snapshot_is_going_on(optimizer: str, dtype: str) -> None:
    x, y = rows(60)
    one, other = make(optimizer, dtype=dtype), make(optimizer, seed=9, dtype=dtype)
    one.learn_many(x[:30], y[:30])
    other.load(one.state())
    one.learn_many(x[30:], y[30:])
    for row in range(30, 60):
        other.learn_many(x[row : row + 1], y[row : row + 1])
    assert all(np.array_equal(array, other.state()[name]) for name, array in one.state().items())
    assert {array.dtype.name for name, array in one.state().items() if name != "powers"} == {dtype}


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_what_diverges_or_does_not_fit_leaves_what_was_known(optimizer: str) -> None:
    mlp, (x, y) = make(optimizer, dtype="float32"), rows(20)
    mlp.learn_many(x, y)
    before = mlp.state()
    x[11, 2] = np.inf
    with pytest.raises(NotFiniteError, match="mlp"):
        mlp.learn_many(x, y)
    with pytest.raises(NotFiniteError, match="diverged"):
        mlp.learn_many(np.random.default_rng(0).normal(size=(20, 5)) * 1e30, y)
    with pytest.raises(StateError, match="mlp"):
        mlp.load(make("sgd").state())
    assert all(np.array_equal(before[name], array) for name, array in mlp.state().items())


@pytest.mark.parametrize("wrong", [{"v_w0": np.full((5, 7), -1.0)}, {"powers": np.array([0.5, 1.5])}], ids=str)
def test_impossible_memories_are_refused(wrong: State) -> None:
    mlp = make("adam")
    with pytest.raises(StateError, match="as state"):
        mlp.load({**mlp.state(), **wrong})


@pytest.mark.parametrize("wrong", [{"optimizer": "rmsprop"}, {"momentum": 1.0}, {"momentum": float("nan")}], ids=str)
def test_hyperparameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as raised:
        make(**{"optimizer": "adam", **wrong})
    assert next(iter(wrong)) in str(raised.value)
