"""Learners of other libraries: what has scikit-learn's ``partial_fit`` or River's ``learn_one``, and modules of PyTorch."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, Learner, LearnerError, NotFiniteError, State, StateError
from estran.learning.mistakes import SettingsError, check_known
from estran.learning.reflection import export, restore
from estran.learning.rows import checked_chunk, checked_rows

_SAME_COMPONENT = (
    "train and serve in the same component: connect the trainer's predictions, and leave its models unconnected; "
    "or choose mlp, softmax, or a scikit-learn estimator with partial_fit"
)


BESIDE: Final = ("chunked", "device", "learning_rate", "momentum", "optimizer")
"""Settings that are not a model's own: how a module of PyTorch is to learn, and ``chunked`` for scikit-learn's estimators too."""


def settings_beside(factory: Callable[..., Any]) -> tuple[str, ...]:
    """Which of them may be given beside those of a factory; what a function returns is only known when it is called."""
    return BESIDE if _makes_modules(factory) or not isinstance(factory, type) else ("chunked",)


def check_beside(name: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Make sure that no setting is both a module's own and its optimizer's.

    Raises
    ------
    SettingsError
        Naming the setting.
    """
    if _makes_modules(factory):
        _check_unambiguous(name, factory, settings)


def create(
    name: str, factory: Callable[..., Any], settings: Mapping[str, Any], features: int, classes: int, rng: np.random.Generator
) -> Learner:
    """Make a foreign model, its randomness tied to ours, and wrap it.

    Parameters
    ----------
    name
        What errors call it.
    factory
        A class, or a function that returns a model. Where it has arguments ``features`` or ``classes``, these are handed in.
    settings
        Its own, and some of `BESIDE`. One that the factory has an argument for is its own.
    features, classes, rng
        As for every learner.

    Raises
    ------
    SettingsError
        If it does not take its settings, or cannot be wrapped.
    """
    parameters = inspect.signature(factory).parameters
    beside = {key: settings[key] for key in settings if key in BESIDE and not _takes(parameters, key)}
    own = {key: value for key, value in settings.items() if key not in beside}
    own |= {key: value for key, value in (("features", features), ("classes", classes)) if key in parameters}
    model, seed_of_module = _made(name, factory, own, rng)
    if seed_of_module is not None:
        from estran.learning.pytorch import TorchLearner

        _check_unambiguous(name, factory, settings)
        return TorchLearner(model, features, classes, seed=seed_of_module, name=name, **beside)
    for key in beside:
        check_known(key, {*parameters, "chunked"}, kind="setting", where=f"learner {name}")
    return adapt(model, features, classes, name=name, chunked=bool(beside.get("chunked", False)))


def made_plainly(name: str, factory: Callable[..., Any], settings: Mapping[str, Any], rng: np.random.Generator) -> tuple[Any, bool]:
    """Make a model of scikit-learn or River, its randomness tied to ours, and say whether it wants whole chunks.

    Raises
    ------
    SettingsError
        If it does not take its settings, or is a module of PyTorch, which learns classes.
    """
    parameters = inspect.signature(factory).parameters
    own = {key: value for key, value in settings.items() if key != "chunked" or _takes(parameters, key)}
    model, seed_of_module = _made(name, factory, own, rng)
    if seed_of_module is not None:
        raise SettingsError("a module of PyTorch learns classes, not numbers", where=f"learner {name}", remedy="choose a regressor")
    return model, bool(settings.get("chunked", False)) and "chunked" not in own


def _made(name: str, factory: Callable[..., Any], own: Mapping[str, Any], rng: np.random.Generator) -> tuple[Any, int | None]:
    """A model; and the seed that it was made with, if it is a module of PyTorch.

    Only such a one may cost a draw: which seed others get must not depend on whether somebody has imported torch.
    """
    parameters = inspect.signature(factory).parameters
    drawn = {key: int(rng.integers(2**31)) for key in ("random_state", "seed") if key in parameters and own.get(key) is None}
    own = {**own, **drawn}
    seed = int(copy.deepcopy(rng).integers(2**53))
    had_torch = _torch() is not None
    try:
        model = _seeded(factory, own, seed)
        if not _is_module(model):
            return model, None
        rng.integers(2**53)
        # A function that was the first to import torch has drawn its weights from who knows what.
        return (model if had_torch else _seeded(factory, own, seed)), seed
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(f"{error}", where=f"learner {name}", remedy="look up the settings that it takes") from error


def _seeded(factory: Callable[..., Any], own: Mapping[str, Any], seed: int) -> Any:
    if _torch() is None:
        return factory(**own)
    from estran.learning.pytorch import seeded

    with seeded(seed):
        return factory(**own)


def _torch() -> Any:
    """PyTorch, if somebody has imported it: without that nothing can be a module of it."""
    return sys.modules.get("torch")


def _is_module(model: Any) -> bool:
    torch = _torch()
    return torch is not None and isinstance(model, torch.nn.Module)


def _makes_modules(factory: Callable[..., Any]) -> bool:
    torch = _torch()
    return torch is not None and isinstance(factory, type) and issubclass(factory, torch.nn.Module)


def _takes(parameters: Mapping[str, inspect.Parameter], key: str) -> bool:
    """Whether a setting is the factory's own; one that takes any is not meant by ``chunked``, which no model knows."""
    any_at_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return key in parameters or (any_at_all and key != "chunked")


def _check_unambiguous(name: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters
    for key in settings:
        if key in BESIDE and _takes(parameters, key):
            raise SettingsError(
                f"{key} could be the module's own setting or that of how it learns",
                where=f"learner {name}",
                remedy=f"write a function that returns the module, with other names than {', '.join(BESIDE)}",
            )


def adapt(model: Any, features: int, classes: int, *, name: str, chunked: bool = False) -> Learner:
    """Wrap a foreign model by what it can do; ``chunked`` as in `SklearnLearner`.

    Raises
    ------
    SettingsError
        If it has neither ``learn_one`` nor ``partial_fit``, and is no module of PyTorch.
    """
    if _is_module(model):
        from estran.learning.pytorch import TorchLearner

        return TorchLearner(model, features, classes, seed=0, name=name, chunked=chunked)
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


class SklearnLearner(OfSklearn, Habits):
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


class RiverLearner(OfRiver, Habits):
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

    def _odds(self, row: dict[int, float]) -> dict[Any, float]:
        try:
            odds: dict[Any, float] = self.model.predict_proba_one(row)
        except (NotImplementedError, AttributeError):
            answer = self.model.predict_one(row)
            odds = {} if answer is None else {answer: 1.0}
        return odds
