"""Which rule a budgeted kernel learner follows, and where its numbers lie. Plain NumPy: nothing here compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import State, StateError
from estran.learning.settings import one_of, positive, whole, within

KernelName: TypeAlias = Literal["gaussian", "polynomial", "linear"]


class Kernel(IntEnum):
    """Codes by which the loops know the kernels."""

    GAUSSIAN = 0
    POLYNOMIAL = 1
    LINEAR = 2


class Rule(IntEnum):
    """Codes by which the loops know the rules."""

    OLDEST = 0
    RANDOM = 1
    FORGETRON = 2
    PROJECTRON = 3
    BPAS = 4
    OGD = 5


FILLED, OLDEST, MISTAKES, DAMAGE, SEED, DRAWS, CLOCK = range(7)
"""Numbers before all others: places in use, which was filled first, mistakes, Forgetron's sum of Ψ, seed and number of draws."""
RULE, KERNEL, GAMMA, DEGREE, OFFSET, PROTOTYPES, FEATURES, BUDGET, SIZE, FIRST, SECOND = range(11)
"""Places in a plan's vector; the last two are the rule's own settings."""


@dataclass(frozen=True)
class Shape:
    """A kernel: K(x, s) = exp(−γ|x − s|²), (γ·x·s + offset)^degree or x·s."""

    kernel: Kernel
    gamma: float
    degree: int = 1
    offset: float = 0.0


def shape(learner: str, features: int, kernel: KernelName, gamma: float | None, degree: int, offset: float) -> Shape:
    """A kernel by its name and settings; ``gamma`` of None is 1/features.

    Raises
    ------
    RequestError
        If a setting is out of range.
    """
    code = Kernel(one_of(learner, "kernel", kernel, ("gaussian", "polynomial", "linear")))
    width = 1.0 / max(1, features) if gamma is None else positive(learner, "gamma", gamma)
    least = within(learner, "offset", offset, 0.0, np.inf, closed=True)
    return Shape(code, width, whole(learner, "degree", degree), least)


@dataclass(frozen=True)
class Plan:
    """Rule, kernel, sizes and settings of a learner with a budget.

    Parameters
    ----------
    rule, kernel
        What it does, and by which likeness of rows.
    prototypes
        Functions: 1 for two classes, else one a class.
    features
        Of a row.
    budget
        Most rows that may be kept.
    settings
        The rule's own: C of BPA-S, η of the Projectron, step and code of the loss of OGD.
    """

    rule: Rule
    kernel: Shape
    prototypes: int
    features: int
    budget: int
    settings: tuple[float, ...] = ()

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all that is remembered, by name, in the order in which they lie. Each support is a column."""
        found: dict[str, tuple[int, ...]] = {
            "clock": (CLOCK,),
            "squares": (self.budget,),
            "coefficients": (self.prototypes, self.budget),
        }
        if self.rule is Rule.PROJECTRON:
            found["inverse"] = (self.budget, self.budget)
        return {**found, "supports": (self.features, self.budget)}

    def vector(self) -> NDArray[np.float64]:
        """The plan as the loops read it."""
        size = sum(int(np.prod(one)) for one in self.parts().values())
        kernel = (self.kernel.kernel, self.kernel.gamma, self.kernel.degree, self.kernel.offset)
        sizes = (self.prototypes, self.features, self.budget, size)
        first, second = (*self.settings, 0.0, 0.0)[:2]
        return np.array([self.rule, *kernel, *sizes, first, second], dtype=np.float64)

    def fresh(self, seed: float) -> NDArray[np.float64]:
        """All numbers before the first row."""
        numbers = np.zeros(int(self.vector()[SIZE]))
        numbers[SEED] = seed
        return numbers

    def views(self, numbers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Every part of the numbers, by name, sharing their memory."""
        return views(self.parts(), numbers)

    def check(self, learner: str, state: State) -> None:
        """Make sure that a snapshot of the right shapes has a clock that learning could have come to.

        Raises
        ------
        StateError
            If not: a place outside of the budget would be written to.
        """
        clock = state["clock"]
        limits = {FILLED: self.budget + 1, OLDEST: self.budget, SEED: 2**53, DRAWS: 2**53}
        whole = all(float(clock[at]).is_integer() and 0 <= clock[at] < limit for at, limit in limits.items())
        if not whole or (state["squares"] < 0).any():
            remedy = "load snapshots as state() makes them, of learners with the same settings"
            raise StateError("the clock or a square of the snapshot is out of range", where=learner, remedy=remedy)


def views(parts: Mapping[str, tuple[int, ...]], numbers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Parts of a flat array, by name, in the order in which they lie, sharing its memory."""
    found, at = {}, 0
    for name, one in parts.items():
        size = int(np.prod(one))
        found[name] = numbers[at : at + size].reshape(one)
        at += size
    return found
