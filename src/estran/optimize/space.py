"""The space that is searched: factors of a study as distributions of Optuna, and points as levels, parameters and vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.spec.ranges import Range, RangeError
from estran.study.factors import Factor, counting, settled
from estran.study.rows import cell

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Floats = NDArray[np.float64]
Parameter = float | int | str


class Suggesting(Protocol):
    """The part of an Optuna trial that suggests."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str: ...


@dataclass(frozen=True)
class Space:
    """What may be chosen.

    Attributes
    ----------
    factors
        Those that vary, in the order of the file. Ranges are floats or integers, in the unit in which they are written; three or
        more levels that are numbers or quantities are the number of their place in ascending order; other levels are categories,
        written as cells of a table.
    """

    factors: tuple[Factor, ...]

    @property
    def default(self) -> dict[str, Any]:
        """The point of all defaults."""
        return self.settled({factor.name: factor.default for factor in self.factors})

    def corners(self) -> list[dict[str, Any]]:
        """The default point, and each other listed level by itself, beside levels of others at which it counts."""
        found = [self.default]
        for factor in self.factors:
            around = counting(factor, self.factors)
            found += [
                self.settled({**self.default, **around, factor.name: level}) for level in factor.levels if level != factor.default
            ]
        return found

    def settled(self, levels: Mapping[str, Any]) -> dict[str, Any]:
        """A point with every factor that does not count there at its default."""
        return settled(levels, self.factors)

    def active(self, levels: Mapping[str, Any]) -> frozenset[str]:
        """Names of the factors that count at a settled point."""
        return frozenset(factor.name for factor in self.factors if factor.active(levels))

    def suggest(self, trial: Suggesting) -> dict[str, Any]:
        """Levels for a trial of Optuna: only factors that count are suggested, the others have their default."""
        chosen: dict[str, Any] = {}
        for factor in self._ordered():
            chosen[factor.name] = _suggest(factor, trial) if factor.active(chosen) else factor.default
        return self.settled(chosen)

    def parameters(self, levels: Mapping[str, Any]) -> tuple[dict[str, Parameter], dict[str, BaseDistribution]]:
        """Parameters and distributions in Optuna of the factors that count at a settled point; the inverse of `suggest`.

        Raises
        ------
        RequestError
            If a level lies outside of the space.
        """
        counted = [factor for factor in self.factors if factor.active(levels)]
        return (
            {factor.name: _parameter(factor, levels[factor.name]) for factor in counted},
            {factor.name: distribution(factor) for factor in counted},
        )

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The factor that each column of `vector` is of."""
        return tuple(factor.name for factor in self.factors for _ in range(_width(factor)))

    def vector(self, levels: Mapping[str, Any]) -> Floats:
        """A point for models, shape (len(dimensions),), each column between 0 and 1.

        A range, or ordered levels, is its place on its scale; categories are a column for each level (one-hot). A factor that does
        not count has its default, as in every settled point.

        Raises
        ------
        RequestError
            If a level is none of the space.
        """
        return np.array([value for factor in self.factors for value in _columns(factor, levels[factor.name])], dtype=np.float64)

    def _ordered(self) -> list[Factor]:
        """Factors, each after those on which its condition hangs."""
        names = {factor.name for factor in self.factors}
        left, found = list(self.factors), list[Factor]()
        while left:
            known = {factor.name for factor in found}
            ready = [factor for factor in left if (set(factor.when) & names) <= known]
            found += ready
            left = [factor for factor in left if factor not in ready]
        return found


def distribution(factor: Factor) -> BaseDistribution:
    """The distribution of a factor's parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if factor.range is not None:
        one = factor.range
        if one.whole:
            return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
        return FloatDistribution(one.low, one.high, log=one.log, step=one.step)
    if (order := _order(factor)) is not None:
        return IntDistribution(0, len(order) - 1)
    return CategoricalDistribution([cell(level) for level in factor.levels])


def _suggest(factor: Factor, trial: Suggesting) -> Any:
    one = factor.range
    if one is not None and one.whole:
        return trial.suggest_int(factor.name, int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    if one is not None:
        return one.written(trial.suggest_float(factor.name, one.low, one.high, log=one.log, step=one.step))
    if (order := _order(factor)) is not None:
        return order[trial.suggest_int(factor.name, 0, len(order) - 1)]
    cells = [cell(level) for level in factor.levels]
    return factor.levels[cells.index(trial.suggest_categorical(factor.name, cells))]


def _parameter(factor: Factor, level: Any) -> Parameter:
    one = factor.range
    if one is not None:
        if level not in one:
            raise outside(factor, level)
        value = min(max(one.number(level), one.low), one.high)
        return round(value) if one.whole else value
    if (order := _order(factor)) is not None:
        return _index(factor, order, level)
    return cell(factor.levels[_index(factor, factor.levels, level)])


def _columns(factor: Factor, level: Any) -> list[float]:
    if factor.range is not None:
        try:
            return [min(max(factor.range.place(level), 0.0), 1.0)]
        except RangeError as error:
            raise outside(factor, level) from error
    if (order := _order(factor)) is not None:
        return [_index(factor, order, level) / (len(order) - 1)]
    chosen = _index(factor, factor.levels, level)
    return [float(index == chosen) for index in range(len(factor.levels))]


def _width(factor: Factor) -> int:
    return len(factor.levels) if factor.range is None and _order(factor) is None else 1


def _order(factor: Factor) -> tuple[Any, ...] | None:
    """Levels in ascending order, where they have one and there are three or more."""
    if factor.range is not None or len(factor.levels) < 3 or (found := Range.over(factor.levels)) is None:
        return None
    return tuple(sorted(factor.levels, key=found.number))


def _index(factor: Factor, levels: Sequence[Any], level: Any) -> int:
    cells = [cell(one) for one in levels]
    if cell(level) not in cells:
        raise outside(factor, level)
    return cells.index(cell(level))


def outside(factor: Factor, level: Any) -> RequestError:
    """What to raise where a level is not in the space."""
    if factor.range is not None:
        known = f"from {factor.range.written(factor.range.low)} to {factor.range.written(factor.range.high)}"
    else:
        known = ", ".join(map(str, factor.levels))
    return RequestError(f"{level!r} is no level of {factor.name}", where=factor.name, remedy=f"it may be {known}")
