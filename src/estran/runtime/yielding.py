"""How a service lets others of its host compute first: training that never makes inference wait for long.

Components of a host say on a *board* whether they compute. One that yields begins a computation only while fewer cores are busy
than its host has; that what has begun gives way is up to whoever provides its processor. Where it is to keep the latency of another
service, a *governor* also moves its share of the processor, from what the agent tells of that service's messages. The same code
does this on real hosts and in simulated time.
"""

from __future__ import annotations

import asyncio
import math
import mmap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from estran.runtime.clock import Clock
from estran.runtime.compute import Compute
from estran.runtime.launch import Yielding
from estran.runtime.recorder import Recorder
from estran.runtime.rows import MessageRow
from estran.runtime.waiting import Waiters

R = TypeVar("R")

POLL: Final = 0.5e-3
"""Seconds between two looks at the board of a real host."""
INSTANT: Final = 1e-9
"""Seconds that are none: sums of floats end a little beside the instant that is meant."""
PLACES: Final = 1 << 16
ALLOWED: Final = 0.01
"""Share of messages that may take longer than the latency that is kept."""
GAIN: Final = 0.2
"""By how much of the processor the share moves for each message that is late, less that for each that is in time."""
LEAST: Final = 0.02
"""Share that is left in any case, so that learning never stops for good."""


class Board(Protocol):
    """Who of a host computes now."""

    def busy(self) -> int:
        """How many do."""
        ...

    async def change(self) -> None:
        """Return when that may have changed."""
        ...


class Place(Protocol):
    """One component's place on its host's board."""

    @property
    def board(self) -> Board: ...

    def enter(self) -> None:
        """It computes now."""
        ...

    def leave(self) -> None:
        """It no longer does."""
        ...


class SharedBoard:
    """The board of a real host: a byte for each component, in memory that forked processes share."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, PLACES)
        self._places = 0

    def place(self) -> SharedPlace:
        """A place for one more component."""
        self._places += 1
        return SharedPlace(self, self._bytes, self._places - 1)

    def busy(self) -> int:
        """How many compute, also of those that were given a place after this process was forked."""
        return self._bytes[:].count(1)

    async def change(self) -> None:
        """Come back soon: memory tells nobody that it has changed."""
        await asyncio.sleep(POLL)


class SharedPlace:
    """One component's byte."""

    def __init__(self, board: SharedBoard, memory: mmap.mmap, index: int) -> None:
        self.board = board
        self._memory = memory
        self._index = index

    def enter(self) -> None:
        """It computes now."""
        self._memory[self._index] = 1

    def leave(self) -> None:
        """It no longer does."""
        self._memory[self._index] = 0


class LocalBoard:
    """The board of a simulated host; those who wait for a change are told at once."""

    def __init__(self) -> None:
        self._busy = 0
        self._waiters = Waiters()

    def place(self) -> LocalPlace:
        """A place for one more component."""
        return LocalPlace(self)

    def add(self, number: int) -> None:
        """So many more compute."""
        self._busy += number
        self._waiters.wake()

    def busy(self) -> int:
        """How many do."""
        return self._busy

    async def change(self) -> None:
        """Return when one begins or ends."""
        await self._waiters.wait()


class LocalPlace:
    """One component's place on the board of a simulated host."""

    def __init__(self, board: LocalBoard) -> None:
        self.board = board
        self._in = False

    def enter(self) -> None:
        """It computes now."""
        self.board.add(not self._in)
        self._in = True

    def leave(self) -> None:
        """It no longer does."""
        self.board.add(-self._in)
        self._in = False


class Governor:
    """Moves one replica's share of its host's processor so that of the messages that it watches one in a hundred is late.

    Each message moves the share by `GAIN` times the difference between the part that may be late and whether it was (the update of
    Gibbs and Candès, *Adaptive conformal inference under distribution shift*, NeurIPS 2021, which makes the part that is late come
    to what is allowed, whatever the messages do, as long as the share is within its bounds). Messages that were created before one
    that was late had been told do not count: a backlog is no reason to give way twice. Metric: ``share``.

    Parameters
    ----------
    clock
        That of the messages' times.
    """

    def __init__(self, order: Yielding, clock: Clock, recorder: Recorder) -> None:
        self.order = order
        self.share = order.most
        self._clock = clock
        self._since = -math.inf
        self._recorder = recorder

    def observe(self, times: Iterable[tuple[float, float]]) -> None:
        """Take when some messages were created, and when they had been processed."""
        latency = self.order.latency
        if latency is None:
            return
        before = self.share
        for created, done in times:
            if created >= self._since:
                late = done - created > latency
                self.share = min(max(self.share + GAIN * (ALLOWED - late), LEAST), self.order.most)
                if late:
                    self._since = self._clock.now()
        if self.share != before:
            self._recorder.record("share", self.share)

    def pause(self, seconds: float) -> float:
        """How long to rest after so many seconds of computing, for the share of all cores not to be exceeded."""
        return max(seconds / (self.share * self.order.cores) - seconds, 0.0)


class Marked:
    """The processor of a component that others yield to: says when it computes."""

    def __init__(self, compute: Compute, place: Place) -> None:
        self._compute = compute
        self._place = place

    async def __call__(self, operation: str, size: int, fn: Callable[..., R], *args: Any, parameters: int = 0) -> R:
        self._place.enter()
        try:
            return await self._compute(operation, size, fn, *args, parameters=parameters)
        finally:
            self._place.leave()


class Governed:
    """The processor of a component that yields, or that has a share of its own alone where there is no board."""

    def __init__(self, compute: Compute, board: Board | None, governor: Governor, clock: Clock) -> None:
        self._compute = compute
        self._board = board
        self._governor = governor
        self._clock = clock
        self._next = 0.0

    async def __call__(self, operation: str, size: int, fn: Callable[..., R], *args: Any, parameters: int = 0) -> R:
        while (rest := self._next - self._clock.now()) > INSTANT:
            await self._clock.sleep(rest)
        while self._board is not None and self._board.busy() >= self._governor.order.cores:
            await self._board.change()
        begin = self._clock.now()
        result = await self._compute(operation, size, fn, *args, parameters=parameters)
        end = self._clock.now()
        self._next = end + self._governor.pause(end - begin)
        return result


def beside(compute: Compute, place: Place, governor: Governor | None, clock: Clock) -> Compute:
    """What a component computes with on a host that it shares: it yields, or others yield to it."""
    return Marked(compute, place) if governor is None else Governed(compute, place.board, governor, clock)


def times_of(rows: Iterable[Sequence[Any]], watched: Sequence[str]) -> list[tuple[float, float]]:
    """When messages were created and done that some replicas have processed, out of rows of all."""
    messages = [MessageRow(*row) for row in rows] if watched else []
    return [(row.created, row.done) for row in messages if row.receiver in watched]
