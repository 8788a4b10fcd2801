"""Learners of other libraries: anything with scikit-learn's ``partial_fit`` or River's ``learn_one``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels, Learner, LearnerError, NotFiniteError, State, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.reflection import export, restore
from estran.learning.rows import checked_chunk, checked_rows

_SAME_COMPONENT = (
    "train and serve in the same component: connect the trainer's predictions, and leave its models unconnected; "
    "or choose mlp, softmax, or a scikit-learn estimator with partial_fit"
)


def adapt(model: Any, features: int, classes: int, *, name: str, chunked: bool = False) -> Learner:
    """Wrap a foreign model by what it can do; ``chunked`` as in `SklearnLearner`.

    Raises
    ------
    SettingsError
        If it has neither ``learn_one`` nor ``partial_fit``.
    """
    # River first: some of its models have a partial learn_many of their own, on data frames.
    if hasattr(model, "learn_one"):
        return RiverLearner(model, features, classes, name=name)
    if hasattr(model, "partial_fit") and hasattr(model, "predict"):
        return SklearnLearner(model, features, classes, name=name, chunked=chunked)
    raise SettingsError(
        f"{type(model).__name__} learns neither by partial_fit nor by learn_one",
        where=f"learner {name}",
        remedy="choose an online learner; estimators with only fit() need all data at once",
    )


class OfSklearn:
    """What wraps an estimator of scikit-learn: it knows whether that was fitted, and its attributes are arrays."""

    instead: ClassVar[str] = _SAME_COMPONENT
    """What to do where an attribute is none."""

    def __init__(self, estimator: Any, features: int, name: str, chunked: bool) -> None:
        self.estimator, self.features, self.name, self.chunked = estimator, features, name, chunked
        self._fitted = False

    def state(self) -> State:
        """Everything fitted, by the names of the estimator's attributes; empty before the first row.

        Raises
        ------
        StateError
            If an attribute is neither number, text, array, nor a container of those.
        """
        if not self._fitted:
            return {}
        return export(self.estimator, self.name, remedy=self.instead)

    def load(self, state: State) -> None:
        """Replace everything fitted.

        Raises
        ------
        StateError
            If the snapshot is of another kind of estimator.
        """
        from sklearn.base import clone

        estimator = clone(self.estimator)
        if state:
            # An unfitted estimator has no attributes to fill; one row makes them all.
            self._fit(estimator, np.zeros((1, self.features)), np.zeros(1, dtype=np.int64))
            restore(estimator, state, self.name)
        self.estimator, self._fitted = estimator, bool(state)

    def _fit(self, estimator: Any, rows: Features, targets: NDArray[Any]) -> None:
        """Call an estimator's ``partial_fit`` with all it must be told."""
        estimator.partial_fit(rows, targets)

    def _learn(self, rows: Features, targets: NDArray[Any]) -> None:
        """Hand over checked rows one at a time, or whole chunks where that is wanted."""
        step = max(1, len(rows)) if self.chunked else 1
        for start in range(0, len(rows), step):
            try:
                self._fit(self.estimator, rows[start : start + step], targets[start : start + step])
            except (ValueError, TypeError) as error:
                kind = type(self.estimator).__name__
                raise LearnerError(f"{kind} refuses: {error}", where=self.name, remedy="see its documentation") from error
            self._fitted = True
            # A perceptron of scikit-learn remembers the loss of every call it ever had, which a stream has without end.
            curve = getattr(self.estimator, "loss_curve_", None)
            if isinstance(curve, list):
                del curve[:-1]


