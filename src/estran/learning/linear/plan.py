"""Which rule a linear learner follows, and where its numbers lie. Plain NumPy: nothing here compiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class Rule(IntEnum):
    """Codes by which the kernel knows the rules."""

    PERCEPTRON = 0
    PA = 1
    PA1 = 2
    PA2 = 3
    OGD = 4
    ROMMA = 5
    AROMMA = 6
    ALMA = 7
    ADAGRAD = 8
    FTRL = 9
    SOP = 10
    CW = 11
    ECCW = 12
    AROW = 13
    NAROW = 14
    SCW1 = 15
    SCW2 = 16
    NHERD = 17
    IELLIP = 18
    PAUM = 19
    CPA = 20
    CSOGD = 21
    WINNOW = 22
    ONS = 23
    TRUNCATED = 40
    FOBOS = 41
    RDA = 42
    ADA_FOBOS = 43
    ADA_RDA = 44


class Memory(IntEnum):
    """What is remembered beside the weights."""

    NONE = 0
    DIAGONAL = 1
    FULL = 2


LANES: Final = 8
"""Rows of numbers are filled up with zeros to a multiple of this, and begin at such a place: processors take so many at once."""
CLOCK: Final = LANES
"""Room before the weights, of which three numbers are used: rows seen, updates made, and what a rule itself fades or shrinks by."""
SPARSE: Final[dict[Rule, tuple[str, ...]]] = {
    Rule.TRUNCATED: ("shifted", "rate"),
    Rule.FOBOS: ("shifted",),
    Rule.RDA: ("gradients",),
    Rule.ADA_FOBOS: ("shifted", "rate", "squares"),
    Rule.ADA_RDA: ("gradients", "rate", "squares"),
}
"""What sparse rules remember in place of weights, which follow from it (`estran.learning.linear.sparse_kernel`)."""
RULE, MEMORY, PROTOTYPES, WIDTH, STRIDE, SIZE, PRIOR, SETTINGS = range(8)
"""Places in a plan's vector; a rule's own settings begin at the last."""


@dataclass(frozen=True)
class Plan:
    """Rule, sizes and settings of a learner.

    Parameters
    ----------
    rule, memory
        What it does, and what it keeps beside its weights.
    prototypes
        Weight vectors: 1 for two classes, else one a class.
    width
        Weights of a vector, the bias included (it is the last one).
    settings
        The rule's own, as `estran.learning.linear.rules` describes them.
    prior
        The covariance that learning begins with is this much of the identity.
    fade
        Fading factor to begin with.
    lanes
        Rows of numbers are filled up to a multiple of this: `LANES`, or 1 for kernels that do not count on it.
    """

    rule: Rule
    memory: Memory
    prototypes: int
    width: int
    settings: Sequence[float] = ()
    prior: float = 1.0
    fade: float = 0.0
    lanes: int = LANES

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all that is remembered, by name, in the order in which they lie."""
        shape = (self.prototypes, self.width)
        if self.rule in SPARSE:
            return {"clock": (3,)} | dict.fromkeys(SPARSE[self.rule], shape)
        found: dict[str, tuple[int, ...]] = {"clock": (3,), "weights": shape}
        if self.rule in (Rule.ADAGRAD, Rule.FTRL):
            found["squares" if self.rule is Rule.ADAGRAD else "roots"] = shape
        if self.rule is Rule.FTRL:
            found["linear"] = shape
        if self.rule is Rule.CSOGD:
            found["counts"] = (max(2, self.prototypes),)
        if self.memory is Memory.DIAGONAL:
            found["variance"] = shape
        if self.memory is Memory.FULL:
            found["covariance"] = (*shape, self.width)
        return found

    @property
    def stride(self) -> int:
        """How far apart the weights of two prototypes begin."""
        return -(-self.width // self.lanes) * self.lanes

    @property
    def size(self) -> int:
        """How many numbers are kept, those that fill up included."""
        return CLOCK + sum(int(np.prod(self._filled(shape))) for name, shape in self.parts().items() if name != "clock")

    def vector(self) -> NDArray[np.float64]:
        """The plan as the kernel reads it."""
        sizes = (self.rule, self.memory, self.prototypes, self.width, self.stride, self.size, self.prior)
        return np.array([*sizes, *self.settings], dtype=np.float64)

    def fresh(self) -> NDArray[np.float64]:
        """All numbers before the first row, and after them the kernel's room to work in."""
        needed = self.size + 3 * self.stride + self.prototypes
        numbers = np.zeros(needed + LANES)
        skipped = -(numbers.__array_interface__["data"][0] // numbers.itemsize) % LANES
        numbers = numbers[skipped : skipped + needed]
        views = self.views(numbers)
        views["clock"][2] = self.fade
        if "variance" in views:
            views["variance"][...] = self.prior
        if "covariance" in views:
            views["covariance"][...] = self.prior * np.eye(self.width)
        return numbers

    def views(self, numbers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Every part of the numbers, by name, sharing their memory; without what fills up."""
        views, at = {"clock": numbers[:3]}, CLOCK
        for name, shape in self.parts().items():
            if name != "clock":
                filled = self._filled(shape)
                size = int(np.prod(filled))
                views[name] = numbers[at : at + size].reshape(filled)[tuple(slice(length) for length in shape)]
                at += size
        return views

    def _filled(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Room for a part: what has a number for each weight has one for each place of the stride."""
        return (shape[0], *[self.stride] * (len(shape) - 1))
