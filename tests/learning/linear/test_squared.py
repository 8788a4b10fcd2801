"""The squared loss: each rule's step is that of least squares on labels of ±1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.learning import registry


@pytest.mark.parametrize("name", ["ogd", "adagrad", "ftrl"])
def test_steps_are_those_of_least_squares(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x @ rng.normal(size=4) + rng.normal(size=200) > 0).astype(np.int64)
    rates: dict[str, Any] = {"ogd": {"learning_rate": 0.1}, "adagrad": {"learning_rate": 0.2}, "ftrl": {"alpha": 0.2, "l1": 0.5}}
    learner: Any = registry.create({name: {"loss": "squared", "bias": False} | rates[name]}, 4, 2, rng)
    weights, squares, linear = np.zeros(4), np.zeros(4), np.zeros(4)
    beyond = 0
    for t, (row, target) in enumerate(zip(x, 2.0 * y - 1.0, strict=True), start=1):
        residual = weights @ row - target
        beyond += target * (weights @ row) > 1
        gradient = 2 * residual * row
        grown = squares + gradient**2
        if name == "ogd":
            weights = weights - 0.1 / np.sqrt(t) * gradient
        elif name == "adagrad":
            weights = weights - 0.2 * gradient / (1e-8 + np.sqrt(grown))
        else:
            linear += gradient - (np.sqrt(grown) - np.sqrt(squares)) / 0.2 * weights
            weights = np.where(np.abs(linear) <= 0.5, 0.0, -(linear - 0.5 * np.sign(linear)) / ((1 + np.sqrt(grown)) / 0.2))
        squares = grown
        learner.learn_one(row, int(target > 0))
    assert beyond > 5, "no margin above 1 was pulled back"
    assert np.allclose(learner.state()["weights"][0], weights, atol=1e-10)


def test_least_squares_are_found() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40_000, 3))
    y = (x @ [1.0, -0.5, 0.2] + rng.normal(size=len(x)) > 0).astype(np.int64)
    best = np.linalg.lstsq(x, 2.0 * y - 1.0)[0]
    for choice in ({"ogd": {"learning_rate": 0.05}}, {"adagrad": {"learning_rate": 0.1}}):
        ((name, settings),) = choice.items()
        learner: Any = registry.create({name: settings | {"loss": "squared", "bias": False}}, 3, 2, rng)
        learner.learn_many(x, y)
        assert np.allclose(learner.state()["weights"][0], best, atol=0.05)
