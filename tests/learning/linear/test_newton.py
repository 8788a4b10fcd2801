"""The online Newton step against explicit inverses in plain NumPy, and its projection against the conditions of its optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.errors import RequestError
from estran.learning import registry
from estran.learning.learner import Features, Labels


def make(features: int, classes: int = 2, **settings: Any) -> Any:
    return registry.create({"ons": settings}, features, classes, np.random.default_rng(0))


def stream(n: int, features: int, classes: int) -> tuple[Features, Labels]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, features))
    return x, (x @ rng.normal(size=(features, classes)) + rng.normal(size=(n, classes))).argmax(axis=1)


def sigmoid(m: Any) -> Any:
    return 1 / (1 + np.exp(-m))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_steps_are_those_of_the_explicit_inverse(covariance: str, classes: int) -> None:
    x, y = stream(120, 4, classes)
    learner = make(4, classes, gamma=0.7, prior=0.5, covariance=covariance)
    vectors = 1 if classes == 2 else classes
    weights, curvature = np.zeros((vectors, 5)), np.array([np.eye(5) / 0.5] * vectors)
    for row, label in zip(x, y, strict=True):
        z = np.append(row, 1.0)
        scores = weights @ z
        if classes == 2:
            signs = {0: 1.0 if label else -1.0}
            m = signs[0] * scores[0]
        else:
            rival = int(np.where(np.arange(classes) == label, -np.inf, scores).argmax())
            signs, m = {int(label): 1.0, rival: -1.0}, scores[label] - scores[rival]
        for k, sign in signs.items():
            gradient = -sigmoid(-m) * sign * z
            outer = np.outer(gradient, gradient)
            curvature[k] += outer if covariance == "full" else np.diag(np.diag(outer))
            weights[k] -= np.linalg.solve(curvature[k], gradient) / 0.7
        learner.learn_one(row, int(label))
    state = learner.state()
    assert np.allclose(state["weights"], weights, atol=1e-9)
    inverses = np.linalg.inv(curvature)
    if covariance == "full":
        assert np.allclose(state["covariance"], inverses, atol=1e-10)
    else:
        assert np.allclose(state["variance"], [np.diag(inverse) for inverse in inverses], atol=1e-10)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_projection_is_the_nearest_point_of_the_ball(classes: int) -> None:
    """At it A·(w − u) = μ·u with μ ≥ 0 and |u| = R: the problem is convex, so these conditions suffice."""
    x, y = stream(200, 4, classes)
    x = x * [0.1, 1.0, 3.0, 10.0]
    radius, outside = 0.8, 0
    inside, free = make(4, classes, radius=radius), make(4, classes)
    for row, label in zip(x, y, strict=True):
        free.load(inside.state())
        free.learn_one(row, int(label))
        inside.learn_one(row, int(label))
        w, u, variance = free.state()["weights"], inside.state()["weights"], inside.state()["variance"]
        assert np.array_equal(free.state()["variance"], variance)
        assert np.linalg.norm(u) <= radius * (1 + 1e-9)
        if np.linalg.norm(w) <= radius:
            assert np.array_equal(u, w)
            continue
        outside += 1
        assert np.linalg.norm(u) == pytest.approx(radius)
        pull = (w - u) / variance
        mu = (pull * u).sum() / (u * u).sum()
        assert mu > 0
        assert np.allclose(pull, mu * u, atol=1e-6 * np.abs(pull).max())
    assert outside > 50


def test_curvature_undoes_what_slows_gradient_descent() -> None:
    """Correlated features, of which the strongest do not say most: less loss than gradient descent at its best rate."""
    rng = np.random.default_rng(0)
    white, turn = rng.normal(size=(4000, 6)), np.linalg.qr(rng.normal(size=(6, 6)))[0]
    y = (rng.random(4000) < sigmoid(white @ [2.0, -2.0, 2.0, -2.0, 2.0, -2.0])).astype(np.int64)
    x = white * [3.0, 2.0, 1.0, 0.5, 0.3, 0.2] @ turn

    def loss(choice: Any) -> float:
        learner, total = registry.create(choice, 6, 2, np.random.default_rng(0)), 0.0
        for at in range(0, 4000, 20):
            part = slice(at, at + 20)
            m = np.where(y[part] == 1, 1, -1) * learner.decision_function(x[part])  # type: ignore[attr-defined]  # linear ones have it
            total += float(np.logaddexp(0, -m).sum())
            learner.learn_many(x[part], y[part])
        return total / 4000

    descent = min(loss({"ogd": {"loss": "logistic", "learning_rate": rate}}) for rate in (0.03, 0.1, 0.3, 1.0, 3.0))
    assert loss({"ons": {"covariance": "full"}}) < 0.95 * descent


def test_wrong_settings_are_told() -> None:
    for settings, text in (
        ({"gamma": 0}, "gamma is 0"),
        ({"radius": -1}, "radius is -1"),
        ({"radius": 1.0, "covariance": "full"}, "radius does not go with covariance: full"),
    ):
        with pytest.raises(RequestError) as raised:
            make(3, **settings)
        assert text in str(raised.value)
