"""Averages of weights: against those of recorded snapshots, and what every learner promises."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.averaging import model, windows
from estran.learning.averaging.model import Averaged
from estran.learning.datasets import load
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, StateError

CHOICES: dict[str, Any] = {
    "all": {"learner": "perceptron"},
    "suffix-of-float32": {"learner": "softmax", "window": "suffix"},
    "fading-full": {"learner": {"arow": {"covariance": "full"}}, "window": "fading"},
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def make(classes: int = 2, features: int = 4, **settings: Any) -> Averaged:
    return Averaged(features, classes, rng(), **settings)


def stream(n: int, features: int = 4, classes: int = 2, seed: int = 1, noise: float = 0.3) -> tuple[Features, Labels]:
    chance = rng(seed)
    x = chance.normal(size=(n, features))
    return x, (x @ chance.normal(size=(features, classes)) + chance.normal(scale=noise, size=(n, classes))).argmax(axis=1)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_conformance(choice: Any, check: Any) -> None:
    check(lambda features, classes, rng: registry.create({"averaged": choice}, features, classes, rng))


@pytest.mark.parametrize("module", [model, windows], ids=lambda module: module.__name__)
def test_examples(module: Any) -> None:
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


def recorded(choice: Any, x: Features, y: Labels, classes: int) -> list[dict[str, Any]]:
    """Snapshots of a learner after each row."""
    learner, found = registry.create(choice, x.shape[1], classes, rng()), []
    for i in range(len(x)):
        learner.learn_many(x[[i]], y[[i]])
        found.append(dict(learner.state()))
    return found


def expected(snapshots: list[Any], window: str, decay: float) -> Any:
    """The average of recorded arrays, from its definition."""
    n = len(snapshots)
    if window == "fading":
        mean = np.zeros_like(snapshots[0])
        for t, one in enumerate(snapshots, 1):
            mean = (1 - (decay + 1) / (t + decay)) * mean + (decay + 1) / (t + decay) * one
        return mean
    start = 1 if window == "all" or n < 2 else 2 ** (int(np.log2(n)) - 1)
    return np.mean(snapshots[start - 1 :], axis=0)


@pytest.mark.parametrize("window", windows.WINDOWS)
@pytest.mark.parametrize("learner", ["pa1", "arow", "ftrl", {"mlp": {"hidden": [3], "dtype": "float64"}}], ids=str)
def test_averages_are_those_of_recorded_snapshots(learner: Any, window: Any) -> None:
    x, y = stream(75, classes=3)
    averaged = make(3, learner=learner, window=window, decay=2.0)
    averaged.learn_many(x, y)
    snapshots = recorded(learner, x, y, 3)
    assert averaged.averaged == (("w0", "w1", "b0", "b1") if isinstance(learner, dict) else ("weights",))
    for part, array in averaged.averages().items():
        np.testing.assert_allclose(array, expected([one[part] for one in snapshots], window, 2.0), rtol=1e-10, atol=1e-12)
    # What is not averaged is the latest, and the inner learner is as if nobody averaged it.
    assert all(np.array_equal(array, snapshots[-1][part]) for part, array in averaged.base.state().items())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=70), st.sampled_from(windows.WINDOWS), st.floats(0, 10))
def test_windows_follow_their_definition(values: list[float], window: str, decay: float) -> None:
    average = windows.Average({"w": ()}, window, decay)
    for number, value in enumerate(values, 1):
        average.add({"w": np.array(value)}, "test")
        wanted = expected([np.array(one) for one in values[:number]], window, decay)
        np.testing.assert_allclose(average.value()["w"], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_rows_are_answered_by_the_average_before_them(classes: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    chunked, single = (make(classes, learner="arow", window="suffix") for _ in range(2))
    x, y = stream(60, classes=classes)
    answers = np.concatenate(
        [chunked.predict_then_learn(sparse.csr_matrix(x[at : at + 25]), y[at : at + 25]) for at in (0, 25, 50)]
    )
    for i in range(60):
        plane = single.averages().get("weights", np.zeros(1))
        scores = np.atleast_1d(plane @ np.append(x[i], 1.0)) if single.averages() else np.zeros(1)
        assert single.predict_one(x[i]) == answers[i] == (scores.argmax() if len(scores) > 1 else int(scores[0] > 0))
        single.learn_one(x[i], int(y[i]))
    for part, array in chunked.state().items():
        assert np.array_equal(array, single.state()[part]), part


class Slow(Averaged):
    """Averages by snapshots what has a loop of its own, too."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._compiled = False


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("window", windows.WINDOWS)
@pytest.mark.parametrize("learner", ["romma", "ftrl", {"arow": {"covariance": "full", "bias": False}}], ids=str)
def test_the_compiled_loop_is_averaging_by_snapshots_to_the_bit(learner: Any, window: Any, classes: int) -> None:
    x, y = stream(100, 9, classes)
    fast, slow = (kind(9, classes, rng(), learner=learner, window=window) for kind in (Averaged, Slow))
    assert fast._compiled
    for at in (0, 1, 40):
        chunk = slice(at, {0: 1, 1: 40, 40: 100}[at])
        assert np.array_equal(fast.predict_then_learn(x[chunk], y[chunk]), slow.predict_then_learn(x[chunk], y[chunk]))
        assert fast.state().keys() == slow.state().keys()
        assert all(np.array_equal(array, slow.state()[part]) for part, array in fast.state().items())
        assert np.array_equal(fast.decision_function(x), slow.decision_function(x))


