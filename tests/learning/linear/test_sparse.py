"""Sparse linear learners against an eager reference of their papers' equations, in plain NumPy, and what all promise."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, StateError

NAMES = ("truncated-gradient", "fobos", "rda", "enhanced-rda", "ada-fobos", "ada-rda")
CHOICES: dict[str, Any] = {
    **{name: {name: {}} for name in NAMES},
    "truncated-gradient-theta": {"truncated-gradient": {"theta": 0.3, "every": 7, "l1": 0.02}},
    "fobos-logistic": {"fobos": {"loss": "logistic", "l1": 0.01}},
    "rda-squared-hinge": {"rda": {"loss": "squared_hinge", "gamma": 50.0, "bias": False}},
}
EACH = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
Weights = NDArray[np.float64]


def make(choice: Any, features: int = 4, classes: int = 2) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(0))


def stream(n: int, features: int, classes: int, seed: int = 0) -> tuple[Features, Labels]:
    """Rows half of zeros, and labels that a linear model gets mostly right."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)) * (rng.random((n, features)) < 0.5)
    noise = rng.normal(scale=0.5, size=(n, classes))
    return x, (x @ rng.normal(size=(features, classes)) + noise).argmax(axis=1)


def assert_alike(one: Any, other: Any) -> None:
    mine, theirs = one.state(), other.state()
    assert mine.keys() == theirs.keys()
    for name, part in mine.items():
        assert np.array_equal(part, theirs[name]), name


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@EACH
def test_conformance(choice: Any, check: Any) -> None:
    check(lambda features, classes, rng: registry.create(choice, features, classes, rng))


@pytest.mark.parametrize("classes", [2, 4])
@EACH
def test_a_chunk_is_predicted_and_learned_row_by_row(choice: Any, classes: int) -> None:
    x, y = stream(120, 11, classes)
    chunked, single = make(choice, 11, classes), make(choice, 11, classes)
    answers = np.concatenate([chunked.predict_then_learn(x[at : at + 50], y[at : at + 50]) for at in (0, 50, 100)])
    for i in range(len(x)):
        assert single.predict_one(x[i]) == answers[i]
        single.learn_one(x[i], y[i])
    assert_alike(chunked, single)


