"""Each rule against its paper's equations in plain NumPy, and what the papers promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning.learner import Features
from estran.learning.regression.evaluation import prequential
from estran.learning.regression.regressor import create
from estran.learning.regression.rows import Numbers
from estran.learning.streams.classic import Friedman

VALUES = st.floats(-5, 5, width=32)
STREAMS = st.lists(st.tuples(st.lists(VALUES, min_size=3, max_size=3), VALUES), min_size=1, max_size=14)
Stream = list[tuple[list[float], float]]


def make(choice: Any, features: int = 3) -> Any:
    return create(choice, features, np.random.default_rng(0))


def arrays(stream: Stream) -> tuple[Features, Numbers, Features]:
    """Rows, targets, and rows with the 1 of the bias."""
    x, y = np.array([row for row, _ in stream]), np.array([target for _, target in stream])
    return x, y, np.column_stack([x, np.ones(len(x))])


def reference(stream: Stream, step: Any) -> Numbers:
    """Weights after learning row by row: ``step(w, z, y, t)`` gives the next."""
    _, y, z = arrays(stream)
    w = np.zeros(z.shape[1])
    for t, (row, target) in enumerate(zip(z, y, strict=True), start=1):
        w = step(w, row, target, t)
    return w


def assert_learns(choice: Any, stream: Stream, step: Any) -> None:
    x, y, _ = arrays(stream)
    regressor = make(choice)
    regressor.learn_many(x, y)
    wanted = reference(stream, step)
    assert np.allclose(regressor.state()["weights"], wanted, rtol=1e-9, atol=1e-9 * (1 + np.abs(wanted).max()))


@settings(max_examples=40, deadline=None)
@given(STREAMS, st.floats(0, 1), st.sampled_from(["pa", "pa1", "pa2"]), st.floats(0.05, 4))
def test_pa_steps_as_in_section_5(stream: Stream, epsilon: float, variant: str, c: float) -> None:
    def step(w: Numbers, z: Numbers, y: float, t: int) -> Numbers:
        loss, square = max(0.0, abs(w @ z - y) - epsilon), z @ z
        tau = {"pa": loss / square, "pa1": min(c, loss / square), "pa2": loss / (square + 1 / (2 * c))}[variant]
        return np.asarray(w + np.sign(y - w @ z) * tau * z)

    assert_learns({"pa-regression": {"variant": variant, "epsilon": epsilon, "c": c}}, stream, step)


@settings(max_examples=40, deadline=None)
@given(STREAMS, st.floats(0, 1))
def test_pa_leaves_an_error_of_epsilon_and_moves_no_further(stream: Stream, epsilon: float) -> None:
    regressor = make({"pa-regression": {"variant": "pa", "epsilon": epsilon}})
    for row, y in stream:
        before = regressor.predict_one(np.array(row)) - y
        regressor.learn_one(np.array(row), y)
        after = regressor.predict_one(np.array(row)) - y
        assert after == pytest.approx(math.copysign(min(abs(before), epsilon), before), abs=1e-9 * (1 + abs(before)))


LOSSES = {
    "squared": lambda e, epsilon, delta: e,
    "absolute": lambda e, epsilon, delta: np.sign(e),
    "epsilon_insensitive": lambda e, epsilon, delta: np.sign(e) * (abs(e) > epsilon),
    "huber": lambda e, epsilon, delta: np.clip(e, -delta, delta),
}


@settings(max_examples=40, deadline=None)
@given(STREAMS, st.sampled_from(sorted(LOSSES)), st.booleans(), st.floats(0.01, 1), st.floats(0.01, 2))
def test_gradient_descent_follows_the_slope(stream: Stream, loss: str, fixed: bool, epsilon: float, delta: float) -> None:
    def step(w: Numbers, z: Numbers, y: float, t: int) -> Numbers:
        return np.asarray(w - (0.02 if fixed else 0.02 / math.sqrt(t)) * LOSSES[loss](w @ z - y, epsilon, delta) * z)

    steps = "fixed" if fixed else "decaying"
    given_settings = {"learning_rate": 0.02, "loss": loss, "steps": steps, "epsilon": epsilon, "delta": delta}
    assert_learns({"ogd-regression": given_settings}, stream, step)


@settings(max_examples=30, deadline=None)
@given(STREAMS, st.sampled_from(sorted(LOSSES)))
def test_adagrad_and_ftrl_scale_each_column(stream: Stream, loss: str) -> None:
    squares, again, linear = np.zeros(4), np.zeros(4), np.zeros(4)

    def adagrad(w: Numbers, z: Numbers, y: float, t: int) -> Numbers:
        g = LOSSES[loss](w @ z - y, 0.1, 0.5) * z
        squares[:] += g * g
        return np.asarray(w - 0.3 * g / (1e-8 + np.sqrt(squares)))

    def ftrl(w: Numbers, z: Numbers, y: float, t: int) -> Numbers:
        g = LOSSES[loss](w @ z - y, 0.1, 0.5) * z
        linear[:] += g - (np.sqrt(again + g * g) - np.sqrt(again)) / 0.3 * w
        again[:] += g * g
        shrunk = np.sign(linear) * np.maximum(0, np.abs(linear) - 0.2)
        return np.asarray(-shrunk / ((0.5 + np.sqrt(again)) / 0.3 + 0.1))

    chosen = {"loss": loss, "epsilon": 0.1, "delta": 0.5}
    assert_learns({"adagrad-regression": {"learning_rate": 0.3, **chosen}}, stream, adagrad)
    assert_learns({"ftrl-regression": {"alpha": 0.3, "beta": 0.5, "l1": 0.2, "l2": 0.1, **chosen}}, stream, ftrl)


@settings(max_examples=60, deadline=None)
@given(STREAMS, st.floats(0.01, 10), st.one_of(st.just(1.0), st.floats(0.5, 0.999)))
def test_ridge_is_the_solution_of_all_rows_so_far(stream: Stream, l2: float, forgetting: float) -> None:
    x, y, z = arrays(stream)
    regressor = make({"ridge": {"l2": l2, "forgetting": forgetting}})
    regressor.learn_many(x, y)
    weights = forgetting ** np.arange(len(y))[::-1]
    a = l2 * forgetting ** len(y) * np.eye(4) + (z * weights[:, None]).T @ z
    wanted, scale = np.linalg.solve(a, (z * weights[:, None]).T @ y), np.linalg.cond(a)
    assert np.allclose(regressor.state()["weights"], wanted, rtol=0, atol=1e-12 * scale * (1 + np.abs(wanted).max()))
    assert np.allclose(regressor.covariance() @ a, np.eye(4), rtol=0, atol=1e-13 * scale)


def test_ridge_of_a_real_data_set_is_scikit_learns() -> None:
    datasets, linear_model = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.linear_model")
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    regressor = make({"ridge": {"l2": 3.0, "bias": False}}, 10)
    regressor.learn_many(x, y)
    batch = linear_model.Ridge(alpha=3.0, fit_intercept=False).fit(x, y)
    assert np.allclose(regressor.predict(x), batch.predict(x), rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(STREAMS, st.floats(0.1, 10))
def test_forward_ridge_answers_as_defined_and_keeps_its_bound(stream: Stream, l2: float) -> None:
    x, y, z = arrays(stream)
    a, b, defined = l2 * np.eye(4), np.zeros(4), []
    for row, target in zip(z, y, strict=True):
        a += np.outer(row, row)
        defined.append(b @ np.linalg.solve(a, row))
        b += target * row
    answers = make({"forward-ridge": {"l2": l2}}).predict_then_learn(x, y)
    assert np.allclose(answers, defined, rtol=0, atol=1e-9)
    best = np.linalg.solve(a, b)
    least = ((z @ best - y) ** 2).sum() + l2 * best @ best
    bound = np.abs(y).max() ** 2 * np.linalg.slogdet(a / l2)[1]
    assert ((answers - y) ** 2).sum() <= least + bound + 1e-9


@settings(max_examples=40, deadline=None)
@given(STREAMS, st.floats(0.1, 2), st.floats(0.1, 4), st.one_of(st.none(), st.floats(0.5, 6)))
def test_online_newton_steps_and_projects_as_defined(stream: Stream, gamma: float, epsilon: float, bound: float | None) -> None:
    x, y, z = arrays(stream)
    a, w, answers = epsilon * np.eye(4), np.zeros(4), []
    for row, target in zip(z, y, strict=True):
        if bound is not None and abs(w @ row) > bound:
            # The nearest weights, as A measures distance, that answer within the bound.
            s = np.linalg.solve(a, row)
            w = w - (w @ row - math.copysign(bound, w @ row)) / (row @ s) * s
        answers.append(w @ row)
        g = (w @ row - target) * row
        a = a + np.outer(g, g)
        w = w - np.linalg.solve(a, g) / gamma
    regressor = make({"ons-regression": {"gamma": gamma, "epsilon": epsilon, "bound": bound}})
    found = regressor.predict_then_learn(x, y)
    loose = 1e-11 * np.linalg.cond(a) * (1 + np.abs(w).max() + np.abs(answers).max())
    assert np.allclose(found, answers, rtol=0, atol=loose)
    assert np.allclose(regressor.state()["weights"], w, rtol=0, atol=loose)
    assert bound is None or np.abs(found).max() <= bound


def test_online_newton_keeps_its_bound_where_it_is_sure_of_everything() -> None:
    # Rows so large that they narrow S to almost nothing, then a small one, whose variance is far below rounding beside 1.
    regressor = make({"ons-regression": {"gamma": 1.0, "bound": 2.0, "bias": False}}, 1)
    regressor.learn_many(np.array([[1e-3]]), np.array([1000.0]))
    regressor.learn_many(np.array([[1e9]] * 4), np.array([-1e9, 1e9, -1e9, 1e9]))
    regressor.load(dict(regressor.state()) | {"weights": np.array([1e6])})
    assert regressor.predict_then_learn(np.array([[1e-3], [1e-3]]), np.array([2.0, 2.0])).tolist() == [2.0, 2.0]
    assert regressor.state()["weights"][0] == pytest.approx(2000)


def badly_scaled(n: int) -> tuple[Features, Numbers]:
    """Twelve features from a million to a millionth, correlated, some of them rare."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 12)) @ (np.eye(12) + 0.3 * rng.normal(size=(12, 12)))
    x[:, 3] *= rng.random(n) < 0.001
    return x * 10.0 ** np.linspace(6, -6, 12), rng.choice([-1.0, 1.0], size=n)