@pytest.mark.parametrize("kind", [Averaged, Slow])
def test_chunks_that_do_not_fit_leave_no_trace(kind: Any) -> None:
    averaged = kind(4, 2, rng(), learner="pa1", window="suffix")
    x, y = stream(40)
    averaged.learn_many(x, y)
    before, wrong = averaged.state(), x.copy()
    wrong[30, 2] = np.inf
    for rows, labels, text in (
        (wrong, y, "row 30 of 40 holds a NaN"),
        (x, y + 1, "labels run from 1 to 2"),
        (x[:, :3], y, r"\(40, 3\) do not fit"),
    ):
        with pytest.raises(LearnerError, match=text):
            averaged.learn_many(rows, labels)
    assert all(np.array_equal(before[part], array) for part, array in averaged.state().items())


def test_averages_bear_noise_better_than_the_last_weights() -> None:
    x, y = stream(3000, features=10, noise=3.0)
    averaged = make(2, 10, learner="perceptron")
    averaged.learn_many(x[:2000], y[:2000])
    right = [float((one.predict(x[2000:]) == y[2000:]).mean()) for one in (averaged, averaged.base)]
    assert right[0] > right[1] + 0.03


def test_it_learns_digits() -> None:
    digits = load("digits")
    averaged = Averaged(digits.features, digits.classes, rng(), learner="perceptron", window="suffix")
    averaged.learn_many(digits.x[:1000], digits.y[:1000])
    assert (averaged.predict(digits.x[1000:]) == digits.y[1000:]).mean() > 0.85


def test_named_parts_of_another_learner() -> None:
    averaged = make(2, learner={"hbp": {"depth": 2, "width": 4}}, parts=["theta*", "c*"])
    averaged.learn_many(*stream(20))
    assert averaged.averaged == ("theta0", "theta1", "theta2", "c0", "c1", "c2")


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"window": "last"}, "give all, suffix or fading"),
        ({"decay": -1.0}, "decay is -1.0"),
        ({"learner": "sop"}, "latest covariance together"),
        ({"learner": "fobos"}, "from all gradients so far"),
        ({"learner": {"hbp": {"depth": 2}}}, "name them as parts; its snapshot has alpha, b1"),
        ({"learner": "arow", "parts": ["wheels"]}, "arow has no part 'wheels'"),
        ({"learner": "sklearn.naive_bayes:GaussianNB"}, "no snapshot before it has learned"),
        ({"learner": "nonsuch"}, "no learner 'nonsuch'"),
    ],
)
def test_wrong_settings_are_told(choice: Any, text: str) -> None:
    if "sklearn" in str(choice):
        pytest.importorskip("sklearn")
    with pytest.raises(RequestError) as raised:
        make(**choice)
    assert text in str(raised.value)


def test_what_fails_leaves_no_trace() -> None:
    averaged = make(2, 1, learner={"mlp": {"hidden": [4]}}, window="suffix")
    averaged.learn_many(np.array([[0.5], [-0.5], [0.1]]), np.array([1, 0, 1]))
    before, answers = averaged.state(), averaged.predict_proba(np.array([[0.3]]))
    with pytest.raises(NotFiniteError):
        averaged.predict_then_learn(np.array([[1.0], [1e300]]), np.array([0, 1]))
    for wrong in (
        {**before, "rows": np.array([2.5])},
        {**before, "mean.w0": np.zeros(3)},
        {**before, "learner.w0": np.zeros(3)},
        {**before, "strange": np.zeros(1)},
    ):
        with pytest.raises(StateError):
            averaged.load(wrong)
    assert all(np.array_equal(before[part], array) for part, array in averaged.state().items())
    assert np.array_equal(averaged.predict_proba(np.array([[0.3]])), answers)


def test_weights_that_change_their_shape_are_refused() -> None:
    average = windows.Average({"w": (2,)}, "all", 0.0)
    with pytest.raises(LearnerError, match=r"was of shape \(2,\) and is now of \(3,\)"):
        average.add({"w": np.zeros(3)}, "averaged")
