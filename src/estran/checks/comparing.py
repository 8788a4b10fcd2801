"""What the checks of learners of classes and of numbers share: snapshots, and what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from estran.learning.learner import State, StateError


class _Remembers(Protocol):
    def state(self) -> State: ...


def snapshot(learner: _Remembers) -> State | None:
    """A snapshot, or None from a learner that has a good reason to have none."""
    try:
        return learner.state()
    except StateError as error:
        if not error.remedy:
            raise AssertionError("a learner without snapshots says what to do instead") from error
        return None


def assert_same_state(one: _Remembers, other: _Remembers) -> None:
    """Both have the same snapshot, bit for bit, if they have any."""
    try:
        mine, theirs = one.state(), other.state()
    except StateError:
        return
    assert mine.keys() == theirs.keys(), "two learners that should be alike have states of different parts"
    for name in mine:
        assert np.array_equal(mine[name], theirs[name], equal_nan=True), f"two learners that should be alike differ in {name}"


def assert_raises(wanted: type[Exception], call: Callable[[], object]) -> None:
    """The call raises this."""
    try:
        call()
    except wanted:
        return
    raise AssertionError(f"no {wanted.__name__} was raised")
