"""Regressors of other libraries: anything with scikit-learn's ``partial_fit`` or River's ``learn_one``."""

from __future__ import annotations

from typing import Any

import numpy as np

from estran.learning.adapters import OfRiver, OfSklearn
from estran.learning.learner import Features, NotFiniteError
from estran.learning.mistakes import SettingsError
from estran.learning.regression.regressor import NumberHabits, Regressor
from estran.learning.regression.rows import Numbers, checked_targets
from estran.learning.rows import checked_rows


def adapt(model: Any, features: int, *, name: str, chunked: bool = False) -> Regressor:
    """Wrap a foreign model by what it can do; ``chunked`` as in `SklearnRegressor`.

    Raises
    ------
    SettingsError
        If it has neither ``learn_one`` nor ``partial_fit``, or tells classes apart.
    """
    # River first: some of its models have a partial learn_many of their own, on data frames.
    river = hasattr(model, "learn_one")
    if not river and not (hasattr(model, "partial_fit") and hasattr(model, "predict")):
        raise SettingsError(
            f"{type(model).__name__} learns neither by partial_fit nor by learn_one",
            where=f"learner {name}",
            remedy="choose an online regressor; estimators with only fit() need all data at once",
        )
    if _classifies(model):
        raise SettingsError(
            f"{type(model).__name__} learns classes, not numbers", where=f"learner {name}", remedy="choose a regressor"
        )
    if river:
        return RiverRegressor(model, features, name=name)
    return SklearnRegressor(model, features, name=name, chunked=chunked)


class _Foreign(NumberHabits):
    """What foreign regressors share: they answer and learn row by row, and what they answer is checked."""

    name: str

    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        """Answer each row of a chunk before learning from it, shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit, or the model fails at a row: the rows before that one have then been learned.
        """
        rows, targets = checked_targets(x, y, self.features, self.name)
        answers = np.empty(len(rows))
        for i in range(len(rows)):
            answers[i] = self.predict(rows[i : i + 1])[0]
            self.learn_many(rows[i : i + 1], targets[i : i + 1])
        return answers

    def _finite(self, found: Numbers, model: Any) -> Numbers:
        if not np.isfinite(found).all():
            raise NotFiniteError(
                f"{type(model).__name__} answers {found[~np.isfinite(found)][0]}",
                where=self.name,
                remedy="scale inputs and targets to about 1, or take smaller steps",
            )
        return found


_SAME_PROCESS = (
    "learn and predict in the same process; or choose ridge, pa-regression, or a scikit-learn regressor with partial_fit"
)


class SklearnRegressor(OfSklearn, _Foreign):
    """A regressor with ``partial_fit`` and ``predict``; it answers 0 before the first row.

    Parameters
    ----------
    estimator
        Not fitted yet.
    features
        Width of a row.
    chunked
        Hand over whole chunks: what is learned then depends on how the stream was cut.
    """

    instead = _SAME_PROCESS

    def __init__(self, estimator: Any, features: int, *, name: str = "sklearn", chunked: bool = False) -> None:
        super().__init__(estimator, features, name, chunked)

    def learn_many(self, x: Features, y: Numbers) -> None:
        """Learn from a chunk by ``partial_fit``.

        Raises
        ------
        LearnerError
            If the chunk does not fit, or the estimator refuses a row: the rows before that one have then been learned.
        """
        self._learn(*checked_targets(x, y, self.features, self.name))

    def predict(self, x: Features) -> Numbers:
        """The number of each row, shape (n,)."""
        rows = checked_rows(x, self.features, self.name)
        if not self._fitted or not len(rows):
            return np.zeros(len(rows))
        return self._finite(np.asarray(self.estimator.predict(rows), dtype=np.float64).reshape(-1), self.estimator)


class RiverRegressor(OfRiver, _Foreign):
    """A regressor with ``learn_one`` and ``predict_one``. Features go in by their numbers, ``{0: …, 1: …}``."""

    instead = _SAME_PROCESS

    def __init__(self, model: Any, features: int, *, name: str = "river") -> None:
        self.model, self.features, self.name = model, features, name

    def learn_many(self, x: Features, y: Numbers) -> None:
        """Learn from a chunk, one row at a time.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        """
        rows, targets = checked_targets(x, y, self.features, self.name)
        for row, target in zip(rows.tolist(), targets.tolist(), strict=True):
            self.model.learn_one(dict(enumerate(row)), target)

    def predict(self, x: Features) -> Numbers:
        """The number of each row, shape (n,); 0 where the model knows nothing."""
        rows = checked_rows(x, self.features, self.name)
        answers = (self.model.predict_one(dict(enumerate(row))) for row in rows.tolist())
        return self._finite(np.array([0.0 if answer is None else answer for answer in answers], dtype=np.float64), self.model)


def _classifies(model: Any) -> bool:
    """Whether a model says that its answers are classes: one of scikit-learn, or the last step of one of River."""
    if hasattr(model, "learn_one"):
        from river.base import Classifier

        steps = getattr(model, "steps", None)
        last = list(steps.values())[-1] if steps else model
        return isinstance(last, Classifier)
    from sklearn.base import is_classifier

    return bool(is_classifier(model))
