"""Learners as estimators of scikit-learn: any labels, pipelines, grid searches. Importing it imports scikit-learn."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from estran.learning import registry
from estran.learning.learner import Labels, StateError


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A learner of the house, or a foreign one, as a classifier of scikit-learn.

    ``fit`` learns the rows once, in the order that they are in, and forgets what was learned before; ``partial_fit`` goes on.
    Labels may be of any kind, rows dense or sparse; what is sparse stays so where the learner can use it.

    Parameters
    ----------
    learner
        Name, or name and settings, as in experiment files: ``"arow"``, ``{"mlp": {"hidden": [32]}}``.
    seed
        Of all its randomness.

    Attributes
    ----------
    classes_
        Labels, in ascending order.
    n_features_in_
        Width of a row.
    learner_
        What learns, on labels 0 to classes − 1.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> x, y = load_breast_cancer(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), Classifier())
    >>> grid = {"classifier__learner": ["perceptron", {"arow": {"r": 0.1}}]}
    >>> search = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
    >>> search.best_params_, bool(search.best_score_ > 0.9)
    ({'classifier__learner': {'arow': {'r': 0.1}}}, True)
    """

    learner_: Any

    def __init__(self, learner: str | Mapping[str, Mapping[str, Any] | None] = "arow", seed: int = 0) -> None:
        self.learner = learner
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn calls it so
        """Learn all rows once, from nothing.

        Raises
        ------
        ValueError
            If rows or labels do not fit, or there is but one class.
        LearnerError, SettingsError
            As the learner itself.
        """
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)  # noqa: N806
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        return self._begun(X.shape[1])._learned(X, indices.astype(np.int64))

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:  # noqa: N803
        """Learn all rows once, after what was learned before; the first call must name all classes.

        Raises
        ------
        ValueError
            If rows or labels do not fit, a label is none of the classes, or these are others than before.
        """
        first = not hasattr(self, "classes_")
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, reset=first)  # noqa: N806
        check_classification_targets(labels)
        if first:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit")
            self.classes_ = unique_labels(classes)
            self._begun(X.shape[1])
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(f"classes are {np.asarray(classes).tolist()}, not those of the first call, {self.classes_.tolist()}")
        labels = column_or_1d(labels)
        indices = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        strange = self.classes_[indices] != labels
        if strange.any():
            raise ValueError(f"label {labels[strange].tolist()[0]!r} is none of the classes {self.classes_.tolist()}")
        return self._learned(X, indices.astype(np.int64))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Label of each row, shape (n,)."""
        answers = self._asked("predict", X)
        return np.asarray(self.classes_[answers])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probability of each class in the order of ``classes_``, shape (n, classes)."""
        return self._asked("predict_proba", X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Scores: shape (n,) for two classes, positive for the second; else shape (n, classes)."""
        return self._asked("decision_function", X)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: of a learner its snapshot where it has one, for its working memory is of no use to others."""
        kept = dict(super().__getstate__())
        if "learner_" in kept:
            with contextlib.suppress(StateError):
                kept["learner_"] = _Snapshot(self.learner_.state())
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        super().__setstate__(kept)
        if isinstance(kept.get("learner_"), _Snapshot):
            self.learner_ = _made(*self._made_of)
            self.learner_.load(kept["learner_"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _begun(self, features: int) -> Self:
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier needs two classes or more, but the data has one class: {self.classes_.tolist()}")
        self._made_of = self.learner, features, len(self.classes_), self.seed
        self.learner_ = _made(*self._made_of)
        return self

    def _learned(self, rows: Any, labels: Labels) -> Self:
        self.learner_.learn_many(rows, labels)
        return self

    def _asked(self, method: str, X: Any) -> NDArray[Any]:  # noqa: N803
        check_is_fitted(self)
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(getattr(self.learner_, method)(rows))


class _Snapshot(dict[str, NDArray[Any]]):
    """A learner's `State`, to be told from a learner."""


def _made(choice: registry.Choice, features: int, classes: int, seed: int) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(seed))
