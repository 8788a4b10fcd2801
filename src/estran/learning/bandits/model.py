"""What all bandits have in common: one array of numbers, its named parts, and the checks of arms and rewards."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.counting import check_counts
from estran.learning.experts.plan import HEAD
from estran.learning.learner import LearnerError, NotFiniteError, State, StateError
from estran.learning.settings import whole
from estran.learning.snapshots import check_fits

Array = NDArray[Any]


class Pulling:
    """A bandit whose numbers lie in one array: seed of its draws, draws made, rounds learned, then the named parts.

    Subclasses are the methods; their settings are keywords.
    """

    name: ClassVar[str]
    about: ClassVar[About]
    counted: ClassVar[tuple[str, ...]] = ()
    """Parts that hold counts: whole numbers from 0."""

    def __init__(self, arms: int, rng: np.random.Generator, parts: dict[str, tuple[int, ...]]) -> None:
        self.arms = whole(self.name, "arms", arms)
        sizes = [math.prod(shape) for shape in parts.values()]
        self._numbers = np.zeros(HEAD + sum(sizes))
        self._numbers[0] = kernel().seed_from(rng)
        edges = np.cumsum([HEAD, *sizes])
        self._parts = {"clock": self._numbers[:HEAD]} | {
            name: self._numbers[start : start + size].reshape(shape)
            for (name, shape), start, size in zip(parts.items(), edges.tolist(), sizes, strict=False)
        }

    @property
    def rounds(self) -> int:
        """How many rewards were learned."""
        return int(self._numbers[2])

    def state(self) -> State:
        """Copies of all parts; ``clock`` has the seed of the draws, draws made, and rounds learned."""
        return {name: part.copy() for name, part in self._parts.items()}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or cannot have come about by learning.
        """
        check_fits(self.name, self._parts, state)
        for name in ("clock", *self.counted):
            check_counts(self.name, name, state[name])
        self._check(state)
        for name, part in self._parts.items():
            part[...] = state[name]

    def _check(self, state: State) -> None:
        """Refuse what learning cannot have led to, beyond counts that are none."""

    def _misfit(self, what: str) -> StateError:
        return StateError(f"{what} of the snapshot", where=self.name, remedy="load snapshots as state() makes them")

    def _arm(self, arm: int) -> int:
        if not isinstance(arm, (int, np.integer)) or isinstance(arm, bool) or not 0 <= arm < self.arms:
            raise LearnerError(f"there is no arm {arm!r}", where=self.name, remedy=f"number arms from 0 to {self.arms - 1}")
        return int(arm)

    def _reward(self, reward: float, low: float = 0.0, high: float = 1.0) -> float:
        value = float(reward)
        if not math.isfinite(value):
            what = f"the reward is {value}"
            raise NotFiniteError(what, where=self.name, remedy="leave out what was not measured; nothing was learned")
        if not low <= value <= high:
            remedy = "scale rewards of a range [a, b] as (reward - a) / (b - a), costs as (b - cost) / (b - a); nothing was learned"
            raise LearnerError(f"the reward is {value:g}, not from {low:g} to {high:g}", where=self.name, remedy=remedy)
        return value


def rows(context: Any, shape: tuple[int, ...], learner: str, what: str) -> Array:
    """A context as writable contiguous floats, after making sure that it has a shape and is finite.

    Raises
    ------
    LearnerError
        If it has another shape.
    NotFiniteError
        If a number is NaN or infinite.
    """
    found = np.ascontiguousarray(() if context is None else context, dtype=np.float64)
    if context is None or found.shape != shape:
        given = "no context" if context is None else f"a context of shape {np.shape(context)}"
        raise LearnerError(f"{given} is not {what}", where=learner, remedy=f"hand in an array of shape {shape}")
    # As in estran.learning.rows: a sum is finite exactly when no term is NaN or infinite, unless it overflows.
    if not math.isfinite(found.sum()) and not np.isfinite(found).all():
        raise NotFiniteError("the context holds a NaN or an infinity", where=learner, remedy="clean the data; nothing was learned")
    return found if found.flags.writeable else found.copy()


@functools.cache
def kernel() -> Any:
    """The compiled part, imported (and numba with it) when it is first needed."""
    return importlib.import_module("estran.learning.bandits.kernel")
