"""Learners as estimators of scikit-learn: its own checks, labels of any kind, pipelines, searches, pickles."""

from __future__ import annotations

import doctest
import pickle
from typing import Any

import numpy as np
import pytest

from estran.learning import registry
from estran.learning.mistakes import SettingsError

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'estran[sklearn]'")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from estran.learning import sklearn as module
from estran.learning.sklearn import Classifier

CHOICES: list[Any] = ["arow", "softmax", {"mlp": {"hidden": [16]}}, {"hbp": {"depth": 2, "width": 8}}]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass(choice: Any) -> None:
    ran = check_estimator(Classifier(choice), on_skip=None, on_fail="raise")
    skipped = {check["check_name"] for check in ran if check["status"] == "skipped"}
    # These need a flag of SciPy, and pandas.
    assert skipped <= {"check_array_api_input", "check_classifier_data_not_an_array"}
    assert len(ran) > 40


def words() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return StandardScaler().fit_transform(x)[order], np.array(["setosa", "versicolor", "virginica"])[y[order]]


def test_labels_may_be_words_and_rows_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = words()
    model = Classifier({"arow": {"r": 0.1}}).fit(x, y)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.score(x, y) > 0.9
    thin = clone(model).fit(sparse.csr_array(x), y)
    assert np.array_equal(thin.predict_proba(sparse.csr_matrix(x)), model.predict_proba(x))
    # The same as the learner itself learns.
    bare: Any = registry.create({"arow": {"r": 0.1}}, 4, 3, np.random.default_rng(0))
    bare.learn_many(x, np.searchsorted(model.classes_, y))
    assert np.array_equal(model.decision_function(x), bare.decision_function(x))


def test_partial_fit_goes_on_and_fit_begins_anew() -> None:
    x, y = words()
    whole, parts = Classifier("mlp", seed=3).fit(x, y), Classifier("mlp", seed=3)
    for start in range(0, 150, 40):
        parts.partial_fit(x[start : start + 40], y[start : start + 40], classes=["virginica", "setosa", "versicolor"])
    assert np.array_equal(whole.predict_proba(x), parts.predict_proba(x))
    assert np.array_equal(parts.fit(x, y).predict_proba(x), whole.predict_proba(x))
    assert not np.array_equal(Classifier("mlp", seed=4).fit(x, y).predict_proba(x), whole.predict_proba(x))


def test_wrong_labels_and_choices_are_told() -> None:
    x, y = words()
    with pytest.raises(ValueError, match="first call to partial_fit"):
        Classifier().partial_fit(x, y)
    model = Classifier().partial_fit(x, y, classes=np.unique(y))
    before = model.predict_proba(x)
    with pytest.raises(ValueError, match="label 'zinnia' is none of the classes"):
        model.partial_fit(x[:2], np.array(["setosa", "zinnia"]))
    with pytest.raises(ValueError, match="not those of the first call"):
        model.partial_fit(x, y, classes=["a", "b"])
    assert np.array_equal(model.predict_proba(x), before)
    with pytest.raises(ValueError, match="one class"):
        Classifier().fit(x, np.zeros(150))
    with pytest.raises(SettingsError, match="did you mean arow"):
        Classifier("arrow").fit(x, y)
    with pytest.raises(NotFittedError):
        Classifier().predict(x)


@pytest.mark.parametrize("choice", ["arow", "mlp", {"river.naive_bayes:GaussianNB": {}}], ids=str)
def test_a_pickle_goes_on_alike(choice: Any) -> None:
    if "river" in str(choice):
        pytest.importorskip("river")
    x, y = words()
    one = Classifier(choice).fit(x[:100], y[:100])
    # Settings that were changed since are for the next fit.
    one.set_params(seed=99)
    other = pickle.loads(pickle.dumps(one))
    for model in (one, other):
        model.partial_fit(x[100:], y[100:])
    assert np.array_equal(one.predict_proba(x), other.predict_proba(x))


def test_pipelines_and_searches() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), Classifier())
    grid = {
        "classifier__learner": ["perceptron", {"scw1": {"c": 0.5}}, "sklearn.linear_model:Perceptron"],
        "classifier__seed": [0, 1],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(x, y)
    assert search.best_score_ > 0.9
    assert len(search.cv_results_["params"]) == 6


def test_example() -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed
