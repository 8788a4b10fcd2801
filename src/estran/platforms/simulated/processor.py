"""Processors in virtual time: when work that is asked for now will be done."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable
from typing import Protocol

from estran.platforms.simulated.moment import until


class Processor(Protocol):
    """What one replica computes with. All costs are processor seconds at speed 1.0."""

    used: float
    """Processor seconds charged so far."""
    share: float
    """Processor seconds that it can give per second."""

    def charge(self, now: float, cost: float) -> float:
        """Take on work after all that was asked for before; return when it will be done, as far as is known."""
        ...

    async def work(self, loop: asyncio.AbstractEventLoop, cost: float) -> None:
        """Do work after all that was asked for before; return when it is done."""
        ...

    def charge_aside(self, now: float, cost: float) -> None:
        """Account for work of other threads of the replica, for which nothing waits."""
        ...

    def worked(self, now: float) -> float:
        """Processor seconds spent up to now of what it gives."""
        ...

    def slow(self, now: float, speed: float) -> None:
        """Have this part of its own speed from now on; what has been asked for already is not changed."""
        ...


class Cores:
    """The cores of one host, first come, first served.

    Parameters
    ----------
    count
        How many.

    Attributes
    ----------
    on_taken
        Is told, now, from when to when a core is used, if replicas of the host wait for gaps.
    """

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count
        self.on_taken: Callable[[float, float, float], None] | None = None

    def begin(self, earliest: float) -> float:
        """When the core that is free first can begin; it is taken until `end` is called."""
        return max(earliest, heapq.heappop(self._free))

    def end(self, now: float, begun: float, when: float) -> None:
        """Give the core that work was begun on back as of a time."""
        heapq.heappush(self._free, when)
        self.aside(now, begun, when)

    def aside(self, now: float, begun: float, when: float) -> None:
        """Work of other threads goes on: nothing waits for it but the replicas that wait for gaps."""
        if self.on_taken is not None:
            self.on_taken(now, begun, when)


class SlowProcessor:
    """A core of some speed: work takes its cost divided by that speed.

    Parameters
    ----------
    cores
        Those of the host, shared by its replicas.
    """

    def __init__(self, cores: Cores, speed: float) -> None:
        self.used = 0.0
        self.share = self._speed = speed
        self._cores = cores
        self._charged = self._free = 0.0

    def charge(self, now: float, cost: float) -> float:
        self.used += cost
        self._charged += cost
        start = self._cores.begin(max(now, self._free))
        self._free = start + cost / self.share
        self._cores.end(now, start, self._free)
        return self._free

    async def work(self, loop: asyncio.AbstractEventLoop, cost: float) -> None:
        await until(loop, self.charge(loop.time(), cost))

    def charge_aside(self, now: float, cost: float) -> None:
        # Other threads find another core, or the gaps of this one: they cost time only where there is none.
        self.used += cost
        self._cores.aside(now, now, now + cost / self.share)

    def worked(self, now: float) -> float:
        return self._charged - max(self._free - now, 0.0) * self.share

    def slow(self, now: float, speed: float) -> None:
        self.share = self._speed * speed


class QuotaProcessor:
    """A fast core of which a replica may use so much in each period, as emulated devices do.

    Work goes on at full speed until the period's quota is used up, then waits for the next period (Linux's CFS bandwidth
    control; Turner et al., "CPU bandwidth control for CFS", 2010). So a short job on an idle device takes no longer than on a fast
    one, and a long one its cost divided by the share.

    Parameters
    ----------
    quota, period
        Seconds.
    phase
        When periods begin, seconds modulo ``period``.
    """

    def __init__(self, cores: Cores, quota: float, period: float, phase: float) -> None:
        self.used = 0.0
        self.share = min(quota / period, 1.0)  # of one core: work of one replica is done one after another
        self._cores = cores
        self._quota = self._own_quota = quota
        self._period = period
        self._phase = phase
        self._charged = self._free = 0.0
        self._index = -1
        self._spent = 0.0

    def charge(self, now: float, cost: float) -> float:
        self.used += cost
        self._charged += cost
        start = self._cores.begin(max(now, self._free))
        at, left = start, cost
        while True:
            self._turn(at)
            ends = self._phase + (self._index + 1) * self._period
            room = min(self._quota - self._spent, ends - at)
            if left <= room + 1e-12:
                break
            if room > 0:
                left -= room
                self._spent += room
            at = ends
        self._spent += left
        self._free = at + left
        self._cores.end(now, start, self._free)
        return self._free

    async def work(self, loop: asyncio.AbstractEventLoop, cost: float) -> None:
        await until(loop, self.charge(loop.time(), cost))

    def charge_aside(self, now: float, cost: float) -> None:
        self.used += cost
        self._charged += cost if self._quota < self._period else 0.0
        if now >= self._phase + (self._index + 1) * self._period:
            self._turn(now)
        self._spent += cost

    def worked(self, now: float) -> float:
        return self._charged - max(self._free - now, 0.0) * self.share

    def slow(self, now: float, speed: float) -> None:
        self.resize(now, self._own_quota * speed, self._period)

    def resize(self, now: float, quota: float, period: float) -> None:
        """Have another quota from now on, in seconds; what was spent beyond the former one is still owed."""
        self._quota, self._period = quota, period
        self.share = min(quota / period, 1.0)
        self._index = math.floor((now - self._phase) / period + 1e-9)

    def _turn(self, at: float) -> None:
        """Begin the period that a time lies in; what was spent beyond the quota is owed by the next ones."""
        index = math.floor((at - self._phase) / self._period + 1e-9)
        if index > self._index:
            passed = index - self._index
            self._spent = max(self._spent - passed * self._quota, 0.0)
            self._index = index
