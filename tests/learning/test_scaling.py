"""The learner on standardised rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.learning import registry
from estran.learning.learner import LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.scaling import Scaled

CHOICES: dict[str, Any] = {
    "arow": "arow",
    "softmax": {"softmax": {"learning_rate": 0.1}},
    "drift-reacting": {"drift-reacting": {"learner": "pa1", "detector": "ddm"}},
    "sklearn": {"sklearn.linear_model:SGDClassifier": {"loss": "log_loss"}},
}


def make(choice: Any = "arow", features: int = 4, classes: int = 2) -> Any:
    if "sklearn" in str(choice):
        pytest.importorskip("sklearn")
    return registry.create({"scaled": {"learner": choice}}, features, classes, np.random.default_rng(0))


def stream(n: int, seed: int = 0) -> Any:
    """Columns in units far apart, one of which never varies."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=(n, 4))
    y = (plain @ [1.0, -2.0, 1.0, 0.0] > 0).astype(np.int64)
    return plain * [1e6, 1e-6, 1.0, 0.0] + [5e6, 1e-3, 0.0, 7.0], y


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_conformance(choice: Any, check: Any) -> None:
    make(choice)
    check(lambda features, classes, rng: registry.create({"scaled": {"learner": choice}}, features, classes, rng))


def test_rows_are_scaled_by_all_rows_before_and_themselves() -> None:
    x, y = stream(60)
    model, inner = make(), registry.create("arow", 4, 2, np.random.default_rng(0))
    answers = model.predict_then_learn(x, y)
    scaled = np.zeros_like(x)
    for i in range(1, len(x)):
        spread = x[: i + 1].std(axis=0)
        scaled[i, spread > 0] = ((x[i] - x[: i + 1].mean(axis=0)) / np.where(spread > 0, spread, 1))[spread > 0]
    assert np.array_equal(scaled[:, 3], np.zeros(60))
    inner.learn_many(scaled, y)
    assert np.allclose(model.state()["learner.weights"], inner.state()["weights"], rtol=1e-7, atol=1e-9)
    assert np.allclose(model.state()["mean"], x.mean(axis=0))
    assert np.allclose(np.sqrt(model.state()["squares"] / 60), x.std(axis=0), rtol=1e-9)
    assert (answers == y).mean() > 0.8


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_a_chunk_is_answered_and_learned_row_by_row(choice: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(80)
    chunked, single, thin = make(choice), make(choice), make(choice)
    answers = chunked.predict_then_learn(x, y)
    assert np.array_equal(thin.predict_then_learn(sparse.csr_matrix(x), y), answers)
    for i in range(len(x)):
        assert single.predict_one(x[i]) == answers[i]
        single.learn_one(x[i], int(y[i]))
    assert np.array_equal(single.predict_proba(x), chunked.predict_proba(x))
    assert np.array_equal(thin.predict_proba(x), chunked.predict_proba(x))


@pytest.mark.parametrize("choice", ["arow", "softmax"])
def test_what_fails_leaves_no_trace(choice: Any) -> None:
    x, y = stream(40)
    model = make(choice)
    model.learn_many(x, y)
    before = model.state()
    nan, huge = x.copy(), x.copy()
    nan[3, 2], huge[5, 0] = np.nan, 1e200
    for rows, labels, text in ((nan, y, "row 3 of 40"), (huge, y, "variance overflows at row 5"), (x, y + 2, "labels")):
        for step in (model.learn_many, model.predict_then_learn):
            with pytest.raises(LearnerError, match=text):
                step(rows, labels)
    with pytest.raises(NotFiniteError, match="overflows"):
        model.predict(huge)
    for name, part in before.items():
        assert np.array_equal(part, model.state()[name]), name


def test_snapshots_that_do_not_fit_are_refused() -> None:
    model, x = make(), stream(40)
    model.learn_many(*x)
    state = dict(model.state())
    for changed, text in (
        ({**state, "squares": -np.ones(4)}, "negative"),
        ({**state, "mean": np.zeros(3)}, "mean of the snapshot"),
        ({part: array for part, array in state.items() if part != "learner.weights"}, "does not fit"),
    ):
        with pytest.raises(StateError, match=text):
            make().load(changed)
    again = make()
    again.load(state)
    assert np.array_equal(again.decision_function(x[0]), model.decision_function(x[0]))


def test_what_is_asked_wrongly_is_told() -> None:
    with pytest.raises(SettingsError, match="rr"):
        registry.check({"scaled": {"learner": {"arow": {"rr": 1}}}})
    model = Scaled(2, 2, np.random.default_rng(0), learner="drift-reacting")
    with pytest.raises(LearnerError, match="predict_proba"):
        model.decision_function(np.zeros((1, 2)))


def test_a_real_table_in_its_own_units_is_learned() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    right = {}
    for choice in ("pa1", {"scaled": {"learner": "pa1"}}):
        model: Any = registry.create(choice, 13, 3, np.random.default_rng(0))
        right[str(choice)] = float((model.predict_then_learn(x[order], y[order]) == y[order]).mean())
    plain, scaled = right.values()
    assert scaled > 0.9 > plain
