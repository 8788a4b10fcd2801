"""The seam to what limits a device's CPU and memory, and the ladder of what can do it on this machine.

A *host* (an emulated device) has a cap on local cores and on memory; each of its *services* has a cap of its own below
that, so that a single thread on a slow device of four cores runs slowly and not on all four at once. Three rungs provide
this: cgroup v2, cgroup v1, and feedback by SIGSTOP and SIGCONT (`throttle`), which needs no privilege.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from estran.errors import PlatformError
from estran.platforms.emulated.links.engine import Trial

SMALLEST: Final = 0.001
TRIAL: Final = 1.0
"""Seconds that a trial may take at most: on an overloaded machine it takes more than one look to see a limit at work."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group has used since it was made.

    Parameters
    ----------
    cpu
        CPU seconds.
    memory, peak
        Bytes now and at most; with cgroups the page cache counts, as it does for the limit.
    throttled
        Seconds for which the cap held the group back; cgroups add this up over CPUs.
    read, written
        Bytes of block input and output.
    periods, held
        Enforcement periods in which the group wanted CPU, and those of them in which its cap held it back.
    """

    cpu: float = 0.0
    memory: int = 0
    peak: int = 0
    throttled: float = 0.0
    read: int = 0
    written: int = 0
    periods: int = 0
    held: int = 0


class ServiceGroup(Protocol):
    """One service's processes on one host. ``asked`` and ``cpu`` (granted) are local cores."""

    name: str
    asked: float
    cpu: float

    def attach(self, pid: int) -> None:
        """Put a process, with all its threads and future children, under the limits; works in forked processes too."""
        ...

    @property
    def memory(self) -> int | None:
        """The host's limit in bytes, which its services share."""
        ...

    def usage(self) -> Usage: ...

    def oom_kills(self) -> int:
        """How many of its processes the memory limit has killed so far."""
        ...

    def freeze(self, on: bool) -> None:
        """Stop all its processes, or let them go on; works in forked processes too."""
        ...

    def remove(self) -> None:
        """Kill what is left of the service and forget the group."""
        ...


class HostGroup(Protocol):
    """One device's services together.

    ``notes`` says where less was granted than asked; ``folders`` are those of its cgroups, for whoever samples their files.
    """

    name: str
    asked: float
    cpu: float
    memory: int | None
    notes: tuple[str, ...]

    @property
    def folders(self) -> tuple[Path, ...]: ...

    def service(self, name: str, cpu: float, *, yields: bool = False) -> ServiceGroup:
        """Make a service's group with a cap in local cores, at most the host's; if it yields, at most what others leave."""
        ...

    def lift(self) -> None:
        """Take the CPU caps off for a while, those of the services too; the memory limit stays."""
        ...

    def enforce(self) -> None:
        """Put the CPU caps on again."""
        ...

    def pace(self, speed: float) -> None:
        """Give it and its services this part of their CPU from now on; 1 for all of it.

        Raises
        ------
        PlatformError
            If so little cannot be enforced.
        """
        ...

    def usage(self) -> Usage: ...

    def oom_kills(self) -> int:
        """How many processes the memory limit has killed so far."""
        ...

    def remove(self) -> None: ...


class Limiter(Protocol):
    """A way to limit CPU and memory, for one run. Context manager: leaving it removes every group and kills what is in them."""

    name: str

    @property
    def pid(self) -> int | None:
        """A child of the owner that does the work, or None if the kernel does."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def trial(self) -> Trial:
        """Limit a real process for a moment, and say whether it worked. Leaves nothing behind."""
        ...

    def host(self, name: str, cpu: float, memory: int | None) -> HostGroup:
        """Make a host's group: cap in local cores, memory limit in bytes or None."""
        ...

    def step(self) -> None:
        """Correct the caps from the accounting; to be called about every 250 ms."""
        ...

    def close(self) -> None: ...


