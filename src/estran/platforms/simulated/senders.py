"""Producers' ends of streams in virtual time (see `estran.platforms.simulated.transport`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from estran.platforms.simulated.channel import Channel, Pump
from estran.runtime.acknowledged import CAPACITY_BYTES, MAX_UNSENT
from estran.runtime.transport import Frame
from estran.runtime.waiting import Waiters, closed

_SHARE: Final = 256


class AcknowledgedSender:
    """Holds its producer back while too much is unsent or unprocessed."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next = self._processed = 0
        self._known: deque[tuple[float, int]] = deque()
        self._open: deque[bytes] = deque()
        self._open_bytes = self._unsent_bytes = 0
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._senders, self._drainers = Waiters(), Waiters()
        self._pump = Pump(channel, self._supply)
        self._closed = False
        self._ahead = False
        self._renewed: Callable[[], None] | None = None

    async def ready(self) -> None:
        """Return when the consumer's end is open."""
        await opened(self._channel)

    async def send(self, frame: Frame) -> int:
        """Take a frame; wait while there is no room."""
        data = b"".join(frame)
        await self.room(len(data))
        if self._closed:
            raise closed(self._channel.spec.key)
        seq = self._next
        self._next += 1
        self._open.append(data)
        self._open_bytes += len(data)
        self._unsent_bytes += len(data)
        self._unsent.append((seq, data))
        self._channel.taken(seq, len(data))
        self._pump.go()
        if not self._next % _SHARE:
            # A producer that never waits must not starve the others.
            await asyncio.sleep(0)
        return seq

    def has_room(self, size: int) -> bool:
        """Whether a frame would be taken at once; a closed sender refuses at once."""
        return not self._full(size)

    async def room(self, size: int) -> None:
        """Return when a frame would be taken at once."""
        while self._full(size):
            await self._senders.wait()

    @property
    def waiting(self) -> int:
        """Frames that are sent and not known to be processed."""
        return self._next - self._learn()

    async def drain(self) -> None:
        """Return when everything sent is known to be processed."""
        target = self._next
        while self._learn() < target:
            if self._closed:
                raise closed(self._channel.spec.key)
            self._look_again()
            await self._drainers.wait()

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._closed = True
        self._senders.wake()
        self._drainers.wake()

    def opened(self) -> None:
        """The consumer's end is there."""
        self.look_ahead()
        self._pump.go()

    def corrupt(self, damaged: Callable[[], bool] | None) -> None:
        """Have frames damaged on their way when this says so."""
        self._channel.damaged = damaged

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        """Have this called whenever a consumer's end opens that has not seen what a former one has processed."""
        self._renewed = renewed

    def met_anew(self) -> None:
        """Another life of the consumer begins."""
        if self._renewed is not None and self._learn():
            self._renewed()

    def look_ahead(self) -> None:
        """Learn whether the consumer lets its producer go beyond the window."""
        receiver = self._channel.receiver
        self._ahead = receiver is not None and receiver.ahead
        self._wake()

    def processed(self, count: int) -> None:
        """The consumer has processed that many frames; word of it is on the way."""
        channel = self._channel
        if self._closed or not channel.word(partial(self.processed, count)):
            return
        channel.hands.answered()
        self._known.append((channel.loop.time() + channel.back, count))
        if self._senders or self._drainers:
            channel.loop.call_later(channel.back, self._wake)

    def repeat(self) -> None:
        """Send again, in order, what is not known to be processed."""
        self._learn()
        repeated = len(self._open) - len(self._unsent)
        self._channel.retransmitted += repeated
        self._unsent = deque(enumerate(self._open, self._processed))
        self._unsent_bytes = self._open_bytes
        self._pump.forget()
        self._pump.go()
        self.look_ahead()

    def unblock(self) -> None:
        """There may be more room than there was."""
        self._pump.unblock()

    def _supply(self) -> tuple[int, bytes] | None:
        if not self._unsent or self._closed:
            return None
        frame = self._unsent.popleft()
        self._unsent_bytes -= len(frame[1])
        if self._senders and self._roomy():
            self._senders.wake()
        return frame

    def _wake(self) -> None:
        self._learn()
        if self._senders and self._roomy():
            self._senders.wake()
        self._drainers.wake()

    def _look_again(self) -> None:
        """Come back when word that is on the way has arrived; for later word `processed` does."""
        if self._known:
            self._channel.loop.call_at(self._known[-1][0], self._wake)

    def _learn(self) -> int:
        now = self._channel.loop.time()
        while self._known and self._known[0][0] <= now:
            count = self._known.popleft()[1]
            while self._processed < count:
                self._open_bytes -= len(self._open.popleft())
                self._processed += 1
        return self._processed

    def _full(self, size: int) -> bool:
        if self._closed or not self._crowded(size):
            return False
        self._learn()
        if not self._crowded(size):
            return False
        self._look_again()
        return True

    def _crowded(self, size: int) -> bool:
        open_frames = self._next - self._processed
        too_much = self._open_bytes + size > CAPACITY_BYTES or self._unsent_bytes > MAX_UNSENT
        too_many = open_frames >= self._channel.spec.capacity and not self._ahead
        return open_frames > 0 and (too_many or too_much)

    def _roomy(self) -> bool:
        """A quarter of the window is free, so that a producer is not woken for each frame."""
        capacity = self._channel.spec.capacity
        few = self._ahead or self._next - self._processed <= capacity - max(capacity // 4, 1)
        return few and self._unsent_bytes <= MAX_UNSENT // 2


class LatestSender:
    """Keeps one frame waiting: the newest."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next = 0
        self._received = -1
        self._waiting: tuple[int, bytes] | None = None
        self._newest: tuple[int, bytes] | None = None
        self._drainers = Waiters()
        self._pump = Pump(channel, self._supply)
        self._closed = False
        self._renewed: Callable[[], None] | None = None

    async def ready(self) -> None:
        """Return when the consumer's end is open."""
        await opened(self._channel)

    async def send(self, frame: Frame) -> int:
        """Take the newest frame; never waits for the network."""
        if self._closed:
            raise closed(self._channel.spec.key)
        data = b"".join(frame)
        seq = self._next
        self._next += 1
        self._channel.dropped += self._waiting is not None
        self._waiting = self._newest = seq, data
        self._channel.taken(seq, len(data))
        self._pump.go()
        await asyncio.sleep(0)
        return seq

    def has_room(self, size: int) -> bool:
        """A frame is always taken at once."""
        return True

    async def room(self, size: int) -> None:
        """There is."""

    async def drain(self) -> None:
        """Return when the newest frame has been received."""
        target = self._next - 1
        while self._received < target:
            if self._closed:
                raise closed(self._channel.spec.key)
            await self._drainers.wait()

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._closed = True
        self._drainers.wake()

    def opened(self) -> None:
        """The consumer's end is there."""
        self._pump.go()

    def corrupt(self, damaged: Callable[[], bool] | None) -> None:
        """Have frames damaged on their way when this says so."""
        self._channel.damaged = damaged

    def repeat(self) -> None:
        """Send the newest again, though the last consumer may have had it."""
        self._waiting = self._newest
        self._pump.forget()
        self._pump.go()

    def unblock(self) -> None:
        """There may be more room than there was."""
        self._pump.unblock()

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        """Have this called whenever a consumer's end opens that may know no frame but the newest."""
        self._renewed = renewed

    def met_anew(self) -> None:
        """Another life of the consumer begins."""
        if self._renewed is not None and self._next > 1:
            self._renewed()

    def received(self, seq: int) -> None:
        """The consumer has a frame; word of it is on the way."""
        if self._closed or not self._channel.word(partial(self.received, seq)):
            return
        self._channel.hands.answered()
        self._channel.loop.call_later(self._channel.back, self._acknowledged, seq)

    def _acknowledged(self, seq: int) -> None:
        self._received = max(self._received, seq)
        self._drainers.wake()

    def _supply(self) -> tuple[int, bytes] | None:
        frame, self._waiting = self._waiting, None
        return None if self._closed else frame


async def opened(channel: Channel) -> None:
    """Return when the consumer's end of a channel is open."""
    while channel.receiver is None:
        await channel.opened.wait()
