"""What passes from a fast producer to a slow consumer: everything in time, or less, by a stated policy and counted.

A message first passes a *sample*, then a *rate*, then the room of its channel. One that finds no room, or comes faster than the
rate, finds the stream *full*; then the producer waits (*block*), or the message is left out (*drop-newest*), or it waits here in
place of the oldest that waits here (*drop-oldest*). All this happens before a message gets its number: what is dropped was never
sent, costs no bytes, and is no loss of the network.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final
from zlib import crc32

import msgspec
import numpy as np

from estran.errors import TransportError
from estran.runtime.clock import Clock
from estran.runtime.component import Component
from estran.runtime.launch import ChannelEnd
from estran.runtime.transport import Corruptible, Frame, Sender
from estran.runtime.waiting import Waiters

RECORD_EVERY: Final = 0.25
EVENT: Final = "coupling"
_SHARE: Final = 256
_NOT_SENT: Final = -1
_INSTANT: Final = 1e-9
"""Seconds that are none: sums of floats end a little beside the instant that is meant."""


def coupled(sender: Sender, end: ChannelEnd, component: Component) -> Sender:
    """The producer's end of a channel with the policy of its stream; the same one where that is to wait for room alone."""
    if end.when_full == "block" and end.rate is None and end.sample >= 1:
        return sender
    rng = np.random.default_rng(np.random.SeedSequence(component._surroundings.seed, spawn_key=(crc32(end.key.encode()),)))
    return CoupledSender(sender, end, component.clock, rng, component.metrics.event)


class Pace:
    """Lets so many pass per second on the average, and two on each other's heels at the most (a leaky bucket, ITU-T I.371)."""

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate
        self._expected = -np.inf

    def wait(self, now: float) -> float:
        """Seconds until the next may pass, 0 if it may now."""
        wait = float(self._expected - self._period - now)
        return wait if wait > _INSTANT else 0.0

    def passed(self, now: float) -> None:
        """One passes."""
        self._expected = max(self._expected, now) + self._period


class CoupledSender:
    """A sender that leaves out or delays what its channel is not to carry.

    Parameters
    ----------
    rng
        Draws the sample.
    tell
        Records an event: what was offered and dropped so far.
    """

    def __init__(
        self, sender: Sender, end: ChannelEnd, clock: Clock, rng: np.random.Generator, tell: Callable[[str, str], None]
    ) -> None:
        self._sender = sender
        self._key = end.key
        self._clock = clock
        self._rng = rng
        self._tell = tell
        self._sample = end.sample
        self._pace = None if end.rate is None else Pace(end.rate)
        # What a rate holds back of a stream that carries the newest only is the newest.
        self._when_full = "drop-oldest" if end.delivery == "latest" else end.when_full
        self._limit = max(end.waiting, 1)
        self._waiting: deque[Frame] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._held_by = "full"
        self._emptied = Waiters()
        self._offered = 0
        self._dropped: Counter[str] = Counter()
        self._told = -np.inf

    async def ready(self) -> None:
        """Return when the consumer's end has answered."""
        await self._sender.ready()

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        """Have this called whenever a consumer's end answers that knows less than was sent before."""
        self._sender.on_renewal(renewed)

    def corrupt(self, damaged: Callable[[], bool] | None) -> None:
        """Have frames damaged on their way when this says so."""
        if isinstance(self._sender, Corruptible):
            self._sender.corrupt(damaged)

    def has_room(self, size: int) -> bool:
        """Whether `send` would take a frame without waiting."""
        return self._when_full != "block" or self._obstacle(size) is None

    async def room(self, size: int) -> None:
        """Return when it would."""
        if self._when_full == "block":
            await self._passage(size)

    async def send(self, frame: Frame) -> int:
        """Take a frame; returns its number, or -1 if it was dropped or waits here."""
        self._offered += 1
        number = await self._send(frame)
        if number == _NOT_SENT and not self._offered % _SHARE:
            # A producer that never waits must not starve the loop.
            await asyncio.sleep(0)
        now = self._clock.now()
        if now - self._told >= RECORD_EVERY:
            self._record(now)
        return number

    async def _send(self, frame: Frame) -> int:
        if self._sample < 1 and self._rng.random() >= self._sample:
            self._dropped["sample"] += 1
            return _NOT_SENT
        size = _size(frame)
        if self._when_full == "block":
            await self._passage(size)
            return await self._pass(frame)
        obstacle = self._held_by if self._waiting else self._obstacle(size)
        if obstacle is None:
            return await self._pass(frame)
        if self._when_full == "drop-newest":
            self._dropped[obstacle] += 1
        else:
            self._wait(frame, obstacle)
        return _NOT_SENT

    def _wait(self, frame: Frame, obstacle: str) -> None:
        # The caller may change what can be changed as soon as `send` returns.
        self._waiting.append([bytes(buffer) for buffer in frame])
        if len(self._waiting) > self._limit:
            self._waiting.popleft()
            self._dropped[obstacle] += 1
        if self._pump is None:
            self._pump = asyncio.create_task(self._pass_waiting(), name=f"waiting for {self._key}")

    async def _pass_waiting(self) -> None:
        try:
            while self._waiting:
                await self._passage(_size(self._waiting[0]))
                await self._pass(self._waiting.popleft())
        except TransportError:
            self._waiting.clear()  # the channel has been closed: there is nothing to wait for
        finally:
            self._pump = None
            self._emptied.wake()

    def _obstacle(self, size: int) -> str | None:
        if self._pace is not None and self._pace.wait(self._clock.now()) > 0:
            return "rate"
        return None if self._sender.has_room(size) else "full"

    async def _passage(self, size: int) -> None:
        """Return when neither the rate nor the channel holds a frame back."""
        while (obstacle := self._obstacle(size)) is not None:
            self._held_by = obstacle
            if obstacle == "full" or self._pace is None:
                await self._sender.room(size)
            else:
                await self._clock.sleep(self._pace.wait(self._clock.now()))

    async def _pass(self, frame: Frame) -> int:
        if self._pace is not None:
            self._pace.passed(self._clock.now())
        return await self._sender.send(frame)

    async def drain(self) -> None:
        """Return when everything sent has been processed, and nothing waits here."""
        while self._pump is not None:
            await self._emptied.wait()
        await self._sender.drain()

    def end(self) -> None:
        """Send no more of what waits, and record what became of everything."""
        if self._pump is not None:
            self._pump.cancel()
        self._record(self._clock.now())

    def _record(self, now: float) -> None:
        self._told = now
        told = {"channel": self._key, "offered": self._offered, "dropped": dict(self._dropped), "waiting": len(self._waiting)}
        self._tell(EVENT, msgspec.json.encode(told).decode())


def _size(frame: Frame) -> int:
    return sum(len(buffer) for buffer in frame)
