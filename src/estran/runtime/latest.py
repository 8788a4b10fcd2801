"""Delivery class *latest*: a newer frame takes the place of older ones; the newest always arrives in the end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from estran.runtime.clock import Clock
from estran.runtime.flight import Flight
from estran.runtime.inbound import MAX_FRAME, Inbound, too_large
from estran.runtime.lane import VOID, Lane
from estran.runtime.mailbox import NewestFrame
from estran.runtime.outbound import Outbound, Segment, chunk
from estran.runtime.transport import ChannelSpec, Delivered, Frame
from estran.runtime.waiting import Waiters, closed

_CHUNK = 32 << 10
_INITIAL, _FLOOR, _CEILING, _QUEUEING = 64 << 10, 4 << 10, 16 << 20, 0.01


class LatestSender:
    """Keeps one frame waiting: the newest. How many may be under way follows from the measured round trip."""

    def __init__(self, lane: Lane, spec: ChannelSpec, clock: Clock, epoch: int) -> None:
        self._spec = spec
        self._newest: bytes | None = None
        self._next = 0
        self._taken = -1
        self._dropped = self._bytes = 0
        self._pieces: deque[Segment] = deque()
        self._flying: deque[Segment] = deque()
        self._drainers = Waiters()
        self._closed = False
        self._renewed: Callable[[], None] | None = None
        flight = Flight(_INITIAL, _FLOOR, _CEILING, _QUEUEING)
        self._outbound = Outbound(
            lane, clock, epoch, flight,
            supply=self._supply, replay=self._replay, settled=self._settled, pressed=lambda: True, resumes=False,
        )  # fmt: skip

    async def ready(self) -> None:
        """Return when the consumer's end has answered."""
        while not self._outbound.met:
            self._check_open()
            await self._outbound.connected.wait()
        self._check_open()

    async def send(self, frame: Frame) -> int:
        """Take the newest frame; never waits for the network."""
        self._check_open()
        newest = b"".join(frame)
        if len(newest) > MAX_FRAME:
            raise too_large(self._spec.key, len(newest))
        seq = self._next
        self._next = seq + 1
        self._dropped += self._newest is not None and self._taken < seq - 1
        self._newest = newest
        self._bytes += len(newest)
        self._outbound.pump()
        # Sending never waits for the network, but it lets it act.
        await asyncio.sleep(0)
        return seq

    def has_room(self, size: int) -> bool:
        """A frame is always taken at once."""
        return True

    async def room(self, size: int) -> None:
        """There is."""

    async def drain(self) -> None:
        """Return when the newest frame has been received."""
        target = self._next
        if self._outbound.processed < target:
            self._outbound.pump()
            self._outbound.ask()
        while self._outbound.processed < target:
            self._check_open()
            await self._drainers.wait()

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        """Have this called whenever a consumer's end answers that may know no frame but the newest."""
        self._renewed = renewed

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._closed = True
        self._outbound.close()
        self._drainers.wake()

    def corrupt(self, damaged: Callable[[], bool] | None) -> None:
        """Have segments damaged on their way when this says so, each time that one is sent."""
        self._outbound.damaged = damaged

    def counters(self) -> Mapping[str, int]:
        """What this end has counted."""
        return {"frames": self._next, "bytes": self._bytes, "dropped": self._dropped, **self._outbound.stats}

    def _supply(self) -> Segment | None:
        """The next piece of the frame that is on its way, else the newest frame if it has not been taken yet."""
        if not self._pieces and self._newest is not None and self._taken < self._next - 1:
            self._taken = self._next - 1
            self._obsolete()
            self._pieces.extend(chunk([self._newest], self._taken, _CHUNK))
        if not self._pieces:
            return None
        segment = self._pieces.popleft()
        self._flying.append(segment)
        return segment

    def _obsolete(self) -> None:
        """What is lost of older frames need not be repeated: only their numbers are."""
        while self._flying and self._flying[0].received:
            self._flying.popleft()
        for segment in self._flying:
            segment.flags |= VOID

    def _replay(self, segments: list[Segment]) -> Sequence[Segment]:
        """A new receiver needs the newest frame, though the last one may have had it."""
        self._pieces.clear()
        self._flying.clear()
        self._taken = -1
        if self._next > 1 and self._renewed is not None:
            asyncio.get_running_loop().call_soon(self._renewed)
        return ()

    def _settled(self) -> None:
        self._drainers.wake()

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self._spec.key)


class LatestReceiver(NewestFrame):
    """Hands out the newest frame that is there."""

    def __init__(self, lane: Lane, spec: ChannelSpec, clock: Clock, epoch: int) -> None:
        super().__init__(spec.key)
        self._complete = 0
        self._inbound = Inbound(lane, clock, epoch, deliver=self._deliver, renewed=self._renewed, processed=lambda: self._complete)

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._inbound.close()
        super().close()

    def counters(self) -> Mapping[str, int]:
        """What this end has counted."""
        return {"dropped": self.superseded, **self._inbound.stats}

    def _deliver(self, frames: list[Delivered]) -> None:
        self._complete = frames[-1].seq + 1
        self.put(frames)

    def _renewed(self, first: int) -> None:
        self._complete = first