@pytest.mark.parametrize("classes", [2, 3])
@EACH
def test_sparse_rows_teach_the_same_to_the_bit(choice: Any, classes: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(100, 13, classes)
    dense, thin, padded = (make(choice, 13, classes) for _ in range(3))
    answers = dense.predict_then_learn(x, y)
    assert np.array_equal(answers, thin.predict_then_learn(sparse.csr_matrix(x), y))
    assert_alike(dense, thin)
    # A zero that is written down is still a zero.
    full = sparse.csr_matrix((x.ravel(), np.tile(np.arange(13), 100), np.arange(0, 1301, 13)), shape=x.shape)
    assert full.nnz == x.size
    padded.learn_many(full, y)
    assert_alike(dense, padded)
    assert np.array_equal(dense.decision_function(x), thin.decision_function(sparse.coo_array(x)))


@EACH
def test_snapshots_hold_the_weights_of_now_and_change_nothing(choice: Any) -> None:
    x, y = stream(90, 9, 3)
    watched, left, other = (make(choice, 9, 3) for _ in range(3))
    for i in range(60):
        watched.learn_one(x[i], y[i])
        state = watched.state()
        columns = x @ state["weights"][:, :9].T + (state["weights"][:, 9] if watched.bias else 0.0)
        assert np.allclose(watched.decision_function(x), columns, atol=1e-12)
    left.learn_many(x[:60], y[:60])
    other.load(watched.state())
    for learner in (watched, left, other):
        learner.learn_many(x[60:], y[60:])
    assert_alike(watched, left)
    assert_alike(watched, other)


def soft(values: Weights, cut: Any) -> Weights:
    return np.sign(values) * np.maximum(np.abs(values) - cut, 0.0)


class Eager:
    """Every weight at every row, as the papers have it: ``after`` is what each does with the gradient of row t."""

    def __init__(self, shape: tuple[int, int], penalty: Weights) -> None:
        self.weights, self.total, self.squares, self.penalty = np.zeros(shape), np.zeros(shape), np.zeros(shape), penalty

    def after(self, name: str, t: int, g: Weights, s: dict[str, Any]) -> None:
        self.total, self.squares = self.total + g, self.squares + g**2
        mean, lam = self.total / t, self.penalty * s["l1"]
        eta = s.get("learning_rate", 0.0) / (1.0 if s.get("schedule") == "constant" else np.sqrt(t))
        if name == "fobos":
            self.weights = soft(self.weights - eta * g, eta * lam)
        elif name == "truncated-gradient":
            self.weights = self.weights - eta * g
            if t % s["every"] == 0:
                small = np.abs(self.weights) <= (s["theta"] or np.inf)
                self.weights = np.where(small, soft(self.weights, s["every"] * eta * lam), self.weights)
        elif name == "rda":
            self.weights = -np.sqrt(t) / s["gamma"] * soft(mean, lam)
        elif name == "enhanced-rda":
            lam = lam + self.penalty * s["gamma"] * s["rho"] / np.sqrt(t)
            self.weights = -np.sqrt(t) / s["gamma"] * soft(mean, lam)
        elif name == "ada-fobos":
            step = s["learning_rate"] / (s["delta"] + np.sqrt(self.squares))
            self.weights = soft(self.weights - step * g, step * lam)
        else:
            self.weights = -s["learning_rate"] * t / (s["delta"] + np.sqrt(self.squares)) * soft(mean, lam)


def violation(weights: Weights, z: Weights, y: int) -> tuple[float, Weights]:
    """Margin of a row, and its direction for every prototype."""
    scores, push = weights @ z, np.zeros_like(weights)
    if len(weights) == 1:
        sign = 1.0 if y else -1.0
        return float(sign * scores[0]), sign * z[None]
    rival = int(np.argmax(np.where(np.arange(len(weights)) == y, -np.inf, scores)))
    push[y], push[rival] = z, -z
    return float(scores[y] - scores[rival]), push


LOSSES = {
    "hinge": lambda m: float(m < 1),
    "logistic": lambda m: 1 / (1 + np.exp(m)),
    "squared_hinge": lambda m: 2 * max(0.0, 1 - m),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "truncated-gradient": {"learning_rate": 0.1, "l1": 0.03, "theta": 0.4, "every": 3, "schedule": "constant"},
    "fobos": {"learning_rate": 0.3, "l1": 0.05},
    "rda": {"gamma": 3.0, "l1": 0.05},
    "enhanced-rda": {"gamma": 3.0, "l1": 0.03, "rho": 0.1},
    "ada-fobos": {"learning_rate": 0.2, "l1": 0.05, "delta": 0.1},
    "ada-rda": {"learning_rate": 0.2, "l1": 0.05, "delta": 0.1},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NAMES)
def test_shrinking_late_is_shrinking_at_once(name: str, loss: str) -> None:
    for classes in (2, 3):
        x, y = stream(300, 12, classes, seed=3)
        x[:, 8:] *= np.random.default_rng(1).random((300, 4)) < 0.1  # features that are seldom seen miss many rows
        learner = make({name: SETTINGS[name] | {"loss": loss}}, 12, classes)
        penalty = np.append(np.ones(12), 0.0)
        eager, zeros = Eager((1 if classes == 2 else classes, 13), penalty), 0
        for t, (row, label) in enumerate(zip(x, y, strict=True), start=1):
            m, push = violation(eager.weights, np.append(row, 1.0), label)
            eager.after(name, t, -LOSSES[loss](m) * push, SETTINGS[name])
            learner.learn_one(row, label)
            # What rounding alone keeps from zero is the only difference that there may be.
            assert np.allclose(learner.weights, eager.weights, rtol=1e-9, atol=1e-12)
            zeros += int(((learner.weights == 0) & (eager.weights == 0))[:, :12].sum())
        assert zeros > 300  # and zeros were among what was compared
        assert (learner.weights[:, :12] != 0).any()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.floats(-3, 3, width=32), min_size=3, max_size=3), min_size=1, max_size=12),
    st.floats(0.1, 9.0),
    st.floats(0.0, 0.5),
    st.floats(0.0, 0.5),
    st.data(),
)
def test_rda_is_the_regularised_leader(rows: list[list[float]], gamma: float, lam: float, rho: float, data: st.DataObject) -> None:
    """No step away from its weights lowers what Xiao's equation 8 minimises."""
    learner = make({"enhanced-rda": {"gamma": gamma, "l1": lam, "rho": rho, "bias": False}}, 3)
    total, t = np.zeros(3), len(rows)
    for row in rows:
        label = data.draw(st.integers(0, 1))
        sign = 1.0 if label else -1.0
        m = sign * learner.decision_function(np.array([row]))[0]
        total -= float(m < 1) * sign * np.array(row)
        learner.learn_one(np.array(row), label)

    def regret(w: Weights) -> float:
        strict = lam + gamma * rho / np.sqrt(t)
        return float(total / t @ w + strict * np.abs(w).sum() + gamma / (2 * np.sqrt(t)) * w @ w)

    best = learner.weights[0]
    for j in range(3):
        for step in (1e-3, 0.1, 1.0, -best[j]):
            for sign in (1.0, -1.0):
                other = best.copy()
                other[j] += sign * step
                assert regret(other) >= regret(best) - 1e-12


