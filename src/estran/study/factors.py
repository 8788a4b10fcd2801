"""The factors of a study: their levels, and what lies between two of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from estran.errors import RequestError
from estran.units import Dimension, QuantityError, parse

_UNIT: Final = re.compile(r"\s*[-+0-9.eE_]+\s*")


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor with the levels that the experiment file lists.

    Designs with few levels take them as they are. Designs that fill space read numbers and quantities as a range, from the least
    to the greatest level, and share the unit interval evenly among levels of any other kind.
    """

    name: str
    levels: tuple[Any, ...]

    @property
    def span(self) -> tuple[float, float, str, float, bool] | None:
        """Least and greatest level in the unit of the first one, that unit, its size, and whether all are whole; else None."""
        if all(_is_number(level) for level in self.levels):
            return min(self.levels), max(self.levels), "", 1.0, all(isinstance(level, int) for level in self.levels)
        if not all(isinstance(level, str) for level in self.levels):
            return None
        unit = _UNIT.sub("", self.levels[0])
        for dimension in get_args(Dimension):
            try:
                size = parse(f"1{unit}", dimension) if unit else 1.0
                values = [parse(level, dimension) / size for level in self.levels]
            except QuantityError:
                continue
            return min(values), max(values), unit, size, False
        return None

    def at(self, place: float) -> Any:
        """The level at a place of the unit interval."""
        span = self.span
        if span is None:
            return self.levels[min(int(place * len(self.levels)), len(self.levels) - 1)]
        low, high, unit, _, whole = span
        value = low + place * (high - low)
        if whole:
            return min(int(low) + int(place * (high - low + 1)), int(high))
        rounded = float(f"{value:.6g}")
        return f"{rounded:g}{unit}" if unit or isinstance(self.levels[0], str) else rounded

    def place(self, level: Any) -> float:
        """Where a level lies in the unit interval: the middle of its share where levels have no order; the inverse of `at`.

        Raises
        ------
        RequestError
            If it is neither a level nor in their range.
        """
        span = self.span
        if span is None:
            return (self.levels.index(level) + 0.5) / len(self.levels)
        low, high, _, size, whole = span
        value = self._in_units(level, size)
        if high == low:
            return 0.0
        return (value - low + 0.5) / (high - low + 1) if whole else (value - low) / (high - low)

    def number(self, level: Any) -> float:
        """A level as a number in the unit of the first one.

        Raises
        ------
        RequestError
            If the factor is not numeric, or this is no quantity of its kind.
        """
        span = self.span
        if span is None:
            raise RequestError(f"{self.name} has no numeric levels", where="factors", remedy="see the factors of the experiment")
        return self._in_units(level, span[3])

    def _in_units(self, level: Any, size: float) -> float:
        if _is_number(level):
            return float(level)
        for dimension in get_args(Dimension):
            try:
                return parse(level, dimension) / size
            except QuantityError:
                continue
        raise RequestError(f"{level!r} is no level of {self.name}", where="design", remedy="see the factors of the experiment")


def factors_of(levels: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]) -> tuple[Factor, ...]:
    """The factors that vary: those of the experiment, but for what was fixed on the command line.

    Raises
    ------
    RequestError
        If none is left, or one has a single level.
    """
    varied = [Factor(name, tuple(values)) for name, values in levels.items() if name not in fixed]
    if not varied:
        remedy = "give factors in the experiment file" if not levels else "leave one of them open: do not --set all of them"
        raise RequestError("there is no factor to vary", where="factors", remedy=remedy)
    for factor in varied:
        if len(factor.levels) < 2:
            raise RequestError(
                f"it has one level, {factor.levels[0]!r}: nothing can be learned of its effect",
                where=f"factors.{factor.name}",
                remedy=f"give it another level, or fix it: --set {factor.name}={factor.levels[0]}",
            )
    return tuple(varied)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
