"""Cost-sensitive learners against references in plain NumPy, and against what does not mind costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.confusion import Confusion
from estran.learning.learner import Features, Labels

MATRIX = [[0.0, 1.0, 4.0], [9.0, 0.0, 0.25], [1.0, 2.0, 0.0]]
CHOICES: dict[str, Any] = {
    "paum": {"paum": {"margins": [0, 2.0, 5]}},
    "cpa": {"cpa": {"costs": MATRIX}},
    "csogd": {"csogd": {"costs": [1, 2, 4], "form": "margin"}},
}


def make(choice: Any, features: int, classes: int) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(0))


def stream(n: int, features: int, classes: int, seed: int = 0) -> tuple[Features, Labels]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features))
    return x, (x @ rng.normal(size=(features, classes)) + rng.normal(size=(n, classes))).argmax(axis=1)


def rare(n: int, seed: int) -> tuple[Features, Labels]:
    """One row in 21 is positive, and lies near the many others."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 1 / 21).astype(np.int64)
    return rng.normal(size=(n, 8)) + 1.2 * y[:, None] * (np.arange(8) < 3), y


def scores_of(prototypes: Features, x: Features) -> Features:
    """Of one explicit prototype a class; the constant is the last feature."""
    return prototypes @ np.append(x, 1.0)


def assert_same_answers(learner: Any, prototypes: Features, x: Features) -> None:
    """One vector for two classes is the difference of the reference's two prototypes."""
    wanted = np.column_stack([prototypes @ np.append(row, 1.0) for row in x]).T
    found = learner.decision_function(x)
    assert np.allclose(found, wanted[:, 1] - wanted[:, 0] if len(prototypes) == 2 else wanted, atol=1e-8)


def rival_of(scores: Features, label: int) -> int:
    return int(np.where(np.arange(len(scores)) == label, -np.inf, scores).argmax())


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_conformance(choice: Any, check: Any) -> None:
    check(lambda features, classes, rng: registry.create(choice, features, classes, rng))


@pytest.mark.parametrize("classes", [2, 3])
def test_paum_learns_up_to_each_class_margin(classes: int) -> None:
    x, y = stream(150, 5, classes)
    margins = [0.5, 20.0, 7.0][:classes]
    learner, prototypes = make({"paum": {"margins": margins}}, 5, classes), np.zeros((classes, 6))
    for row, label in zip(x, y, strict=True):
        scores = scores_of(prototypes, row)
        rival = rival_of(scores, label)
        if scores[label] - scores[rival] <= margins[label]:
            # With one vector for two classes a step moves the difference by x, here by twice that: half a step each.
            step = 0.5 if classes == 2 else 1.0
            prototypes[label] += step * np.append(row, 1.0)
            prototypes[rival] -= step * np.append(row, 1.0)
        learner.learn_one(row, int(label))
    assert_same_answers(learner, prototypes, x)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("costly", "blind"),
    [
        ({"paum": {"margins": 0}}, "perceptron"),
        ({"cpa": {"costs": 1}}, "pa"),
        ({"csogd": {"objective": "cost", "form": "gradient"}}, "ogd"),
        ({"csogd": {"objective": "cost", "form": "margin"}}, "ogd"),
    ],
    ids=["paum", "cpa", "csogd-gradient", "csogd-margin"],
)
def test_with_equal_costs_they_are_what_they_came_from(costly: Any, blind: str, classes: int) -> None:
    x, y = stream(200, 6, classes)
    one, other = make(costly, 6, classes), make(blind, 6, classes)
    assert np.array_equal(one.predict_then_learn(x, y), other.predict_then_learn(x, y))
    assert np.array_equal(one.state()["weights"], other.state()["weights"])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_cpa_parts_label_and_rival_by_the_root_of_the_cost(data: st.DataObject) -> None:
    """The paper with explicit prototypes, without and with a longest step."""
    classes, form = data.draw(st.sampled_from([2, 3])), data.draw(st.sampled_from(["prediction", "max_loss"]))
    c = data.draw(st.sampled_from([None, 0.2]))
    costs = np.array(data.draw(st.lists(st.floats(0, 9), min_size=9, max_size=9))).reshape(3, 3)[:classes, :classes]
    np.fill_diagonal(costs, 0.0)
    x, y = stream(25, 3, classes, data.draw(st.integers(0, 1000)))
    learner = make({"cpa": {"costs": costs.tolist(), "form": form, "c": c}}, 3, classes)
    prototypes = np.zeros((classes, 4))
    longest = np.inf if c is None else c * (0.5 if classes == 2 else 1.0)
    for row, label in zip(x, y, strict=True):
        z, scores = np.append(row, 1.0), scores_of(prototypes, row)
        losses = scores - scores[label] + np.sqrt(costs[label])
        # In two classes scores tie in the reference only where they do in the learner: both are then zero.
        rival = int(losses.argmax()) if form == "max_loss" else int(scores.argmax())
        step = min(longest, max(0.0, losses[rival]) / (2 * z @ z))
        prototypes[label] += step * z
        prototypes[rival] -= step * z
        learner.learn_one(row, int(label))
        assert_same_answers(learner, prototypes, x)
        if c is None and rival != label:
            after = scores_of(prototypes, row)
            assert after[label] - after[rival] >= np.sqrt(costs[label, rival]) - 1e-9


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("form", ["margin", "gradient"])
@pytest.mark.parametrize("objective", ["cost", "sum"])
@pytest.mark.parametrize("decay", [True, False])
def test_csogd_descends_the_weighted_hinge_loss(objective: str, form: str, decay: bool, classes: int) -> None:
    x, y = stream(150, 4, classes)
    costs = np.array([1.0, 3.0, 1.5])[:classes]
    given_ = {"costs": costs.tolist(), "objective": objective, "form": form, "learning_rate": 0.2, "decay": decay}
    learner, prototypes, seen = make({"csogd": given_}, 4, classes), np.zeros((classes, 5)), np.zeros(classes)
    for t, (row, label) in enumerate(zip(x, y, strict=True), start=1):
        z, scores = np.append(row, 1.0), scores_of(prototypes, row)
        seen[label] += 1
        weights = costs if objective == "cost" else costs / (seen + 1) / (costs / (seen + 1)).min()
        rival, rho = rival_of(scores, label), weights[label]
        m = scores[label] - scores[rival]
        slope = float(m < rho) if form == "margin" else rho * (m < 1)
        step = 0.2 / (t**0.5 if decay else 1.0) * slope * (0.5 if classes == 2 else 1.0)
        prototypes[label] += step * z
        prototypes[rival] -= step * z
        learner.learn_one(row, int(label))
    assert_same_answers(learner, prototypes, x)
    assert learner.state()["counts"].tolist() == seen.tolist()


