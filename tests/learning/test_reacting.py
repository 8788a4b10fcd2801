"""The learner that starts over at drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.learning import registry
from estran.learning.evaluation import prequential
from estran.learning.learner import NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.reacting import DriftReacting
from estran.learning.streams.changing import Changing
from estran.learning.streams.classic import Hyperplane

CHOICES: dict[str, Any] = {
    "adwin-reset": {"learner": "softmax"},
    "ddm-warm": {"learner": {"mlp": {"hidden": [8]}}, "detector": "ddm", "memory": 20},
    "kswin": {"detector": {"kswin": {"window": 20, "latest": 10}}, "memory": 5},
    "nervous": {"detector": {"ddm": {"warm": 2, "warn": 0.1, "alarm": 0.1}}, "memory": 30},
    "sklearn": {"learner": {"sklearn.naive_bayes:MultinomialNB": {}}, "detector": "page-hinkley"},
    "river": {"learner": {"river.naive_bayes:GaussianNB": {}}, "detector": "eddm"},
    "river-detector": {"detector": "river.drift:ADWIN"},
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("settings", CHOICES.values(), ids=CHOICES)
def test_conformance(settings: Any, check: Any) -> None:
    for module in ("sklearn", "river"):
        if module in str(settings):
            pytest.importorskip(module)
    check(lambda features, classes, rng: registry.create({"drift-reacting": settings}, features, classes, rng))


def flipped(rows: int, at: int) -> Any:
    """Rows of two classes whose meaning swaps."""
    x = rng(1).normal(size=(rows, 3))
    y = (x.sum(axis=1) > 0).astype(np.int64)
    y[at:] = 1 - y[at:]
    return x, y


@pytest.mark.parametrize("detector", ["adwin", "ddm", "page-hinkley"])
@pytest.mark.parametrize("memory", [0, 50])
def test_it_starts_over_at_a_drift_only(detector: str, memory: int) -> None:
    model = DriftReacting(3, 2, rng(), learner={"softmax": {"learning_rate": 0.01}}, detector=detector, memory=memory)
    x, y = flipped(2000, 1000)
    model.learn_many(x[:1000], y[:1000])
    calm = model.restarts
    # Where a learner is hardly ever wrong, a few errors are enough to alarm DDM.
    assert calm <= (1 if detector == "ddm" else 0)
    model.learn_many(x[1000:], y[1000:])
    assert 1 <= model.restarts - calm <= 3
    assert (model.predict(x[1000:]) == y[1000:]).mean() > 0.9


def test_reacting_recovers_sooner_than_going_on() -> None:
    base: Any = {"softmax": {"learning_rate": 0.01}}
    plane = Hyperplane(features=5, turning=0, noise=0)
    stream = Changing(plane, plane, at=1500)

    def accuracy(choice: Any) -> float:
        found = prequential(registry.create(choice, 5, 2, rng()), stream.chunks(rng(5), rows=3000), 2)
        return float(found.sliding(1000).accuracy[2499])

    # Two planes of other weights: what was learned before is a burden.
    x, y = flipped(3000, 1500)

    def on_flipped(choice: Any) -> float:
        found = prequential(registry.create(choice, 3, 2, rng()), [(x, y)], 2)
        return float(found.sliding(1000).accuracy[2499])

    reacting = {"drift-reacting": {"learner": base, "detector": "adwin", "memory": 32}}
    assert on_flipped(reacting) > on_flipped(base) + 0.05
    assert accuracy(reacting) > accuracy(base) - 0.05


def test_answers_are_those_before_learning() -> None:
    one, other = (DriftReacting(3, 2, rng(), detector="ddm", memory=10) for _ in range(2))
    x, y = flipped(400, 200)
    answers = []
    for i in range(400):
        answers.append(int(other.predict(x[i : i + 1])[0]))
        other.learn_many(x[i : i + 1], y[i : i + 1])
    assert one.predict_then_learn(x, y).tolist() == answers
    assert one.restarts == other.restarts > 0


def test_a_warm_restart_knows_the_latest_rows() -> None:
    warm = DriftReacting(3, 2, rng(), detector="ddm", memory=10)
    x, y = flipped(1200, 1000)
    for i in range(1200):
        before = warm.restarts
        kept = [row for row, _ in warm._rows]
        warm.learn_many(x[i : i + 1], y[i : i + 1])
        if warm.restarts > before:
            fresh = warm._fresh(warm.restarts)
            fresh.learn_many(np.array(kept), y[i - 10 : i])
            fresh.learn_many(x[i : i + 1], y[i : i + 1])
            assert np.array_equal(fresh.predict_proba(x), warm.predict_proba(x))
            return
    pytest.fail("no drift was found")


def test_fresh_learners_are_not_all_alike_but_the_same_again_from_a_snapshot() -> None:
    settings: Any = {"learner": {"mlp": {"hidden": [4]}}, "detector": "ddm"}
    model, other = DriftReacting(3, 2, rng(), **settings), DriftReacting(3, 2, rng(9), **settings)
    x, y = flipped(1500, 1000)
    model.learn_many(x[:900], y[:900])
    other.load(model.state())
    for learner in (model, other):
        learner.learn_many(x[900:], y[900:])
    assert model.restarts == other.restarts > 0
    assert np.array_equal(model.predict_proba(x), other.predict_proba(x))
    assert not np.array_equal(model._fresh(0).predict_proba(x), model._fresh(1).predict_proba(x))


def test_a_learner_that_diverges_in_a_chunk_leaves_no_trace() -> None:
    model = DriftReacting(1, 2, rng(), learner={"mlp": {"hidden": [4], "learning_rate": 1.0}}, memory=3)
    model.learn_many(np.array([[0.5], [-0.5]]), np.array([1, 0]))
    before = model.state()
    with pytest.raises(NotFiniteError):
        model.learn_many(np.array([[1.0], [1e30], [-1e30], [1e38]]), np.array([0, 1, 0, 1]))
    after = model.state()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[part], after[part]) for part in before)


def test_broken_snapshots_change_nothing() -> None:
    model = DriftReacting(3, 2, rng(), memory=4)
    x, y = flipped(20, 20)
    model.learn_many(x, y)
    good = model.state()
    for wrong in (
        {**good, "rows": good["rows"][:, :2]},
        {**good, "rows": good["rows"] * np.nan},
        {**good, "labels": good["labels"] + 2},
        {**good, "labels": good["labels"].astype(float)},
        {**good, "detector.totals": np.zeros(3)},
        {**good, "learner.w0": np.zeros((9, 9))},
        {**good, "strange": np.zeros(1)},
        {**good, "rows": np.zeros((5, 3)), "labels": np.zeros(5, dtype=np.int64)},
    ):
        with pytest.raises(StateError):
            model.load(wrong)
    assert all(np.array_equal(good[part], array) for part, array in model.state().items())


@pytest.mark.parametrize(
    "settings", [{"detector": {"ddm": {"alarmm": 3}}}, {"learner": {"mlp": {"hiden": [3]}}}, {"learner": "nonsuch"}, {"memry": 3}]
)
def test_what_is_inside_is_checked_without_making_one(settings: Any) -> None:
    registry.check({"drift-reacting": {"learner": "mlp", "detector": "ddm", "memory": 3}})
    with pytest.raises(SettingsError):
        registry.check({"drift-reacting": settings})


@pytest.mark.parametrize("settings", [{"memory": -1}, {"detector": "nonsuch"}, {"learner": "nonsuch"}])
def test_wrong_settings_are_refused(settings: Any) -> None:
    with pytest.raises(SettingsError):
        DriftReacting(2, 2, rng(), **settings)