def grant(where: str, cpu: float) -> tuple[float, tuple[str, ...]]:
    """Give what this machine has of the local cores asked for, and a note where that is less.

    Raises
    ------
    PlatformError
        If the share is not positive, or below 0.001, which no rung can enforce.
    """
    if not cpu >= SMALLEST:
        raise PlatformError(
            f"a CPU share of {cpu:g} local cores cannot be enforced; the smallest is {SMALLEST:g}",
            where=where,
            remedy="choose a faster device, or a larger speed for it",
        )
    cores = len(os.sched_getaffinity(0))
    if cpu <= cores:
        return cpu, ()
    return float(cores), (f"{where} asks for {cpu:g} local cores, but this machine has {cores}",)


def watched(service: ServiceGroup, seconds: float) -> tuple[float, float]:
    """CPU and wall seconds of a service, looked at again until it is held back below half a core, or `TRIAL` is over.

    On an overloaded machine it may use less at first because nobody lets it run, which tells nothing of its limit.
    """
    begin = start = time.monotonic()
    while True:
        before = service.usage().cpu
        time.sleep(seconds)
        usage = service.usage()
        used, passed = usage.cpu - before, time.monotonic() - start
        held = usage.held > 0 or usage.throttled > 0
        if (0 < used <= 0.5 * passed and held) or time.monotonic() - begin > TRIAL:
            return used, passed
        start = time.monotonic()


def quota_and_period(share: float, *, up: bool = False) -> tuple[int, int]:
    """Quota and period in microseconds that enforce a share of local cores without letting short jobs run at full speed.

    The usual period of 100 ms lets a 5 ms job on a device of speed 0.1 end in 5 ms. A small quota stretches it. It must not
    be smaller than this either: with 1 ms in 2 ms the kernel loses 30 %. ``up`` rounds the share up instead of down.

    Examples
    --------
    >>> quota_and_period(0.02), quota_and_period(0.25), quota_and_period(1.5)
    ((1000, 50000), (2000, 8000), (10000, 6667))
    """
    quota = 1000 if share <= 0.1 else 2000 if share <= 0.25 else 5000 * max(1, -(-int(share * 1000) // 1000))
    period = int(quota / share) if up else -int(-quota // share)
    return quota, min(max(period, 1000), 1_000_000)


class Corrector:
    """Turns the accounting of one capped group into a factor for its cap, so that what it gets is what was asked.

    Only periods in which the group wanted more than its cap tell anything, so it changes nothing for a group that is idle,
    that wants less, or that is starved by an overloaded machine.

    Parameters
    ----------
    asked
        The share that the group should get when it wants it, in local cores.
    """

    TRUSTED_PERIODS: Final = 40
    """Fewer tell little: with a small quota the kernel lets a group run for a whole tick and then miss several periods."""
    SATURATED: Final = 0.8

    def __init__(self, asked: float) -> None:
        self.asked = asked
        self.factor = 1.0
        self._efficiency = 1.0
        self._owed = 0.0
        self._last: tuple[Usage, float] | None = None

    def step(self, usage: Usage, now: float, period: float) -> bool:
        """Take a reading of a group at ``now``, in seconds like ``period``; True if ``factor`` changed and is to be applied."""
        if self._last is None:
            self._last = usage, now
            return False
        last, then = self._last
        periods, held = usage.periods - last.periods, usage.held - last.held
        if periods < self.TRUSTED_PERIODS:
            return False
        self._last = usage, now
        if held < self.SATURATED * periods or usage.cpu <= last.cpu:
            return False
        # The kernel counts periods only while the group wants to run; if that was all the time, the clock is more exact.
        active = periods * period if periods * period < 0.9 * (now - then) else now - then
        obtained, due = usage.cpu - last.cpu, self.asked * active
        before = self.factor
        # How much of a cap the kernel really gives is learned; what single windows gave too much or too little is repaid.
        given = obtained / (due * before)
        self._efficiency *= min(max(given / self._efficiency, 0.7), 1.4) ** 0.5
        self._owed = min(max(self._owed + due - obtained, -due), due)
        fresh = min(max((1 + 0.5 * self._owed / due) / self._efficiency, 0.6), 1.7)
        if abs(fresh - before) < 0.002:
            return False
        self.factor = fresh
        return True
