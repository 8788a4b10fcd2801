"""Ranges of numbers and quantities: what lies between two levels, on a straight or a logarithmic scale."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from estran.units import Dimension, QuantityError, parse

_UNIT: Final = re.compile(r"\s*[-+0-9.eE_]+\s*")


class RangeError(ValueError):
    """A level is no number or quantity of a range's kind."""


@dataclass(frozen=True, slots=True)
class Range:
    """All levels from a least to a greatest one.

    Attributes
    ----------
    low, high
        In the unit in which they are written.
    unit, size
        That unit (``ms``; empty for none) and its size in SI; ``dimension`` is what it measures, None for mere numbers.
    whole
        Whether there are whole numbers only.
    log
        Whether equal ratios, not equal differences, lie equally far apart.
    step
        Distance of two neighbours, from ``low`` on; None where any number counts.
    text
        Whether levels are written as text.
    """

    low: float
    high: float
    unit: str = ""
    size: float = 1.0
    dimension: Dimension | None = None
    whole: bool = False
    log: bool = False
    step: float | None = None
    text: bool = False

    @classmethod
    def over(cls, levels: Sequence[Any]) -> Range | None:
        """The range from the least to the greatest of some levels, in the unit of the first one; None if they have no order."""
        if all(is_number(level) for level in levels):
            return cls(min(levels), max(levels), whole=all(isinstance(level, int) for level in levels))
        if not all(isinstance(level, str) for level in levels):
            return None
        unit = _UNIT.sub("", levels[0])
        for dimension in get_args(Dimension):
            try:
                size = parse(f"1{unit}", dimension) if unit else 1.0
                values = [parse(level, dimension) / size for level in levels]
            except QuantityError:
                continue
            return cls(min(values), max(values), unit, size, dimension, text=True)
        return None

    def at(self, place: float) -> Any:
        """The level at a place of the unit interval, as one writes it."""
        if self.step is not None:
            return self.written(self.low + min(int(place * self._steps), self._steps - 1) * self.step)
        if self.whole:
            low, high = self._cells
            found = math.exp(low + place * (high - low)) if self.log else low + place * (high - low)
            return int(min(max(math.floor(found + 0.5), self.low), self.high))
        if self.log:
            return self.written(self.low * (self.high / self.low) ** place)
        return self.written(self.low + place * (self.high - self.low))

    def place(self, level: Any) -> float:
        """Where a level lies in the unit interval; the middle of its share where there are few. The inverse of `at`.

        Raises
        ------
        RangeError
            If it is no level of this kind; one outside of the range is below 0 or above 1.
        """
        value = self.number(level)
        if self.high == self.low:
            return 0.0
        if self.step is not None:
            return ((value - self.low) / self.step + 0.5) / self._steps
        low, high = self._cells if self.whole else (self._scaled(self.low), self._scaled(self.high))
        return (self._scaled(value) - low) / (high - low)

    def number(self, level: Any) -> float:
        """A level as a number in the range's unit.

        Raises
        ------
        RangeError
            If it is none of its kind.
        """
        if is_number(level):
            return float(level)
        for dimension in get_args(Dimension) if self.dimension is None else (self.dimension,):
            try:
                return parse(level, dimension) / self.size
            except QuantityError:
                continue
        raise RangeError(f"{level!r} is not of the kind of {self.written(self.low)!r}")

    def written(self, number: float) -> Any:
        """A number in the range's unit as a level, to six digits."""
        if self.whole:
            return round(number)
        rounded = float(f"{number:.6g}")
        return f"{rounded:g}{self.unit}" if self.text else rounded

    def spread(self, count: int) -> tuple[Any, ...]:
        """So many levels from end to end, evenly on the range's scale; fewer where there are fewer."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        places = [low + (high - low) * index / (count - 1) for index in range(count)]
        numbers = [math.exp(place) if self.log else place for place in places]
        if self.step is not None:
            numbers = [self.low + round((number - self.low) / self.step) * self.step for number in numbers]
        return tuple(dict.fromkeys(self.written(number) for number in numbers))

    def __contains__(self, level: object) -> bool:
        try:
            value = self.number(level)
        except RangeError:
            return False
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if not self.low - slack <= value <= self.high + slack or (self.whole and value != int(value)):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-6

    @property
    def _steps(self) -> int:
        return round((self.high - self.low) / (self.step or 1)) + 1

    @property
    def _cells(self) -> tuple[float, float]:
        """Ends of the shares of whole numbers, of which each has half a unit on both sides."""
        return self._scaled(self.low - 0.5), self._scaled(self.high + 0.5)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def is_number(value: Any) -> bool:
    """Whether a level is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
