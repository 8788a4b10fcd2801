"""Two habits of calling a learner: River's one sample at a time, and scikit-learn's ``partial_fit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels, LearnerError

Row: TypeAlias = NDArray[Any] | Mapping[int, float]
"""One sample: an array of all features, or the values of those that are not zero by their numbers."""


class Habits:
    """Mix this into a learner of classes: it needs ``name``, ``features``, ``classes``, and a `Learner`'s methods."""

    name: str
    features: int
    classes: int

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order."""
        raise NotImplementedError

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        raise NotImplementedError

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1), dtype=np.int64)

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """What `predict_proba` is the softmax of, shape (n, classes); for two classes the log-odds of class 1, shape (n,).

        Here the logarithms of the probabilities; a learner that has scores answers these.
        """
        scores = np.log(np.maximum(self.predict_proba(x), np.finfo(np.float64).tiny))
        return np.asarray(scores[:, 1] - scores[:, 0]) if self.classes == 2 else scores

    def partial_fit(self, x: Features, y: Labels, classes: NDArray[Any] | None = None) -> Self:
        """`learn_many`, in scikit-learn's habit; ``classes``, if given, must be 0 to classes − 1.

        Raises
        ------
        LearnerError
            If they are others, or the chunk does not fit.
        """
        if classes is not None and not np.array_equal(classes, np.arange(self.classes)):
            raise LearnerError(
                f"classes are {np.asarray(classes).tolist()}, not 0 to {self.classes - 1}",
                where=self.name,
                remedy="hand in class indices, or use estran.learning.sklearn, which takes any labels",
            )
        self.learn_many(x, y)
        return self

    def learn_one(self, x: Row, y: int) -> None:
        """Learn one sample, in River's habit."""
        self.learn_many(one_row(x, self.features, self.name), np.array([y]))

    def predict_one(self, x: Row) -> int:
        """Class of one sample."""
        return int(self.predict(one_row(x, self.features, self.name))[0])

    def predict_proba_one(self, x: Row) -> dict[int, float]:
        """Probability of each class of one sample."""
        return dict(enumerate(self.predict_proba(one_row(x, self.features, self.name))[0].tolist()))


def one_row(x: Row, features: int, learner: str) -> Features:
    """A sample as a chunk of one row, shape (1, features).

    Raises
    ------
    LearnerError
        If it names a feature that there is not.
    """
    if not isinstance(x, Mapping):
        return np.asarray(x, dtype=np.float64).reshape(1, -1)
    row = np.zeros((1, features))
    for column, value in x.items():
        if not (isinstance(column, int) and 0 <= column < features):
            raise LearnerError(f"there is no feature {column!r}", where=learner, remedy=f"number features from 0 to {features - 1}")
        row[0, column] = value
    return row
