"""What work costs in simulated time: processor seconds of operations, sizes of messages, and how both vary.

All costs are those of a core of speed 1.0. Nothing here draws random numbers: whoever does hands in a uniform variate, so that
the same draw means the same luck at any level of a factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

SpreadKind = Literal["fixed", "exponential", "lognormal", "pareto", "observed"]

_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity varies: the distribution of a factor whose mean is 1.

    Attributes
    ----------
    kind
        ``observed`` is the piecewise linear inverse of ``quantiles``.
    parameter
        Lognormal: coefficient of variation. Pareto: shape, above 1 so that there is a mean.
    quantiles
        Observed: the factor at the levels 0, 1/(n-1), …, 1.
    """

    kind: SpreadKind = "fixed"
    parameter: float = 0.0
    quantiles: tuple[float, ...] = ()

    def factor(self, u: float) -> float:
        """The factor's quantile at level ``u``, 0 < u < 1."""
        if self.kind == "fixed":
            return 1.0
        if self.kind == "exponential":
            return -math.log1p(-u)
        if self.kind == "lognormal":
            variance = math.log1p(self.parameter**2)
            return math.exp(math.sqrt(variance) * _NORMAL.inv_cdf(u) - variance / 2)
        if self.kind == "pareto":
            return (self.parameter - 1) / self.parameter * math.pow(1 - u, -1 / self.parameter)
        place = u * (len(self.quantiles) - 1)
        low = int(place)
        below, above = self.quantiles[low], self.quantiles[min(low + 1, len(self.quantiles) - 1)]
        return below + (above - below) * (place - low)


FIXED: Final = Spread()


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of an operation on ``n`` items, on a core of speed 1.0: ``(time + each · n)``, times a factor of mean 1."""

    time: float = 0.0
    each: float = 0.0
    spread: Spread = FIXED

    def mean(self, items: float = 1) -> float:
        """Mean for so many items."""
        return self.time + self.each * items

    @property
    def varies(self) -> bool:
        """Whether it is not always its mean."""
        return self.spread.kind != "fixed"

    def draw(self, items: float, u: float) -> float:
        """The quantile at level ``u`` for so many items."""
        return self.mean(items) * self.spread.factor(u)


FREE: Final = Cost()


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes of a message: mean and spread."""

    bytes: float
    spread: Spread = FIXED


@dataclass(frozen=True, slots=True)
class Call:
    """Requests that a command sends.

    Attributes
    ----------
    to
        The service that answers.
    size
        Bytes of a request.
    pause
        Seconds from one request to the next (``waits`` false: from departure to departure; true: from the answer on). For a call
        made while serving: seconds before it.
    waits
        Whether the next request waits for the answer (a closed loop).
    count
        Calls per request served, where it is made while serving; may be a fraction.
    cost
        Processor time spent on a call, before it leaves.
    connects
        Share of the calls that open a connection first, which takes a round trip.
    """

    to: str
    size: Amount
    pause: Cost
    waits: bool = True
    count: float = 1.0
    cost: Cost = FREE
    connects: float = 0.0


@dataclass(frozen=True, slots=True)
class Serving:
    """How a command answers a request: processor time, calls of its own meanwhile, then the answer.

    Attributes
    ----------
    wait
        Seconds that pass besides, in which it does not compute: it sleeps, or waits for a disk.
    """

    cost: Cost
    answer: Amount
    calls: tuple[Call, ...] = ()
    wait: Cost = FREE


@dataclass(frozen=True, slots=True)
class CommandModel:
    """What a program does, as far as others can see it: it answers, it asks, and it uses its processor.

    Attributes
    ----------
    idle
        Processor seconds per second that it uses besides.
    source
        ``declared in the experiment file`` or the run that it was observed in.
    """

    serves: Serving | None = None
    calls: tuple[Call, ...] = ()
    idle: float = 0.0
    source: str = "declared in the experiment file"
