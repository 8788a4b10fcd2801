"""The network that learns numbers: its gradient, its losses, and what a linear regressor cannot learn."""

from __future__ import annotations

import numpy as np
import pytest

from estran.errors import RequestError
from estran.learning.regression.network import MlpRegressor
from estran.learning.regression.regressor import create


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_a_row_moves_weights_down_the_gradient_of_its_loss(loss: str) -> None:
    """Against central differences, in float64."""
    rng = np.random.default_rng(0)
    for target in (0.3, 5.0):
        model = MlpRegressor(3, rng, hidden=[5, 4], learning_rate=1e-3, loss=loss, delta=0.5, dtype="float64")  # type: ignore[arg-type]
        x, before = rng.normal(size=(1, 3)), model.state()

        def value(model: MlpRegressor = model, x: np.ndarray = x, target: float = target) -> float:  # type: ignore[type-arg]
            error = abs(float(model.predict(x)[0]) - target)
            return error**2 / 2 if loss == "squared" or error <= 0.5 else 0.5 * (error - 0.25)

        slopes = {}
        for name, part in before.items():
            slopes[name] = np.zeros_like(part)
            for place in np.ndindex(part.shape):
                ends = []
                for step in (1e-6, -1e-6):
                    changed = {key: array.copy() for key, array in before.items()}
                    changed[name][place] += step
                    model.load(changed)
                    ends.append(value())
                slopes[name][place] = (ends[0] - ends[1]) / 2e-6
        model.load(before)
        model.learn_many(x, np.array([target]))
        for name, part in model.state().items():
            assert np.allclose(part, before[name] - 1e-3 * slopes[name], atol=1e-10), name


def test_a_curve_is_learned_that_no_line_follows() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(20_000, 2))
    y = x[:, 0] * x[:, 1] + 0.5 * x[:, 0] ** 2
    errors = {}
    for name, choice in (("mlp", {"mlp-regression": {"hidden": [32], "learning_rate": 0.05}}), ("ridge", {"ridge": {}})):
        answers = create(choice, 2, np.random.default_rng(0)).predict_then_learn(x, y)
        errors[name] = float(np.abs(answers - y)[-5000:].mean())
    assert errors["mlp"] < 0.3 * errors["ridge"]


def test_wrong_settings_are_told() -> None:
    for settings, text in (
        ({"hidden": [0]}, "positive widths"),
        ({"loss": "cubic"}, "give squared or huber"),
        ({"delta": 0}, "delta is 0"),
    ):
        with pytest.raises(RequestError, match=text):
            create({"mlp-regression": settings}, 2, np.random.default_rng(0))
