"""The seam to time: what a component may know of it, and the real one."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the experiment sees it, in seconds since the run's origin."""

    def now(self) -> float:
        """Seconds since the run's origin; the same instant reads alike on every host, up to the stated offset error."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds; at once if not positive."""
        ...


class RealClock:
    """The machine's monotonic clock, counted from an origin that all services of a run share.

    Parameters
    ----------
    origin_ns
        ``CLOCK_MONOTONIC`` of *this* machine at the run's origin, in nanoseconds (already corrected for offset).
    """

    def __init__(self, origin_ns: int) -> None:
        self.origin_ns = origin_ns

    def now(self) -> float:
        return (time.monotonic_ns() - self.origin_ns) * 1e-9

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)