def test_the_rare_class_weighs_what_the_paper_says() -> None:
    """ρ = η₁·T₀ / (η₀·T₁): the last step of constant length shows it."""
    x, y = rare(3000, 0)
    learner = make({"csogd": {"costs": [0.4, 0.6], "learning_rate": 1e-3, "decay": False, "bias": False}}, 8, 2)
    learner.learn_many(x, y)
    row, before = np.eye(8)[0] * 1e-6, learner.state()["weights"][0]
    learner.learn_one(row, 1)
    moved = (learner.state()["weights"][0] - before)[0] / 1e-9
    assert moved == pytest.approx(0.6 * (len(y) - y.sum() + 1) / (0.4 * (y.sum() + 2)), rel=1e-5)


@pytest.mark.parametrize(
    ("choice", "blind"),
    [
        ({"paum": {"margins": [0, 60]}}, "perceptron"),
        ({"cpa": {"costs": [1, 20], "c": 0.1}}, {"pa1": {"c": 0.1}}),
        ({"cpa": {"costs": [1, 20], "c": 0.1, "form": "prediction"}}, {"pa1": {"c": 0.1}}),
        ({"csogd": {"costs": [1, 20], "objective": "cost"}}, "ogd"),
        ({"csogd": {"costs": [1, 20], "objective": "cost", "form": "margin", "decay": False}}, {"ogd": {}}),
        ("csogd", "ogd"),
    ],
    ids=["paum", "cpa", "cpa-prediction", "csogd-cost", "csogd-cost-margin", "csogd-sum"],
)
def test_rare_rows_are_found_and_cost_falls(choice: Any, blind: Any) -> None:
    for seed in range(3):
        x, y = rare(6000, seed)
        found = [Confusion.of(y, make(each, 8, 2).predict_then_learn(x, y), 2) for each in (choice, blind)]
        assert found[0].balanced_accuracy > found[1].balanced_accuracy + 0.02
        assert found[0].cost([1, 20]) < 0.95 * found[1].cost([1, 20])


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"paum": {"margins": [1, 2, 3]}}, "margins has 3 numbers\n  → give one number, or a list of 2"),
        ({"paum": {"margins": [1, -2]}}, "margins[1] is -2\n  → give a number from 0"),
        ({"csogd": {"costs": [1, 0]}}, "costs[1] is 0\n  → give a number above 0"),
        ({"csogd": {"objective": "f1"}}, "give cost or sum"),
        ({"csogd": {"form": "both"}}, "give margin or gradient"),
        ({"csogd": {"decay": "yes"}}, "give true or false"),
        ({"cpa": {"form": "ml"}}, "give prediction or max_loss"),
        ({"cpa": {"c": 0}}, "c is 0"),
        ({"cpa": {"costs": [[0, 1], [1, 2]]}}, "charges right answers"),
        ({"cpa": {"costs": [[0, 1]]}}, "costs has 1 rows"),
        ({"cpa": {"costs": [[0, 1], 3]}}, "costs has 2 rows"),
        ({"cpa": {"costs": [[0, "a"], [1, 0]]}}, "costs[0][1] is 'a'"),
    ],
)
def test_wrong_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make(choice, 3, 2)
    assert text in str(raised.value)


def test_costs_may_be_arrays() -> None:
    x, y = stream(50, 4, 3)
    one, other = make({"cpa": {"costs": np.array(MATRIX)}}, 4, 3), make({"cpa": {"costs": MATRIX}}, 4, 3)
    assert np.array_equal(one.predict_then_learn(x, y), other.predict_then_learn(x, y))