def test_without_a_penalty_they_are_what_they_extend() -> None:
    for loss in LOSSES:
        for classes in (2, 3):
            x, y = stream(200, 7, classes)
            ogd = make({"ogd": {"loss": loss, "learning_rate": 0.2}}, 7, classes)
            fobos = make({"fobos": {"loss": loss, "learning_rate": 0.2, "l1": 0.0}}, 7, classes)
            assert np.array_equal(ogd.predict_then_learn(x, y), fobos.predict_then_learn(x, y))
            assert np.array_equal(ogd.state()["weights"], fobos.weights)
            adagrad = make({"adagrad": {"loss": loss, "learning_rate": 0.2, "epsilon": 0.5}}, 7, classes)
            adaptive = make({"ada-fobos": {"loss": loss, "learning_rate": 0.2, "l1": 0.0, "delta": 0.5}}, 7, classes)
            adagrad.learn_many(x, y)
            adaptive.learn_many(x, y)
            assert np.allclose(adagrad.state()["weights"], adaptive.weights, rtol=1e-9, atol=1e-12)


def test_relatives_agree_to_the_bit() -> None:
    x, y = stream(200, 7, 3)
    for one, other in (
        ({"truncated-gradient": {"l1": 0.02}}, {"fobos": {"l1": 0.02}}),
        ({"enhanced-rda": {"rho": 0.0}}, {"rda": {}}),
    ):
        first, second = make(one, 7, 3), make(other, 7, 3)
        first.learn_many(x, y)
        second.learn_many(x, y)
        assert np.array_equal(first.weights, second.weights)
    slow, quick = make({"truncated-gradient": {"l1": 0.02, "every": 50}}, 7, 3), make({"truncated-gradient": {"l1": 0.02}}, 7, 3)
    slow.learn_many(x[:49], y[:49])
    quick.learn_many(x[:49], y[:49])
    plain = make("ogd", 7, 3)
    plain.learn_many(x[:49], y[:49])
    assert np.array_equal(slow.weights, plain.state()["weights"])  # nothing is due before row 50
    assert not np.array_equal(slow.weights, quick.weights)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_changes_only_what_it_touches(name: str) -> None:
    """What is kept of other weights stays to the bit, though they shrink: this is what makes rows cost as their nonzeros do."""
    x, y = stream(80, 10, 2)
    learner = make({name: {"l1": 0.01, "loss": "logistic"}}, 10)
    learner.learn_many(x, y)
    before, weights = learner.state(), learner.weights
    row = np.zeros(10)
    row[[2, 5]] = 1.0
    learner.learn_one(row, 0)
    after, touched = learner.state(), np.isin(np.arange(11), [2, 5, 10])
    for part in after.keys() - {"weights", "clock"}:
        assert np.array_equal(before[part][:, ~touched], after[part][:, ~touched])
    assert (np.abs(learner.weights) != np.abs(weights))[:, ~touched & (weights[0] != 0)].all()


@pytest.mark.parametrize("name", NAMES)
def test_zeros_lie_on_features_without_use_and_grow_with_the_penalty(name: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3000, 60))
    x[:, 5:] *= rng.random((3000, 55)) < 0.05
    y = (x[:, :5] @ np.array([2.0, -2.0, 1.5, -1.5, 2.0]) + 0.3 * rng.normal(size=3000) > 0).astype(np.int64)
    shares = []
    for l1 in (0.0, 0.003, 0.03, 0.1):
        learner = make({name: {"l1": l1, "loss": "logistic"}}, 60)
        learner.learn_many(x, y)
        weights = learner.weights[0, :60]
        assert learner.sparsity == (weights == 0).mean()
        shares.append(learner.sparsity)
    assert (weights[:5] != 0).all()
    assert (weights[5:] == 0).mean() > (0.9 if "rda" in name else 0.5), (weights[5:] == 0).mean()
    assert shares == sorted(shares)
    assert shares[0] < 0.05 or name == "enhanced-rda"  # whose rho alone makes zeros
    assert float((learner.predict(x) == y).mean()) > 0.9


