"""Both habits of calling any learner of the house, its settings' checks, and chance inside compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.errors import RequestError
from estran.learning import registry
from estran.learning.learner import LearnerError
from estran.learning.mistakes import SettingsError
from estran.learning.rows import softmax
from estran.learning.settings import flag, one_of, positive, whole, within

CHOICES: list[Any] = [{"mlp": {"hidden": [8]}}, "softmax", {"hbp": {"depth": 2, "width": 4}}, "arow"]


def make(choice: Any, features: int = 4, classes: int = 3) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(0))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_one_at_a_time_and_partial_fit_learn_the_same(choice: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)) * (rng.random((30, 4)) < 0.5), rng.integers(3, size=30)
    fitted, one = make(choice), make(choice)
    assert fitted.partial_fit(x, y, classes=[0, 1, 2]) is fitted
    for row, label in zip(x, y, strict=True):
        one.learn_one({j: value for j, value in enumerate(row) if value}, label)
    assert np.array_equal(fitted.predict_proba(x), one.predict_proba(x))
    assert one.predict_one(dict(enumerate(x[0]))) == fitted.predict(x)[0]
    assert list(one.predict_proba_one(x[3]).values()) == fitted.predict_proba(x)[3].tolist()
    with pytest.raises(LearnerError, match="no feature 4"):
        one.learn_one({4: 1.0}, 1)
    with pytest.raises(LearnerError, match="not 0 to 2"):
        one.partial_fit(x, y, classes=[1, 2, 3])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_probabilities_are_the_softmax_of_decisions(choice: Any, classes: int) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.integers(classes, size=30)
    learner = make(choice, classes=classes).partial_fit(x, y)
    scores = learner.decision_function(x)
    assert scores.shape == ((30,) if classes == 2 else (30, 3))
    both = np.column_stack([np.zeros(30), scores]) if classes == 2 else scores
    assert learner.predict_proba(x) == pytest.approx(softmax(both), abs=1e-9)


@pytest.mark.parametrize("choice", ["sklearn.linear_model:Perceptron", "river.naive_bayes:GaussianNB"])
def test_models_of_other_libraries_have_both_habits(choice: str) -> None:
    pytest.importorskip(choice.split(".")[0])
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=60)
    x = rng.normal(size=(60, 4)) + 3 * np.eye(3, 4)[y]
    fitted, one = make(choice).partial_fit(x, y, classes=[0, 1, 2]), make(choice)
    for row, label in zip(x, y, strict=True):
        one.learn_one(dict(enumerate(row)), label)
    assert np.array_equal(fitted.predict_proba(x), one.predict_proba(x))
    assert one.predict_one(x[0]) == fitted.predict(x[:1])[0]
    assert np.array_equal(fitted.decision_function(x).argmax(axis=1), fitted.predict(x))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_sparse_rows_teach_what_dense_ones_do(choice: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)) * (rng.random((30, 4)) < 0.5), rng.integers(3, size=30)
    dense, thin = make(choice), make(choice)
    dense.learn_many(x, y)
    thin.learn_many(sparse.csr_array(x), y)
    assert np.array_equal(dense.predict_proba(x), thin.predict_proba(sparse.csr_array(x)))
    with pytest.raises(LearnerError, match="4 features"):
        thin.learn_many(sparse.csr_array(x[:, 1:]), y)


def test_settings_are_checked_with_a_remedy() -> None:
    assert positive("l", "c", 2) == within("l", "c", 2, 0, 3) == 2.0
    assert (whole("l", "k", 3), one_of("l", "loss", "b", ("a", "b")), flag("l", "on", True)) == (3, 1, True)
    for check, text in (
        (lambda: positive("l", "c", True), "l: c is True\n  → give a number above 0"),
        (lambda: whole("l", "k", 0), "give a whole number from 1"),
        (lambda: whole("l", "k", 2.0), "k is 2.0"),  # type: ignore[arg-type]
        (lambda: one_of("l", "loss", "c", ("a", "b", "d")), "give a, b or d"),
        (lambda: flag("l", "on", 1), "give true or false"),  # type: ignore[arg-type]
    ):
        with pytest.raises(RequestError) as raised:
            check()  # type: ignore[no-untyped-call]
        assert text in str(raised.value)


def test_a_learner_is_only_made_for_its_task() -> None:
    with pytest.raises(SettingsError, match="it learns classes, not arms"):
        registry.check("arow", "arms")


def test_draws_are_uniform_and_depend_on_seed_and_counter_only() -> None:
    from estran.learning.draws import seed_from, uniform

    seed = seed_from(np.random.default_rng(0))
    assert seed == int(seed) < 2**53
    found = np.array([uniform(seed, float(count)) for count in range(20_000)])
    assert ((found >= 0) & (found < 1)).all()
    counts = np.histogram(found, bins=20, range=(0, 1))[0]
    # Chi-squared with 19 degrees of freedom: beyond 50 once in ten thousand times.
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 50
    assert abs(float(np.corrcoef(found[:-1], found[1:])[0, 1])) < 0.04
    assert uniform(seed, 3.0) == found[3] != uniform(seed + 1, 3.0)
