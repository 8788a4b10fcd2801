"""The factors of a study: their levels, what lies between two of them, and where they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from estran.errors import RequestError
from estran.spec.model import Variation
from estran.spec.ranges import Range, RangeError

FIRST: Final = object()
"""Stands for the first level, where no other is the default."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor as a study varies it.

    Designs with few levels take ``levels`` as they are. Designs that fill space read a range, or numbers and quantities as one from
    the least to the greatest level, and share the unit interval evenly among levels of any other kind.

    Attributes
    ----------
    levels
        Those that the experiment file lists; of a range its ends, or as many levels as the file says.
    default
        The level that it has where nothing else is said; the first one unless another is given.
    range
        What it may be between its levels; None for levels only.
    when
        Levels of other factors, by their name, at which it counts. Where they have others, it is at its default.
    """

    name: str
    levels: tuple[Any, ...]
    default: Any = FIRST
    range: Range | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.default is FIRST:
            object.__setattr__(self, "default", self.levels[0])

    @classmethod
    def read(cls, name: str, levels: Sequence[Any], details: Mapping[str, Any] | None) -> Factor:
        """From JSON: its levels, and what `details` gave."""
        if details is None:
            return cls(name, tuple(levels))
        ranged = None if details["range"] is None else Range(**details["range"])
        when = {other: tuple(allowed) for other, allowed in details["when"].items()}
        return cls(name, tuple(levels), details["default"], ranged, when)

    @property
    def details(self) -> dict[str, Any] | None:
        """What there is to say beside the levels, as JSON; None for a plain list of levels."""
        if self.range is None and not self.when and self.default == self.levels[0]:
            return None
        ranged = None if self.range is None else asdict(self.range)
        return {"default": self.default, "range": ranged, "when": {name: list(allowed) for name, allowed in self.when.items()}}

    def active(self, levels: Mapping[str, Any]) -> bool:
        """Whether it counts where others have these levels; a factor that is not among them is no hindrance."""
        return all(_among(levels[name], allowed) for name, allowed in self.when.items() if name in levels)

    @property
    def ordered(self) -> Range | None:
        """The range that is given, or that numeric levels span; None where levels have no order."""
        return self.range or Range.over(self.levels)

    @property
    def span(self) -> tuple[float, float, str, float, bool] | None:
        """Least and greatest level in the unit of the first one, that unit, its size, and whether all are whole; else None."""
        found = self.ordered
        return None if found is None else (found.low, found.high, found.unit, found.size, found.whole)

    def at(self, place: float) -> Any:
        """The level at a place of the unit interval."""
        found = self.ordered
        if found is None:
            return self.levels[min(int(place * len(self.levels)), len(self.levels) - 1)]
        return found.at(place)

    def place(self, level: Any) -> float:
        """Where a level lies in the unit interval: the middle of its share where levels have no order; the inverse of `at`.

        Raises
        ------
        RequestError
            If it is neither a level nor in their range.
        """
        found = self.ordered
        if found is None:
            return (self.levels.index(level) + 0.5) / len(self.levels)
        try:
            return found.place(level)
        except RangeError as error:
            raise self._no_level(level) from error

    def number(self, level: Any) -> float:
        """A level as a number in the unit of the first one.

        Raises
        ------
        RequestError
            If the factor is not numeric, or this is no quantity of its kind.
        """
        found = self.ordered
        if found is None:
            raise RequestError(f"{self.name} has no numeric levels", where="factors", remedy="see the factors of the experiment")
        try:
            return found.number(level)
        except RangeError as error:
            raise self._no_level(level) from error

    def _no_level(self, level: Any) -> RequestError:
        return RequestError(f"{level!r} is no level of {self.name}", where="design", remedy="see the factors of the experiment")


def settled(levels: Mapping[str, Any], factors: Sequence[Factor]) -> dict[str, Any]:
    """A point with every factor that does not count there at its default, in the order of ``factors``.

    Conditions may hang on factors with conditions of their own; they form no circle.
    """
    point = {factor.name: levels[factor.name] for factor in factors}
    for _ in factors:
        before = dict(point)
        for factor in factors:
            if not factor.active(point):
                point[factor.name] = factor.default
        if point == before:
            break
    return point


def counting(factor: Factor, factors: Sequence[Factor]) -> dict[str, Any]:
    """Levels of other factors at which one counts: their defaults where these allow it, else the first that do."""
    by_name, chosen = {one.name: one for one in factors}, dict[str, Any]()
    for name, allowed in factor.when.items():
        if name in by_name:
            other = by_name[name]
            chosen |= {**counting(other, factors), name: other.default if _among(other.default, allowed) else allowed[0]}
    return chosen


def factors_of(variations: Mapping[str, Variation], fixed: Mapping[str, Any]) -> tuple[Factor, ...]:
    """The factors that vary: those of the experiment, but for what was fixed on the command line.

    Parameters
    ----------
    fixed
        Levels of factors that do not vary; others that never count beside them do not vary either.

    Raises
    ------
    RequestError
        If none is left, or one has a single level.
    """
    varied = {
        name: Factor(name, one.levels, one.default, one.range, one.when) for name, one in variations.items() if name not in fixed
    }
    held = dict(fixed)
    while idle := [name for name, factor in varied.items() if not factor.active(held)]:
        held |= {name: varied.pop(name).default for name in idle}
    if not varied:
        remedy = "give factors in the experiment file" if not variations else "leave one of them open: do not --set all of them"
        raise RequestError("there is no factor to vary", where="factors", remedy=remedy)
    for factor in varied.values():
        if len(factor.levels) < 2:
            raise RequestError(
                f"it has one level, {factor.levels[0]!r}: nothing can be learned of its effect",
                where=f"factors.{factor.name}",
                remedy=f"give it another level, or fix it: --set {factor.name}={factor.levels[0]}",
            )
    return tuple(varied.values())


def _among(level: Any, allowed: Sequence[Any]) -> bool:
    return any(level == one and isinstance(level, bool) == isinstance(one, bool) for one in allowed)
