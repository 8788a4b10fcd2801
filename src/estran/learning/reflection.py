"""What an estimator of scikit-learn has learned, as plain arrays by name, and back: no pickle crosses hosts.

Fitted attributes are numbers, texts, arrays, and containers or small objects of those. Each leaf becomes one array under its
path (``coefs_.0``, ``_optimizer.ms.3``); the type of a leaf that is not an array is in the name (``classes_``, ``t_:float``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import State, StateError

_SCALARS = {bool: np.bool_, int: np.int64, float: np.float64}
_STATELESS = ("sklearn._loss.", "sklearn.linear_model._sgd_fast")
"""Modules of compiled loss functions, which hold hyper-parameters only: a fresh estimator has the same ones."""


def export(estimator: Any, where: str, *, remedy: str) -> dict[str, NDArray[Any]]:
    """Everything fitted in an estimator, copied.

    Raises
    ------
    StateError
        Naming the first attribute that is not made of numbers, texts and arrays.
    """
    try:
        return {path: np.array(leaf) for name, value in _fitted(estimator) for path, leaf in _leaves(value, name)}
    except TypeError as error:
        kind = type(estimator).__name__
        raise StateError(f"{kind} cannot be expressed as arrays: {error}", where=where, remedy=remedy) from error


def restore(estimator: Any, state: State, where: str) -> None:
    """Fill a freshly fitted estimator of the same kind with a snapshot.

    Raises
    ------
    StateError
        If the snapshot has not the leaves that this estimator has.
    """
    unused = dict(state)
    try:
        filled = [(name, _filled(value, name, unused)) for name, value in _fitted(estimator)]
    except KeyError as error:
        raise _misfit(estimator, f"it lacks {error}", where) from error
    if unused:
        raise _misfit(estimator, f"it has {', '.join(sorted(unused)[:3])} besides", where)
    for name, value in filled:
        setattr(estimator, name, value)


def _misfit(estimator: Any, what: str, where: str) -> StateError:
    return StateError(
        f"the snapshot does not fit a {type(estimator).__name__}: {what}",
        where=where,
        remedy="load snapshots of the same estimator with the same settings and version of scikit-learn",
    )


def _fitted(thing: Any) -> Iterator[tuple[str, Any]]:
    settings = set(thing.get_params(deep=False)) if hasattr(thing, "get_params") else set()
    # A seed is a setting that was drawn, not given: going on alike needs the same one.
    return ((name, value) for name, value in vars(thing).items() if name not in settings - {"random_state"})


def _leaves(value: Any, path: str) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield path, value
    elif value is None:
        yield f"{path}:none", np.zeros(0)
    elif isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        plain = value.item() if isinstance(value, np.generic) else value
        yield f"{path}:{type(plain).__name__}", np.array(plain, dtype=_SCALARS[type(plain)])
    elif isinstance(value, (str, np.ndarray)) and np.asarray(value).dtype.kind == "U":
        texts = np.asarray(value)
        yield f"{path}:text", np.frombuffer("\0".join(texts.ravel().tolist()).encode(), dtype=np.uint8)
    elif isinstance(value, np.random.RandomState):
        _, keys, position, has_normal, normal = value.get_state(legacy=True)
        yield f"{path}:keys", np.asarray(keys)
        yield f"{path}:rest", np.array([position, has_normal, normal], dtype=np.float64)
    elif type(value).__module__.startswith(_STATELESS):
        return
    else:
        for name, part in _parts(value, path):
            yield from _leaves(part, f"{path}.{name}")


def _parts(value: Any, path: str) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, (list, tuple)):
        return enumerate(value)
    if isinstance(value, dict):
        return value.items()
    if type(value).__module__.startswith("sklearn.") and hasattr(value, "__dict__"):
        return _fitted(value)
    raise TypeError(f"{path} is a {type(value).__name__}")


def _filled(value: Any, path: str, state: dict[str, NDArray[Any]]) -> Any:
    """The value that a snapshot has at a path, in the form that the fresh estimator's value has there; takes what it uses."""
    if path in state:
        return np.array(state.pop(path))
    if f"{path}:none" in state:
        state.pop(f"{path}:none")
        return None
    for scalar in _SCALARS:
        if f"{path}:{scalar.__name__}" in state:
            return scalar(state.pop(f"{path}:{scalar.__name__}")[()])
    if f"{path}:text" in state:
        texts = bytes(state.pop(f"{path}:text")).decode().split("\0")
        return np.array(texts) if isinstance(value, np.ndarray) else texts[0]
    if isinstance(value, np.random.RandomState):
        position, has_normal, normal = state.pop(f"{path}:rest").tolist()
        value.set_state(("MT19937", state.pop(f"{path}:keys"), int(position), int(has_normal), normal))
        return value
    return _filled_container(value, path, state)


def _filled_container(value: Any, path: str, state: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(part, f"{path}.{i}", state) for i, part in enumerate(value))
    if isinstance(value, dict):
        return {key: _filled(part, f"{path}.{key}", state) for key, part in value.items()}
    if type(value).__module__.startswith(_STATELESS):
        return value
    if type(value).__module__.startswith("sklearn.") and hasattr(value, "__dict__"):
        for name, part in list(_fitted(value)):
            setattr(value, name, _filled(part, f"{path}.{name}", state))
        return value
    raise KeyError(path)
