"""What learners that are made of another learner ask of it, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels, Learner, State, StateError


def scores(learner: Learner, x: Features) -> NDArray[np.float64]:
    """A learner's own scores, shape (n,) for two classes or (n, classes); of one that has none, logarithms of its probabilities."""
    decide: Any = getattr(learner, "decision_function", None)
    if decide is not None:
        return np.asarray(decide(x), dtype=np.float64)
    with np.errstate(divide="ignore"):  # a probability of zero is as far away as can be
        return np.log(learner.predict_proba(x))


def lead(row: NDArray[np.float64]) -> tuple[float, int, int]:
    """How far the best class of one row of scores is ahead of the second best, and which prototypes those two are.

    Two classes with one score between them have one prototype, which is both.

    Examples
    --------
    >>> lead(np.array([0.5, 3.0, 1.0]))
    (2.0, 1, 2)
    >>> lead(np.array(-0.25))
    (0.25, 0, 0)
    """
    if row.ndim == 0:
        return abs(float(row)), 0, 0
    first, second = (0, 1) if row[0] >= row[1] else (1, 0)
    for k in range(2, len(row)):
        if row[k] > row[first]:
            first, second = k, first
        elif row[k] > row[second]:
            second = k
    return (float(row[first] - row[second]) if row[first] > row[second] else 0.0), first, second


def answer_then_learn(learner: Learner, x: Features, y: Labels) -> Labels:
    """The answers to a chunk of one row, given before it is learned: in one call where the learner has such."""
    both: Any = getattr(learner, "predict_then_learn", None)
    if both is not None:
        return np.asarray(both(x, y), dtype=np.int64)
    answers = learner.predict(x)
    learner.learn_many(x, y)
    return answers


def under(prefix: str, state: State) -> dict[str, NDArray[Any]]:
    """The parts of a snapshot whose names begin with ``prefix.``, without it."""
    return {part.removeprefix(f"{prefix}."): array for part, array in state.items() if part.startswith(f"{prefix}.")}


def within(prefix: str, state: State) -> dict[str, NDArray[Any]]:
    """A snapshot whose names begin with ``prefix.``."""
    return {f"{prefix}.{part}": array for part, array in state.items()}


def check_nothing_else(name: str, state: State, prefixes: Iterable[str], own: Iterable[str]) -> None:
    """Make sure that every part of a snapshot is one's own, or begins with a known prefix.

    Raises
    ------
    StateError
        Naming those that are not.
    """
    known, starts = set(own), tuple(f"{prefix}." for prefix in prefixes)
    unknown = sorted(part for part in state if part not in known and not part.startswith(starts))
    if unknown:
        raise StateError(
            f"the snapshot has {', '.join(unknown)} besides",
            where=name,
            remedy="load snapshots of learners with the same settings",
        )


def snapshot_before(learner: Learner) -> State | None:
    """A snapshot to go back to if a chunk fails, or None of a learner that has none."""
    try:
        return learner.state()
    except StateError:
        return None
