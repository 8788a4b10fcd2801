"""Claims: statements about responses that runs can confirm or refute, such as ``latency_p99 <= 120ms ± 10%``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from estran.spec.document import parse_value
from estran.units import Dimension

Relation = Literal[">=", ">", "<=", "<", "within"]
Operator = Literal["-", "/"]

CONFIDENCE: Final = 0.95
"""What an interval is made for if a claim says nothing."""
_BARE: Final = re.compile(r"[^\s,()\[\]{}\"'#&*!|>%@`:?-][^\s,()\[\]{}\"'#]*")

_DIMENSIONS: Final[tuple[tuple[str, Dimension], ...]] = (
    (r"accuracy_area_\w+", "duration"),
    (r"(exchange_)?latency(_\w+)?|staleness|exchange_service_time|cpu_seconds", "duration"),
    (r"accuracy(_\w+)?|loss|superseded|dropped|utilisation", "fraction"),
    (r"throughput|exchanges", "frequency"),
    (r"memory_peak|message_bytes|bytes_\w+|exchange_\w+_bytes", "size"),
    (r"energy", "energy"),
)
BARE: Final = ("fraction", "frequency", None)
"""Dimensions of which a number without a unit may be."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity: its value in SI units, its dimension (None for a mere number), and as it is written."""

    value: float
    dimension: Dimension | None
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Measure:
    """The mean of a response over the runs that have some levels; ``offset`` is where it stands in the claim."""

    response: str
    levels: tuple[tuple[str, Any], ...] = ()
    offset: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if not self.levels:
            return self.response
        return f"{self.response}({', '.join(f'{name}={_level_text(level)}' for name, level in self.levels)})"


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement.

    Attributes
    ----------
    left, operator, right
        What is claimed of: a measure, or the difference or ratio of two.
    relation, bound
        What is claimed. The bound of a mere measure may be a measure itself.
    tolerance
        By how much the bound may be missed; a fraction is one of the bound.
    confidence
        Of the interval that must lie where it is claimed.
    """

    left: Measure
    relation: Relation
    bound: Amount | Measure
    operator: Operator | None = None
    right: Measure | None = None
    tolerance: Amount | None = None
    confidence: float = CONFIDENCE

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All measures of the statement, in their order."""
        return tuple(one for one in (self.left, self.right, self.bound) if isinstance(one, Measure))

    def __str__(self) -> str:
        left = str(self.left) if self.operator is None else f"{self.left} {self.operator} {self.right}"
        if self.relation == "within":
            text = f"{left} within {self.tolerance} of {self.bound}"
        else:
            text = f"{left} {self.relation} {self.bound}" + ("" if self.tolerance is None else f" ± {self.tolerance}")
        return text if self.confidence == CONFIDENCE else f"{text} at {100 * self.confidence:.10g}%"


def dimension_of(response: str) -> Dimension | None:
    """What a well-known response measures; None if that is not known here.

    Examples
    --------
    >>> dimension_of("latency_p99@detector"), dimension_of("accuracy"), dimension_of("gradient")
    ('duration', 'fraction', None)
    """
    base = response.partition("@")[0]
    return next((dimension for names, dimension in _DIMENSIONS if re.fullmatch(names, base)), None)


def _level_text(level: Any) -> str:
    """A level as it is written in a claim: text as it stands, unless it would be read as something else; all else as JSON."""
    if isinstance(level, str) and _BARE.fullmatch(level) and _reads_back(level):
        return level
    return json.dumps(level, ensure_ascii=False)


def _reads_back(level: str) -> bool:
    try:
        return bool(parse_value(level) == level)
    except ValueError:
        return False
