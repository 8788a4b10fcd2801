"""Points that are thought of: all of a small space, else some spread over it and neighbours of the good ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estran.optimize.fidelities.gaussian import Array
from estran.optimize.space import Space, distribution

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SMALL: Final = 1500
"""A space with as many points is looked at as a whole."""
_STEPS: Final = (0.03, 0.1, 0.3)
"""Deviations of a neighbour's coordinate."""

Levels = Mapping[str, Any]


@dataclass(frozen=True)
class Cube:
    """The space as a unit cube with a coordinate for each factor, for what draws there."""

    space: Space
    distributions: Mapping[str, BaseDistribution]

    @classmethod
    def of(cls, space: Space) -> Cube:
        """The cube of a space."""
        return cls(space, {factor.name: distribution(factor) for factor in space.factors})

    @property
    def dimensions(self) -> int:
        """Factors that vary."""
        return len(self.distributions)

    def levels(self, place: Sequence[float]) -> Levels:
        """The point at coordinates between 0 and 1."""
        return self.space.suggest(_Placed(dict(zip(self.distributions, place, strict=True))))

    def place(self, levels: Levels) -> Array:
        """Coordinates of a point; of factors that do not count there, of their default."""
        parameters, _ = self.space.parameters(levels)
        default, _ = self.space.parameters(self.space.default)
        known = {**default, **parameters}
        return np.array([_share(one, known[name]) if name in known else 0.5 for name, one in self.distributions.items()])

    @property
    def everything(self) -> list[Levels] | None:
        """All points, if they are few."""
        steps = [_steps(one) for one in self.distributions.values()]
        if any(step is None for step in steps) or np.prod([float(step or 0) for step in steps]) > SMALL:
            return None
        middles = [[(index + 0.5) / (step or 1) for index in range(step or 1)] for step in steps]
        return list(_distinct(self.levels(place) for place in product(*middles)))

    def spread(self, count: int, rng: np.random.Generator) -> list[Levels]:
        """Points that fill the space evenly: Sobol's sequence, scrambled; of points that come twice, one."""
        from scipy.stats import qmc

        power = int(np.ceil(np.log2(max(count, 2))))
        drawn = qmc.Sobol(self.dimensions, rng=rng).random_base2(power)
        return list(_distinct(self.levels(place) for place in drawn.tolist()))[:count]

    def neighbours(self, of: Sequence[Levels], count: int, rng: np.random.Generator) -> list[Levels]:
        """Points that differ from one of these in a coordinate or two, by a small step or, of categories, by any."""
        parents = [self.place(levels) for levels in of]
        return list(_distinct(self.levels(self._moved(parents[i % len(parents)], rng)) for i in range(count))) if parents else []

    def _moved(self, place: Array, rng: np.random.Generator) -> list[float]:
        moved, names = place.copy(), list(self.distributions)
        for at in rng.permutation(len(names))[: rng.integers(1, min(3, len(names)) + 1)]:
            if _is_category(self.distributions[names[at]]):
                moved[at] = rng.random()
            else:
                moved[at] += rng.normal(scale=_STEPS[rng.integers(len(_STEPS))])
        clipped: list[float] = np.clip(moved, 0.0, 1.0 - 1e-12).tolist()
        return clipped


@dataclass
class Vectors:
    """Vectors of points (`Space.vector`), each computed once."""

    space: Space
    _known: dict[str, Array] = field(default_factory=dict)

    def of(self, points: Sequence[Levels]) -> Array:
        """Shape (points, d)."""
        return np.array([self._vector(levels) for levels in points]).reshape(len(points), len(self.space.dimensions))

    def _vector(self, levels: Levels) -> Array:
        name = key(levels)
        if name not in self._known:
            self._known[name] = self.space.vector(levels)
        return self._known[name]


def key(levels: Levels) -> str:
    """What tells points apart."""
    return repr(sorted(levels.items()))


def _distinct(points: Iterator[Levels]) -> Iterator[Levels]:
    yield from {key(levels): levels for levels in points}.values()


@dataclass(frozen=True, slots=True)
class _Placed:
    """Suggests what lies at a place of the unit cube."""

    place: Mapping[str, float]

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        if log:
            return float(low * (high / low) ** self.place[name])
        value = low + self.place[name] * (high - low)
        return value if step is None else low + step * _index(self.place[name], round((high - low) / step) + 1)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if log:
            value = (low - 0.5) * ((high + 0.5) / (low - 0.5)) ** self.place[name]
            return int(min(max(round(value), low), high))
        return low + step * _index(self.place[name], (high - low) // step + 1)

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        return str(choices[_index(self.place[name], len(choices))])


def _index(share: float, count: int) -> int:
    return min(int(share * count), count - 1)


def _steps(one: BaseDistribution) -> int | None:
    """How many values there are; None if any number between two."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, CategoricalDistribution):
        return len(one.choices)
    if isinstance(one, IntDistribution):
        return None if one.log else (int(one.high) - int(one.low)) // int(one.step) + 1
    if isinstance(one, FloatDistribution) and one.step is not None:
        return round((one.high - one.low) / one.step) + 1
    return None


def _is_category(one: BaseDistribution) -> bool:
    from optuna.distributions import CategoricalDistribution

    return isinstance(one, CategoricalDistribution)


def _share(one: BaseDistribution, value: Any) -> float:
    """Where a value lies between 0 and 1: what `_Placed` makes the value of."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, CategoricalDistribution):
        return (one.choices.index(value) + 0.5) / len(one.choices)
    if isinstance(one, IntDistribution):
        if one.log:
            return float(np.log(value / (one.low - 0.5)) / np.log((one.high + 0.5) / (one.low - 0.5)))
        return float(((value - one.low) // one.step + 0.5) / ((one.high - one.low) // one.step + 1))
    assert isinstance(one, FloatDistribution)
    if one.log:
        return float(np.log(value / one.low) / np.log(one.high / one.low))
    if one.step is not None:
        return float((round((value - one.low) / one.step) + 0.5) / (round((one.high - one.low) / one.step) + 1))
    return float((value - one.low) / (one.high - one.low))