@EACH
def test_real_tables_are_learned(choice: Any) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    for load, wanted in ((datasets.load_breast_cancer, 0.9), (datasets.load_digits, 0.8)):
        x, y = load(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(y))
        x, y = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9))[order], y[order]
        learner = make(choice, x.shape[1], int(y.max()) + 1)
        learner.learn_many(x[:-300], y[:-300])
        right = float((learner.predict(x[-300:]) == y[-300:]).mean())
        assert right > wanted, f"{load.__name__}: {right:.3f}"


@EACH
def test_overflow_is_refused_and_leaves_no_trace(choice: Any) -> None:
    learner = make(choice)
    learner.learn_many(*stream(20, 4, 2))
    before = learner.state()
    x = np.full((3, 4), 1e200)
    x[1:] *= [[1, -1, 1, -1]]
    refused = False
    with contextlib.suppress(NotFiniteError):
        refused = True
        learner.learn_many(x, np.array([1, 0, 1]))
        refused = False
    assert all(np.array_equal(part, learner.state()[name]) for name, part in before.items()) == refused
    assert np.isfinite(learner.weights).all()


def test_long_streams_of_badly_scaled_rows_stay_finite_and_exact() -> None:
    """After many rows the cut is far larger than the weights; they are still the eager ones, to what that costs in digits."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20_000, 5)) * 10.0 ** np.array([-6, -3, 0, 1, 2])
    y = (x[:, 2] + x[:, 3] > 0).astype(np.int64)
    chosen: dict[str, Any] = {"learning_rate": 0.5, "l1": 0.2}
    learner, eager = make({"fobos": chosen}, 5), Eager((1, 6), np.append(np.ones(5), 0.0))
    learner.learn_many(x, y)
    for t, (row, label) in enumerate(zip(x, y, strict=True), start=1):
        m, push = violation(eager.weights, np.append(row, 1.0), label)
        eager.after("fobos", t, -float(m < 1) * push, chosen)
    assert learner.state()["clock"][2] > 20
    assert np.allclose(learner.weights, eager.weights, rtol=1e-8, atol=1e-9)


def test_the_bias_never_shrinks() -> None:
    for name in NAMES:
        learner = make({name: {"l1": 100.0, "loss": "logistic"}}, 2)
        learner.learn_many(np.ones((50, 2)), np.ones(50, dtype=np.int64))
        assert (learner.weights[0, :2] == 0).all()
        assert learner.weights[0, 2] > 0


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"fobos": {"l1": -1}}, "l1 is -1\n  → give a number from 0"),
        ({"fobos": {"learning_rate": 0}}, "learning_rate is 0"),
        ({"truncated-gradient": {"theta": 0}}, "theta is 0"),
        ({"truncated-gradient": {"every": 0.5}}, "give a whole number from 1"),
        ({"truncated-gradient": {"schedule": "cosine"}}, "give root or constant"),
        ({"rda": {"gamma": -2}}, "gamma is -2"),
        ({"enhanced-rda": {"rho": "much"}}, "rho is 'much'"),
        ({"ada-rda": {"delta": 0}}, "delta is 0"),
        ({"ada-fobos": {"loss": "square"}}, "give hinge, logistic or squared_hinge"),
    ],
)
def test_wrong_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make(choice)
    assert text in str(raised.value)


def test_what_does_not_fit_is_told_and_changes_nothing() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(30, 4, 2)
    learner, untouched = make("fobos"), make("fobos")
    learner.learn_many(x, y)
    untouched.learn_many(x, y)
    nan = x.copy()
    nan[2, 2] = np.nan
    with pytest.raises(NotFiniteError, match="fobos"):
        learner.learn_many(sparse.csr_matrix(nan), y)
    with pytest.raises(LearnerError, match="labels run"):
        learner.learn_many(sparse.csr_matrix(x), y + 2)
    state = {name: part.copy() for name, part in learner.state().items()}
    state["weights"][0, 0] += 1.0
    with pytest.raises(StateError, match="do not follow"):
        learner.load(state)
    with pytest.raises(StateError, match="does not fit"):
        learner.load(make("rda").state())
    assert_alike(learner, untouched)


def test_every_learner_here_is_in_the_catalogue_with_its_source() -> None:
    for name in NAMES:
        about = registry.about(name)
        assert about is not None
        assert (about.family, about.order) == ("sparse", 1)
        assert {"l1", "loss", "bias"} <= set(registry.settings(name))
