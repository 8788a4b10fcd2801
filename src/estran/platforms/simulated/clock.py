"""The virtual clock, as components and the conductor read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from estran.platforms.simulated.moment import until

Lateness = Callable[[], float]
"""Draws how late a timer fires, in seconds."""


class VirtualClock:
    """Time of a `VirtualLoop` since the run's origin.

    Parameters
    ----------
    origin_ns
        The loop's time at the run's origin, in nanoseconds.
    late
        How late timers fire, as on real hosts; exactly on time without it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, origin_ns: int, late: Lateness | None = None) -> None:
        self._loop = loop
        self._late = late
        self.origin_ns = origin_ns

    @property
    def origin_ns(self) -> int:
        """The run's origin on this clock, in nanoseconds of the loop."""
        return self._origin_ns

    @origin_ns.setter
    def origin_ns(self, value: int) -> None:
        self._origin_ns = value
        self.origin = value * 1e-9

    def now(self) -> float:
        return self._loop.time() - self.origin

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await until(self._loop, self._loop.time() + (seconds if self._late is None else seconds + self._late()))
