"""Snapshots of several learners brought together: arrays in, arrays out, in double precision on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.learner import State, StateError
from estran.learning.mistakes import SettingsError

_DERIVED: Final[dict[str, str]] = {
    "supports": "remembers rows, and those of two learners are not the same",
    "gradients": "makes its weights from all gradients so far, which averages do not fit",
    "shifted": "keeps its weights sparse, which averages would not be",
    "linear": "makes its weights from all gradients so far, which averages do not fit",
    "restarts": "starts over when it likes, each learner at another time",
}
"""Parts by which learners are known whose average means nothing, and why."""


def check_averageable(choice: registry.Choice) -> None:
    """Make sure that snapshots of a learner can be averaged, without letting it learn.

    Raises
    ------
    SettingsError
        If it has no snapshot before it has learned, its parts are not real numbers, or their mean is known to mean nothing.
    RequestError
        If the learner does not take its settings.
    """
    name, _ = registry.read(choice)
    remedy = "choose mlp, softmax, or a linear learner such as arow"
    registry.check(choice)
    try:
        state = registry.create(choice, 3, 2, np.random.default_rng(0)).state()
    except StateError as error:
        what = f"{name} has no snapshot before it has learned, so that workers cannot begin alike"
        raise SettingsError(what, where="learner", remedy=remedy) from error
    for part, array in state.items():
        why = _DERIVED.get(part.rpartition(".")[2])
        if why is not None:
            raise SettingsError(f"{name} {why}", where="learner", remedy=remedy)
        if array.dtype.kind != "f":
            raise SettingsError(f"{part} of {name} is {array.dtype}, which has no mean", where="learner", remedy=remedy)


def misfit(wanted: State, given: State) -> str | None:
    """Why a snapshot cannot take part in an average, or None if it can."""
    if wanted.keys() != given.keys():
        return f"it has {', '.join(sorted(given)) or 'no parts'}, wanted {', '.join(sorted(wanted))}"
    for name, array in wanted.items():
        found = given[name]
        if found.shape != array.shape or found.dtype.kind != "f":
            return f"{name} is {found.dtype} of shape {found.shape}, wanted floats of shape {array.shape}"
        if not np.isfinite(found).all():
            return f"{name} is not finite"
    return None


def distance(one: State, other: State) -> float:
    """Euclidean distance of two snapshots; infinite where it overflows."""
    with np.errstate(over="ignore"):
        squares = sum(float(np.square(_double(one[name]) - _double(other[name])).sum()) for name in one)
    return float(np.sqrt(squares))


def change(base: State, state: State) -> dict[str, NDArray[np.float64]]:
    """What was added to a base."""
    return {name: _double(array) - _double(base[name]) for name, array in state.items()}


def moved(state: State, changes: Sequence[Mapping[str, NDArray[np.float64]]], weights: Sequence[float]) -> dict[str, NDArray[Any]]:
    """``state + Σ wᵢ changeᵢ``, in the state's own types.

    What no change touches stays as it is, bit for bit.

    Raises
    ------
    StateError
        If the sum is not finite.

    Examples
    --------
    >>> moved({"w": np.array([1.0])}, [{"w": np.array([2.0])}, {"w": np.array([4.0])}], [0.5, 0.25])["w"].tolist()
    [3.0]
    """
    found = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for name, array in state.items():
            total = _double(array).copy()
            for one, weight in zip(changes, weights, strict=True):
                total += weight * one[name]
            found[name] = total.astype(array.dtype)
    if not all(np.isfinite(array).all() for array in found.values()):
        raise StateError("the models' sum is not finite", where="aggregation", remedy="lower rate, or the learner's learning_rate")
    return found


def fading(staleness: int, decay: float) -> float:
    """``(1 + τ)^-a``: how much an answer counts that was made from a model τ versions old.

    Notes
    -----
    Xie, Koyejo, Gupta, *Asynchronous federated optimization*, OPT 2020, the polynomial one of their three functions; with a = 1/2
    that of Nguyen et al., *Federated learning with buffered asynchronous aggregation*, AISTATS 2022.
    """
    return float((1 + staleness) ** -decay)


def _double(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)
