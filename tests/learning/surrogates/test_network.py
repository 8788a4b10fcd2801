"""The network of fields: its gradient, its step, its average, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.learning.learner import LearnerError, NotFiniteError, StateError
from estran.learning.surrogates.committee import Committee, Served
from estran.learning.surrogates.network import FieldNetwork, MlpFields


def made(**settings: Any) -> MlpFields:
    return MlpFields(3, 4, np.random.default_rng(0), **{"hidden": [7, 5], "dtype": "float64", "average": 0.0, **settings})


def batch(n: int = 6, seed: int = 1) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 4)), rng.random(n) + 0.1


def loss(parts: Any, x: Any, y: Any, weights: Any) -> float:
    h = np.maximum(np.maximum(x @ parts["w0"] + parts["b0"], 0) @ parts["w1"] + parts["b1"], 0)
    squares = ((h @ parts["w2"] + parts["b2"] - y) ** 2).mean(axis=1)
    return float((squares * weights).sum() / weights.sum())


def test_its_gradient_is_that_of_the_weighted_mean_squared_error() -> None:
    x, y, weights = batch()
    model = made()
    before = dict(model.state())
    model.learn(x, y, weights)
    after, step = model.state(), 1e-6
    for name in ("w0", "b0", "w1", "b1", "w2", "b2"):
        found = after[f"m_{name}"] / 0.1 * 2  # the first moment is a tenth of the gradient, which is that of half the loss
        for place in np.ndindex(before[name].shape):
            ends = []
            for sign in (1, -1):
                moved = {key: array.copy() for key, array in before.items()}
                moved[name][place] += sign * step
                ends.append(loss(moved, x, y, weights))
            assert found[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7)


def test_a_step_is_adams() -> None:
    model = made(learning_rate=0.01)
    first, second = batch(seed=2), batch(seed=3)
    before = dict(model.state())
    model.learn(*first)
    middle = dict(model.state())
    model.learn(*second)
    after = model.state()
    g1 = middle["m_w1"] / 0.1
    g2 = (after["m_w1"] - 0.9 * middle["m_w1"]) / 0.1
    m, v = 0.09 * g1 + 0.1 * g2, 0.999 * 0.001 * g1**2 + 0.001 * g2**2
    wanted = middle["w1"] - 0.01 * (m / (1 - 0.81)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
    np.testing.assert_allclose(after["w1"], wanted, rtol=1e-9, atol=1e-12)
    assert not np.array_equal(before["w1"], middle["w1"])


def test_losses_are_those_before_the_step() -> None:
    x, y, weights = batch()
    model = made()
    wanted = ((model.predict(x) - y) ** 2).mean(axis=1)
    np.testing.assert_allclose(model.learn(x, y, weights), wanted, rtol=1e-12)


def test_what_is_served_is_an_average_of_the_weights() -> None:
    model, seen = made(average=0.5), []
    for seed in range(6):
        model.learn(*batch(seed=seed))
        seen.append(model.state()["w0"])
    wanted = seen[0]
    for number, weights in enumerate(seen[1:], 2):
        keep = min(0.5, 1 - 1 / number)
        wanted = keep * wanted + (1 - keep) * weights
    np.testing.assert_allclose(model.served()["w0"], wanted, rtol=1e-12)


def test_what_does_not_fit_is_refused_and_leaves_no_trace() -> None:
    x, y, _ = batch()
    model = made()
    before = model.predict(x)
    bad = y.copy()
    bad[2, 1] = np.nan
    with pytest.raises(NotFiniteError, match="field of row 2"):
        model.learn(x, bad)
    with pytest.raises(NotFiniteError, match="row 0"):
        model.learn(np.full((1, 3), np.inf), y[:1])
    with pytest.raises(LearnerError, match="shape"):
        model.learn(x, y[:, :3])
    with pytest.raises(NotFiniteError, match="diverged"):
        made(learning_rate=1e300).learn(x, 1e200 * y)
    np.testing.assert_array_equal(model.predict(x), before)


def test_a_committee_answers_elsewhere_as_it_does_here_and_disagrees_where_it_knows_nothing() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 0, size=(200, 2))
    y = np.column_stack([x[:, 0] * x[:, 1], x.sum(axis=1)])
    committee = Committee(2, 2, rng, centre=y.mean(axis=0), scale=2.0, members=3, hidden=(16,), learning_rate=0.01)
    for _ in range(600):
        committee.learn(x, y)
    committee.serve()
    assert np.sqrt(((committee.predict(x) - y) ** 2).mean()) < 0.1
    assert committee.disagreement(np.array([[1.0, 1.0]]))[0] > 10 * committee.disagreement(x).mean()
    elsewhere = Served(2, (16,), committee.state())
    np.testing.assert_array_equal(elsewhere.predict(x), committee.predict(x))
    with pytest.raises(StateError):
        Served(2, (8,), committee.state())
    with pytest.raises(StateError):
        FieldNetwork(2, 2, rng, hidden=(16,)).load({})


def test_weights_that_cannot_answer_are_not_taken_into_service() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    committee = Committee(2, 2, rng, centre=np.zeros(2), scale=1.0, hidden=(16, 16), learning_rate=1e30, average=0.0)
    before = committee.predict(x)
    committee.learn(x, y)
    with pytest.raises(NotFiniteError):
        committee.serve()
    np.testing.assert_array_equal(committee.predict(x), before)
