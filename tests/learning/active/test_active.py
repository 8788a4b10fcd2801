"""Learners that pay for labels: each rule's own law, the budget's bound, and what every learner promises."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import inner, registry
from estran.learning.active import model
from estran.learning.active.model import Active
from estran.learning.active.rules import NAMES
from estran.learning.datasets import load
from estran.learning.evaluation import prequential
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.streams.classic import Hyperplane

CHOICES: dict[str, Any] = {
    "margin": {"b": 5.0},
    "second-order": {"learner": "sop", "rule": "second-order"},
    "second-order-full": {"learner": {"arow": {"covariance": "full"}}, "rule": "second-order", "budget": 0.5},
    "split": {"learner": "softmax", "rule": "split", "budget": 0.6},
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def make(classes: int = 2, features: int = 4, **settings: Any) -> Active:
    return Active(features, classes, rng(), **settings)


def stream(n: int, features: int = 4, classes: int = 2, seed: int = 1) -> tuple[Features, Labels]:
    """Rows that a linear model gets mostly right."""
    chance = rng(seed)
    x = chance.normal(size=(n, features))
    return x, (x @ chance.normal(size=(features, classes)) + chance.normal(scale=0.3, size=(n, classes))).argmax(axis=1)


def same(one: Any, other: Any) -> bool:
    mine, theirs = one.state(), other.state()
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[part], theirs[part]) for part in mine)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_conformance(choice: Any, check: Any) -> None:
    check(lambda features, classes, rng: registry.create({"active": choice}, features, classes, rng))


@pytest.mark.parametrize("module", [inner, model], ids=lambda module: module.__name__)
def test_examples(module: Any) -> None:
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


LEARNERS = [
    *(("arow", rule) for rule in NAMES),
    ("softmax", "margin"),
    ("pa1", "margin"),
    ("sop", "second-order"),
    ({"scw1": {"covariance": "full"}}, "second-order"),
]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("learner", "rule"), LEARNERS, ids=str)
def test_a_chunk_is_its_rows_asked_and_told_one_by_one(learner: Any, rule: Any, classes: int) -> None:
    pytest.importorskip("scipy.sparse")
    from scipy import sparse

    choice: Any = {"learner": learner, "rule": rule, "budget": 0.4, "window": 20}
    whole, cut, asking = (make(classes, **choice) for _ in range(3))
    x, y = stream(150, classes=classes)
    answers = whole.predict_then_learn(x, y)
    assert (
        np.concatenate(
            [cut.predict_then_learn(sparse.csr_matrix(x[at : at + 60]), y[at : at + 60]) for at in (0, 60, 120)]
        ).tolist()
        == answers.tolist()
    )
    for i in range(150):
        assert asking.predict_one(x[i]) == answers[i]
        if asking.ask(x[i]):
            asking.tell(x[i], int(y[i]))
    assert same(whole, cut)
    assert same(whole, asking)
    assert 0 < whole.asked < whole.seen == 150


@pytest.mark.parametrize("learner", ["arow", "perceptron", {"mlp": {"hidden": [5]}}, "river.naive_bayes:GaussianNB"])
def test_who_always_asks_is_the_inner_learner(learner: Any) -> None:
    if "river" in str(learner):
        pytest.importorskip("river")
    x, y = stream(120, classes=3)
    active = make(3, learner=learner, rule="always")
    chance = rng()
    chance.integers(2**53)  # the seed of the rule's own draws comes first
    plain = registry.create(learner, 4, 3, chance)
    answers = []
    for i in range(120):
        answers.append(int(plain.predict(x[[i]])[0]))
        plain.learn_many(x[[i]], y[[i]])
    assert active.predict_then_learn(x, y).tolist() == answers
    assert active.asked == 120
    assert np.array_equal(active.predict_proba(x), plain.predict_proba(x))


@pytest.mark.parametrize(("classes", "b"), [(2, 0.2), (2, 2.0), (3, 1.0)])
def test_margin_asks_with_its_probability(classes: int, b: float) -> None:
    active = make(classes, learner="pa1", b=b)
    active.base.learn_many(*stream(100, classes=classes))
    for row in stream(5, classes=classes, seed=8)[0]:
        scores = np.atleast_1d(active.base.decision_function(row[None])[0])  # type: ignore[attr-defined]  # linear learners have it
        gap = abs(scores[0]) if classes == 2 else np.subtract(*np.sort(scores)[:-3:-1])
        asked = sum(active.ask(row) for _ in range(4000)) / 4000
        assert asked == pytest.approx(b / (b + gap), abs=0.04)


def test_probabilities_are_scored_by_their_logarithms() -> None:
    active = make(3, learner={"mlp": {"hidden": [5]}}, b=0.5)
    x, y = stream(100, classes=3)
    active.base.learn_many(x, y)
    for row in x[:3]:
        best = np.sort(active.base.predict_proba(row[None])[0])[:-3:-1]
        asked = sum(active.ask(row) for _ in range(3000)) / 3000
        assert asked == pytest.approx(0.5 / (0.5 + np.log(best[0] / best[1])), abs=0.04)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("learner", ["sop", "arow"])
def test_second_order_asks_with_its_probability(learner: str, covariance: str) -> None:
    active = make(2, learner={learner: {"covariance": covariance, "bias": False}}, rule="second-order", b=0.3)
    x, y = stream(60)
    active.base.learn_many(x, y)
    state = active.base.state()
    spread = state["covariance"][0] if covariance == "full" else np.diag(state["variance"][0])
    for row in stream(4, seed=8)[0]:
        v = row @ spread @ row
        # The paper's prediction: of weights that the row itself has already made smaller.
        p = abs(state["weights"][0] @ (spread @ row if learner == "sop" else row)) / (1 + v)
        asked = sum(active.ask(row) for _ in range(4000)) / 4000
        assert asked == pytest.approx(0.3 / (0.3 + p + p * p * (1 + v) / 2), abs=0.04)


def test_sop_with_all_its_covariance_is_the_papers_prediction() -> None:
    active = make(2, learner={"sop": {"covariance": "full", "bias": False}}, rule="second-order", b=2.0)
    x, y = stream(200)
    whole, weights = np.eye(4), np.zeros(4)
    for row, label in zip(x, y, strict=True):
        p = weights @ np.linalg.solve(whole + np.outer(row, row), row)
        assert active.decision_function(row[None])[0] == pytest.approx(p, abs=1e-9)
        sign, before = 2 * int(label) - 1, active.asked
        active.learn_one(row, int(label))
        if active.asked > before and sign * p <= 0:
            whole += np.outer(row, row)
            weights += sign * row
    assert 0 < active.asked < 200


def test_the_variable_threshold_follows_the_paper() -> None:
    active = make(3, learner="softmax", rule="variable-uncertainty", budget=0.5, window=10, step=0.1)
    threshold, spent = 1.0, 0.0
    for row, label in zip(*stream(300, classes=3), strict=True):
        top, expected = active.predict_proba(row[None]).max(), False
        spent *= 0.9
        if spent + 1 <= 5:
            expected = bool(top < threshold)
            threshold *= 0.9 if expected else 1.1
            spent += expected
        assert active.ask(row) == expected
        if expected:
            active.tell(row, int(label))
    assert active.state()["asking"][-2:].tolist() == [spent, threshold]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0.05, 1.0), st.integers(20, 200), st.integers(0, 2**20))
def test_no_beginning_of_a_stream_exceeds_the_budget(rule: Any, budget: float, window: int, seed: int) -> None:
    active = make(2, 5, learner="sop", rule=rule, budget=budget, window=window, b=20.0)
    x, y = Hyperplane(features=5, turning=5, change=0.01).take(300, rng(seed))
    for at in range(0, 300, 25):
        active.learn_many(x[at : at + 25], y[at : at + 25])
        assert active.asked <= budget * (active.seen + window) + 1e-6


@pytest.mark.parametrize("rule", ["margin", "variable-uncertainty", "split", "random"])
def test_a_budget_is_used_on_a_stream_that_drifts(rule: Any) -> None:
    stream = Hyperplane(features=8, turning=8, change=0.01)
    active = make(2, 8, learner={"ogd": {"loss": "logistic"}}, rule=rule, b=5.0, budget=0.2, window=500)
    prequential(active, stream.chunks(rng(3), rows=6000), 2)
    assert 0.17 < active.asked / active.seen < 0.2 * (1 + 500 / 6000)


def test_choosing_labels_beats_chance_at_the_same_price() -> None:
    def right(**settings: Any) -> tuple[float, float]:
        x, y = stream(4000, features=20, seed=4)
        active = make(2, 20, learner="pa1", **settings)
        active.learn_many(x[:3000], y[:3000])
        return float((active.predict(x[3000:]) == y[3000:]).mean()), active.asked / active.seen

    chosen, price = right(rule="margin", b=0.05)
    drawn, other = right(rule="random", budget=price, window=10_000)
    assert other == pytest.approx(price, rel=0.2)
    assert price < 0.2
    assert chosen > drawn + 0.01


def test_it_learns_digits_from_a_fraction_of_their_labels() -> None:
    digits = load("digits")
    active = Active(digits.features, digits.classes, rng(), learner="arow", rule="margin", b=0.1)
    answers = prequential(active, [(digits.x, digits.y)], digits.classes)
    assert active.asked < 0.45 * active.seen
    assert answers.sliding(500).accuracy[-1] > 0.9


def test_labels_that_were_not_asked_for_are_not_used() -> None:
    one, other = make(3, b=0.3), make(3, b=0.3)
    x, y = stream(200, classes=3)
    asked = np.zeros(200, dtype=bool)
    for i in range(200):
        before = one.asked
        one.learn_one(x[i], int(y[i]))
        asked[i] = one.asked > before
    other.learn_many(x, np.where(asked, y, (y + 1) % 3))
    assert 0 < asked.sum() < 200
    assert same(one, other)


def test_a_learner_that_diverges_in_a_chunk_leaves_no_trace() -> None:
    active = make(2, 1, learner={"mlp": {"hidden": [4], "learning_rate": 1.0}}, rule="always")
    active.learn_many(np.array([[0.5], [-0.5]]), np.array([1, 0]))
    before = active.state()
    with pytest.raises(NotFiniteError):
        active.learn_many(np.array([[1.0], [1e30], [-1e30], [1e300]]), np.array([0, 1, 0, 1]))
    with pytest.raises(LearnerError):
        active.ask(np.array([np.nan]))
    with pytest.raises(LearnerError):
        active.tell(np.array([1.0]), 2)
    assert all(np.array_equal(before[part], array) for part, array in active.state().items())


@pytest.mark.parametrize("learner", ["arow", "softmax"])
def test_chunks_that_do_not_fit_leave_no_trace(learner: Any) -> None:
    active = make(2, learner=learner, b=0.5)
    x, y = stream(40)
    active.learn_many(x, y)
    before, wrong = active.state(), x.copy()
    wrong[30, 2] = np.inf
    for rows, labels, text in (
        (wrong, y, "row 30 of 40 holds a NaN"),
        (x, y + 1, "labels run from 1 to 2"),
        (x[:, :3], y, r"\(40, 3\) do not fit"),
    ):
        with pytest.raises(LearnerError, match=text):
            active.learn_many(rows, labels)
    assert all(np.array_equal(before[part], array) for part, array in active.state().items())


def test_broken_snapshots_change_nothing() -> None:
    active = make(2)
    active.learn_many(*stream(20))
    good = active.state()
    for wrong in (
        {**good, "asking": good["asking"][:5]},
        {**good, "asking": good["asking"] + 0.5},
        {**good, "asking": good["asking"] * np.array([1, 1, 1, 100, 1, 1])},
        {**good, "asking": good["asking"] * np.array([1, 1, 1, 1, 1, -1])},
        {**good, "learner.weights": np.zeros(3)},
        {**good, "strange": np.zeros(1)},
    ):
        with pytest.raises(StateError):
            active.load(wrong)
        assert all(np.array_equal(good[part], array) for part, array in active.state().items())


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"rule": "randon"}, "give always, random"),
        ({"rule": "random"}, "no budget"),
        ({"budget": 0.001}, "a window of at least 1000 rows"),
        ({"budget": 1.5}, "budget is 1.5"),
        ({"b": 0}, "b is 0"),
        ({"step": 1.0, "rule": "split", "budget": 0.5}, "step is 1.0"),
        ({"rule": "second-order"}, "pa1 has no variances"),
        ({"learner": "nonsuch"}, "no learner 'nonsuch'"),
    ],
)
def test_wrong_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make(**choice)
    assert text in str(raised.value)


def test_what_is_inside_is_checked_without_making_one() -> None:
    registry.check({"active": {"learner": {"arow": {"r": 2.0}}, "budget": 0.1}})
    with pytest.raises(SettingsError, match="did you mean r"):
        registry.check({"active": {"learner": {"arow": {"rr": 2.0}}}})