NARROWING: list[Any] = [
    {"ridge": {"l2": 1e-6}},
    {"ridge": {"l2": 1e-6, "forgetting": 0.9}},
    {"forward-ridge": {"l2": 1e-6}},
    {"ons-regression": {"epsilon": 1e-6}},
]


@pytest.mark.parametrize("choice", NARROWING, ids=str)
def test_the_covariance_stays_positive_definite_however_features_are_scaled(choice: Any) -> None:
    x, y = badly_scaled(30_000)
    regressor = make(choice, 12)
    regressor.learn_many(x, y)
    state = regressor.state()
    assert (state["variances"] > 0).all()
    # Scaled to a unit diagonal, in which rounding cannot hide.
    covariance = regressor.covariance()
    spread = np.sqrt(np.diag(covariance))
    assert np.linalg.eigvalsh(covariance / np.outer(spread, spread)).min() > 0
    assert np.isfinite(regressor.predict(x)).all()


def test_that_stream_is_hard() -> None:
    # The textbook's update of S loses its definiteness on it, which is what the factors are for.
    x, _ = badly_scaled(3000)
    s = np.eye(13) / 1e-6
    for row in np.column_stack([x, np.ones(len(x))]):
        blurred = s @ row
        s = s - np.outer(blurred, blurred) / (1 + row @ blurred)
    assert np.linalg.eigvalsh((s + s.T) / 2).min() < 0


