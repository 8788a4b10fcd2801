"""What an optimisation is after: responses to lower or to raise, and limits that others must keep."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from estran.errors import RequestError
from estran.spec.claims import dimension_of
from estran.spec.suggest import did_you_mean
from estran.units import Dimension, QuantityError, parse

_LIMIT: Final = re.compile(r"\s*(?P<response>[^<>=\s]+)\s*(?P<relation><=|>=|<|>)\s*(?P<bound>[^<>=\s]+)\s*")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SI: Final[Mapping[str, Dimension]] = {
    "s": "duration", "B": "size", "bit/s": "rate", "J": "energy", "W": "power", "/s": "frequency", "fraction": "fraction",
}  # fmt: skip
"""What the units of responses measure; others are mere numbers."""
_UNITS: Final = frozenset(SI) - {"fraction"}
"""Units that a number is more often meant in another one of."""
_EXAMPLES: Final[Mapping[Dimension, str]] = {
    "duration": "120ms", "size": "40MB", "rate": "5mbit", "energy": "40J", "power": "5W", "frequency": "50/s",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Goal:
    """A response to lower (``minimize``) or to raise."""

    response: str
    minimize: bool

    def cost(self, value: float) -> float:
        """The value with the sign that makes less better."""
        return value if self.minimize else -value


@dataclass(frozen=True, slots=True)
class Limit:
    """What a response must keep.

    Attributes
    ----------
    at_most
        Whether ``bound`` is the most that is allowed, or the least.
    bound
        In SI; what it measures is ``dimension``, None for a mere number.
    text
        As it was asked for.
    """

    response: str
    at_most: bool
    bound: float
    dimension: Dimension | None
    text: str

    def violation(self, value: float) -> float:
        """By how much a value breaks the limit, in the response's unit; 0 or less where it keeps it."""
        return value - self.bound if self.at_most else self.bound - value


@dataclass(frozen=True, slots=True)
class Goals:
    """Everything that is asked of responses, in the order in which it was asked.

    Attributes
    ----------
    goals
        At least one; several are traded against each other.
    """

    goals: tuple[Goal, ...]
    limits: tuple[Limit, ...] = ()

    @classmethod
    def read(cls, minimize: Sequence[str], maximize: Sequence[str], subject_to: Sequence[str]) -> Goals:
        """From the command line.

        Raises
        ------
        RequestError
            If there is no goal, a response is a goal twice, or a limit is none.
        """
        goals = (*(Goal(name, True) for name in minimize), *(Goal(name, False) for name in maximize))
        if not goals:
            raise RequestError("there is nothing to optimise", where="--minimize", remedy="name a response: --minimize latency_p99")
        names = [goal.response for goal in goals]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise RequestError(f"{twice} is a goal twice", where="--minimize, --maximize", remedy="name it once")
        return cls(goals, tuple(map(_limit, subject_to)))

    @property
    def responses(self) -> tuple[str, ...]:
        """All responses that must be measured, each once."""
        return tuple(dict.fromkeys([*(goal.response for goal in self.goals), *(limit.response for limit in self.limits)]))

    @property
    def limited(self) -> tuple[str, ...]:
        """Responses that must keep a limit."""
        return tuple(limit.response for limit in self.limits)

    @property
    def single(self) -> bool:
        """Whether there is one goal, so that one point can be the best."""
        return len(self.goals) == 1

    def costs(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """The goals' values, each with the sign that makes less better."""
        return tuple(goal.cost(values[goal.response]) for goal in self.goals)

    def violations(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """By how much each limit is broken; 0 or less where it is kept."""
        return tuple(limit.violation(values[limit.response]) for limit in self.limits)

    def absent(self, values: Mapping[str, float]) -> tuple[str, ...]:
        """Responses that are asked for and were not measured, or have no finite value."""
        return tuple(name for name in self.responses if not math.isfinite(values.get(name, math.nan)))

    def check(self, measured: Mapping[str, Mapping[str, Any]]) -> None:
        """Compare with the responses of a run: ``{name: {value, unit, …}}``.

        Raises
        ------
        RequestError
            If one is unknown, or a limit is in a unit of another kind.
        """
        for name in self.responses:
            if name not in measured:
                known = ", ".join(sorted(one for one in measured if "@" not in one))
                remedy = did_you_mean(name, measured, kind="response")
                what = f"no run measures {name!r}"
                raise RequestError(what, where="--minimize, --maximize, --subject-to", remedy=f"{remedy}; whole runs have {known}")
        for limit in self.limits:
            meant = SI.get(measured[limit.response]["unit"])
            if limit.dimension is not None and limit.dimension != meant:
                unit = measured[limit.response]["unit"] or "a mere number"
                what = f"{limit.response} is in {unit}, and the limit says {limit.dimension}"
                raise RequestError(what, where=f"--subject-to {limit.text}", remedy="write the limit in its unit")

    def bare(self, units: Mapping[str, str]) -> list[str]:
        """In words, which limits have a mere number where the response has a unit, and in which one the number was taken.

        Parameters
        ----------
        units
            Of responses; of one that is not among them nothing is said.
        """
        return [
            f"--subject-to {limit.text}: the bound was taken to be in {unit}, the unit of {limit.response}; "
            f"write the unit, such as {_EXAMPLES[SI[unit]]}"
            for limit in self.limits
            if limit.dimension is None and (unit := units.get(limit.response, "")) in _UNITS
        ]

    def plain(self) -> dict[str, Any]:
        """As JSON; `Goals.read` makes the same of its lists."""
        return {
            "minimize": [goal.response for goal in self.goals if goal.minimize],
            "maximize": [goal.response for goal in self.goals if not goal.minimize],
            "subject_to": [limit.text for limit in self.limits],
        }


def _limit(text: str) -> Limit:
    found = _LIMIT.fullmatch(text)
    remedy = 'write for example --subject-to "energy<=40J"'
    if found is None:
        raise RequestError(f"{text!r} is no limit", where="--subject-to", remedy=remedy)
    bound, dimension = _quantity(found["bound"])
    if bound is None:
        raise RequestError(f"{found['bound']!r} is no number or quantity", where=f"--subject-to {text}", remedy=remedy)
    response = found["response"]
    if dimension_of(response) == "fraction" and dimension is None and abs(bound) > 1:
        percent = (
            f"write {response}{found['relation']}{found['bound']}%" if abs(bound) <= 100 else "write a share, such as 0.9 or 90%"
        )
        raise RequestError(f"{response} is a share, and {bound:g} is more than all", where=f"--subject-to {text}", remedy=percent)
    return Limit(response, found["relation"].startswith("<"), bound, dimension, text)


def _quantity(text: str) -> tuple[float | None, Dimension | None]:
    """In SI, and what it measures; a mere number is in the unit of the response."""
    if _NUMBER.fullmatch(text):
        return float(text), None
    for dimension in get_args(Dimension):
        try:
            return parse(text, dimension), dimension
        except QuantityError:
            continue
    return None, None
