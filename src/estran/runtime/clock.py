"""The seam to time: what a component may know of it, and the real one."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

_KEPT: Final = 512


class Clock(Protocol):
    """Time as the experiment sees it, in seconds since the run's origin."""

    def now(self) -> float:
        """Seconds since the run's origin; the same instant reads alike on every host, up to the stated offset error."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds; at once if not positive."""
        ...


class Lateness:
    """How late timers fired: exact sums, and an evenly spread sample that never outgrows its bound.

    When the sample is full every second value goes, and from then on only every second one comes: what is kept is spread evenly
    over the run, without any draw of chance.

    Attributes
    ----------
    count, late, slept
        Timers that fired; seconds that they were late by; and seconds that were asked of them; in all.
    """

    __slots__ = ("_kept", "_stride", "count", "late", "slept")

    def __init__(self) -> None:
        self.count = 0
        self.late = self.slept = 0.0
        self._kept: list[float] = []
        self._stride = 1

    def add(self, late: float, slept: float) -> None:
        """Note one timer."""
        if self.count % self._stride == 0:
            self._kept.append(late)
            if len(self._kept) == _KEPT:
                self._kept = self._kept[::2]
                self._stride *= 2
        self.count += 1
        self.late += late
        self.slept += slept

    def quantiles(self, levels: int = 41) -> list[float]:
        """Seconds late at the levels 0, 1/(n-1), …, 1 of what was kept; empty if no timer fired."""
        ordered = sorted(self._kept)
        return [ordered[round(level * (len(ordered) - 1) / (levels - 1))] for level in range(levels)] if ordered else []


class RealClock:
    """The machine's monotonic clock, counted from an origin that all services of a run share.

    Parameters
    ----------
    origin_ns
        ``CLOCK_MONOTONIC`` of *this* machine at the run's origin, in nanoseconds (already corrected for offset).
    """

    def __init__(self, origin_ns: int) -> None:
        self.origin_ns = origin_ns
        self.lateness = Lateness()

    def now(self) -> float:
        return (time.monotonic_ns() - self.origin_ns) * 1e-9

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            due = self.now() + seconds
            await asyncio.sleep(seconds)
            self.lateness.add(self.now() - due, seconds)