def test_ridge_is_as_right_on_badly_scaled_features_as_on_others() -> None:
    # Powers of two scale without rounding, so the problem is the same one: S and w in other units.
    rng = np.random.default_rng(4)
    x, scales = rng.normal(size=(400, 6)), 2.0 ** np.array([-20, -8, 0, 3, 11, 20])
    y = x @ rng.normal(size=6) + rng.normal(size=400)
    regressor = make({"ridge": {"l2": 1e-24, "bias": False}}, 6)
    regressor.learn_many(x * scales, y)
    assert np.allclose(regressor.state()["weights"] * scales, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-12)


def test_forgetting_does_not_wind_up_where_nothing_is_seen() -> None:
    x = np.zeros((30_000, 3))
    x[:, 0] = np.random.default_rng(0).normal(size=len(x))
    regressor = make({"ridge": {"forgetting": 0.9}})
    regressor.learn_many(x, x[:, 0] * 2)
    assert regressor.state()["variances"][1] == 1e12
    assert regressor.predict(np.eye(3)[:1])[0] == pytest.approx(2)
    # What comes then is learned at once.
    regressor.learn_one([0.0, 1.0, 0.0], 5.0)
    assert regressor.predict_one([0.0, 1.0, 0.0]) == pytest.approx(5)


@pytest.mark.parametrize(
    "name", ["pa-regression", "ogd-regression", "adagrad-regression", "ftrl-regression", "ridge", "forward-ridge"]
)
def test_real_data_is_learned_in_one_pass(name: str) -> None:
    datasets = pytest.importorskip("river.datasets")
    pairs = list(datasets.TrumpApproval())
    x = np.array([list(row.values()) for row, _ in pairs])[:, 1:] / 10 - 4.5
    chosen = {name: {"c": 0.1}} if name == "pa-regression" else name
    found = prequential(make(chosen, 5), [(x, np.array([y for _, y in pairs]) - 40)]).sliding(500)
    assert found.mae[-1] < 0.75 * found.mean_mae[-1]


def test_forgetting_pays_where_the_concept_changes() -> None:
    stream = Friedman(drift="recurring", positions=(1500, 9000), noise=0.1)

    def error(choice: Any) -> float:
        found = prequential(make(choice, 10), stream.chunks(np.random.default_rng(1), rows=3000)).sliding(1000)
        assert found.skill_mean[-1] > 0.2
        return float(found.mae[-1])

    assert error({"ridge": {"forgetting": 0.99}}) < 0.9 * error("ridge")


def test_huber_and_pa1_bear_outliers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    clean = x @ np.array([1.0, -2.0, 0.5])
    y = clean + (rng.random(2000) < 0.05) * rng.normal(scale=300, size=2000)

    def error(choice: Any) -> float:
        return float(np.median(np.abs(make(choice).predict_then_learn(x, y) - clean)[1000:]))

    squared = error({"ogd-regression": {"loss": "squared"}})
    assert error({"ogd-regression": {"loss": "huber"}}) < squared / 3
    assert error({"pa-regression": {"c": 0.01}}) < error({"pa-regression": {"variant": "pa"}}) / 3
