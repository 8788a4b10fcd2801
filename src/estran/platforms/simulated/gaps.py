"""Processors of replicas that yield: they work in the gaps that those that go first leave, and give way in the midst of it."""

from __future__ import annotations

import asyncio
import copy
import heapq
import math
from collections.abc import Callable
from typing import Final

from estran.platforms.emulated.limits.limiter import quota_and_period
from estran.platforms.emulated.limits.rest import Rest
from estran.platforms.simulated.moment import until
from estran.platforms.simulated.processor import Cores, QuotaProcessor

TINY: Final = 1e-12
"""Seconds of work that are none: what rounding leaves must not be preempted by what comes at the moment that all was done."""

LOOK: Final = 0.25
"""Seconds after which an emulated device's rest is looked at anew."""


class Gaps:
    """What is left of a host's cores. Replicas that yield share it evenly, each at most one core.

    Their common *work* is the seconds that each of them that had work has had of a core: who is given more is done at a later
    work, however often it is preempted.

    Parameters
    ----------
    count
        Cores of the host.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._time = self.work = 0.0
        self._taken = 0
        self._changes: list[tuple[float, int]] = []
        self._targets: dict[object, float] = {}

    def take(self, now: float, begun: float, ended: float) -> None:
        """Those that go first use a core for some time, not before now."""
        self.advance(now)
        heapq.heappush(self._changes, (begun, 1))
        heapq.heappush(self._changes, (ended, -1))

    def give(self, who: object, now: float, seconds: float) -> float:
        """Give a replica more to do; return the work at which that will be done."""
        self.advance(now)
        target = self._targets[who] = max(self.work, self._targets.get(who, 0.0)) + seconds
        return target

    def advance(self, now: float) -> None:
        """Go on to a time."""
        while self._time < now:
            self._step(now)

    def when(self, target: float) -> float:
        """When some work will be done, as far as is known."""
        ahead = copy.copy(self)
        ahead._changes = list(self._changes)
        while target - ahead.work > TINY:
            ahead._step(math.inf)
        return ahead._time

    def _step(self, limit: float) -> None:
        """Go on to the next time at which something changes, at the most to a limit."""
        while self._changes and self._changes[0][0] <= self._time:
            self._taken += heapq.heappop(self._changes)[1]
        asked = [target for target in self._targets.values() if target - self.work > TINY]
        rate = min(1.0, max(self._count - self._taken, 0) / len(asked)) if asked else 0.0
        done = self._time + (min(asked) - self.work) / rate if rate else math.inf
        end = min(limit, done, self._changes[0][0] if self._changes else math.inf)
        self.work = min(asked) if done <= end + TINY else self.work + rate * (end - self._time)
        self._time = end


class YieldingProcessor:
    """The processor of a replica that yields, on a host whose cores are slow by nature: preempted at once.

    Parameters
    ----------
    speed
        Of a core.
    """

    def __init__(self, gaps: Gaps, speed: float) -> None:
        self.used = 0.0
        self.share = self._speed = speed
        self._gaps = gaps
        self._charged = self._target = 0.0

    def charge(self, now: float, cost: float) -> float:
        return self._gaps.when(self._asked(now, cost))

    def charge_aside(self, now: float, cost: float) -> None:
        self._asked(now, cost)

    async def work(self, loop: asyncio.AbstractEventLoop, cost: float) -> None:
        target = self._asked(loop.time(), cost)
        while target - self._gaps.work > TINY and (when := self._gaps.when(target)) > loop.time():
            await until(loop, when)
            self._gaps.advance(loop.time())

    def slow(self, now: float, speed: float) -> None:
        self.share = self._speed * speed

    def worked(self, now: float) -> float:
        self._gaps.advance(now)
        return self._charged - max(self._target - self._gaps.work, 0.0) * self.share

    def _asked(self, now: float, cost: float) -> float:
        self.used += cost
        self._charged += cost
        self._target = self._gaps.give(self, now, cost / self.share)
        return self._target


class RestProcessor(QuotaProcessor):
    """The same on an emulated device: its quota follows what the others leave (`estran.platforms.emulated.limits.rest`).

    Parameters
    ----------
    whole
        The device's share, in local cores.
    most
        The largest share that this replica may have.
    first, yielding
        CPU seconds that those that go first, and those that yield, have worked up to a time.
    replicas
        How many yield.
    """

    def __init__(
        self, cores: Cores, whole: float, most: float, phase: float, first: Callable[[float], float],
        yielding: Callable[[float], float], replicas: int,
    ) -> None:  # fmt: skip
        self._rest, self._most, self._replicas = Rest(whole), most, replicas
        self._first, self._yielding = first, yielding
        self._looked = -math.inf
        self._slowed = 1.0
        super().__init__(cores, *self._cap(), phase)

    def charge(self, now: float, cost: float) -> float:
        if now - self._looked >= LOOK:
            self._looked = now
            self._rest.step(self._first(now), self._yielding(now), now)
            self.resize(now, *self._cap())
        return super().charge(now, cost)

    def slow(self, now: float, speed: float) -> None:
        self._slowed = speed
        self.resize(now, *self._cap())

    def _cap(self) -> tuple[float, float]:
        quota, period = quota_and_period(min(self._rest.share / self._replicas, self._most))
        return self._slowed * quota * 1e-6, period * 1e-6