class SklearnLearner(OfSklearn):
    """An estimator with ``partial_fit`` and ``predict``; with ``predict_proba`` where it has one.

    Rows are handed over one at a time, as the seam promises, though scikit-learn is some 50 times faster in chunks; ``chunked``
    gives up the promise for the speed.

    Parameters
    ----------
    estimator
        Not fitted yet.
    features, classes
        Width of a row, and number of classes, which ``partial_fit`` is told up front.
    chunked
        Hand over whole chunks: what is learned then depends on how the stream was cut.
    """

    def __init__(self, estimator: Any, features: int, classes: int, *, name: str = "sklearn", chunked: bool = False) -> None:
        super().__init__(estimator, features, name, chunked)
        self.classes = classes

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk by ``partial_fit``.

        Raises
        ------
        LearnerError
            If the chunk does not fit, or the estimator refuses a row: the rows before that one have then been learned.
        """
        self._learn(*checked_chunk(x, y, self.features, self.classes, self.name))

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Probabilities, shape (n, classes); 1 for the answer of an estimator that knows none; uniform before the first row."""
        rows = checked_rows(x, self.features, self.name)
        if not self._fitted or not len(rows):
            return np.full((len(rows), self.classes), 1 / self.classes)
        if not hasattr(self.estimator, "predict_proba"):
            return np.asarray(np.eye(self.classes)[self.estimator.predict(rows)])
        found = np.asarray(self.estimator.predict_proba(rows), dtype=np.float64)
        if not np.isfinite(found).all():
            raise NotFiniteError(
                f"{type(self.estimator).__name__} answers NaN",
                where=self.name,
                remedy="if it estimates spread from each chunk, as GaussianNB does, set chunked: true and learn in larger chunks",
            )
        return found

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1), dtype=np.int64)

    def _fit(self, estimator: Any, rows: Features, targets: NDArray[Any]) -> None:
        estimator.partial_fit(rows, targets, classes=np.arange(self.classes))


class OfRiver:
    """What wraps an object of River: it cannot be put into arrays."""

    model: Any
    name: str
    instead: ClassVar[str]
    """What to do where arrays are needed."""

    def state(self) -> State:
        """Refused: River's objects, of Python or Rust, have no form as arrays.

        Raises
        ------
        StateError
            Always; it says what is possible instead.
        """
        raise self._no_arrays()

    def load(self, state: State) -> None:
        """Refused, see `state`."""
        raise self._no_arrays()

    def _no_arrays(self) -> StateError:
        kind = type(self.model).__name__
        return StateError(f"River's {kind} cannot be expressed as arrays", where=self.name, remedy=self.instead)


class RiverLearner(OfRiver):
    """A classifier with ``learn_one`` and ``predict_one``; with ``predict_proba_one`` where it has one.

    Features go in by their numbers, ``{0: …, 1: …}``, and classes as integers. A model for two classes only refuses more: wrap it
    in River's ``OneVsRestClassifier``.
    """

    instead = _SAME_COMPONENT

    def __init__(self, model: Any, features: int, classes: int, *, name: str = "river") -> None:
        if classes > 2 and getattr(model, "_multiclass", True) is False:
            raise SettingsError(
                f"{type(model).__name__} tells two classes apart, but the data have {classes}",
                where=f"learner {name}",
                remedy="wrap it: a function that returns multiclass.OneVsRestClassifier(model)",
            )
        self.model, self.features, self.classes, self.name = model, features, classes, name

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, one row at a time.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
            self.model.learn_one(dict(enumerate(row)), label)

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Probabilities, shape (n, classes); 1 for the answer of a model that knows none; uniform where it knows nothing."""
        rows = checked_rows(x, self.features, self.name)
        found = np.zeros((len(rows), self.classes))
        for i, row in enumerate(rows.tolist()):
            for label, probability in self._odds(dict(enumerate(row))).items():
                found[i, int(label)] = probability
        total = found.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, found / np.where(total > 0, total, 1), 1 / self.classes))

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1), dtype=np.int64)

    def _odds(self, row: dict[int, float]) -> dict[Any, float]:
        try:
            odds: dict[Any, float] = self.model.predict_proba_one(row)
        except (NotImplementedError, AttributeError):
            answer = self.model.predict_one(row)
            odds = {} if answer is None else {answer: 1.0}
        return odds
