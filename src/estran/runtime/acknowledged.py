"""Delivery class *acknowledged*: every frame is processed once and in order, and a slow consumer holds its producer back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import pack

from estran.errors import TransportError
from estran.runtime.clock import Clock
from estran.runtime.flight import Flight
from estran.runtime.inbound import ALIGNMENT, MAX_FRAME, Inbound, too_large
from estran.runtime.lane import FORWARD_SIZE, Lane
from estran.runtime.mailbox import FrameQueue
from estran.runtime.outbound import Outbound, Segment, chunk
from estran.runtime.transport import Buffer, ChannelSpec, Delivered, Frame
from estran.runtime.waiting import Waiters, closed

CAPACITY_BYTES = 64 << 20
"""Bytes that may be sent and not yet processed (and one segment or frame more, whatever its size)."""

MAX_UNSENT = 1 << 20
"""Bytes that wait here for the network; beyond that the producer waits, too."""

_UNLIMITED = 1 << 63
"""More frames than are ever sent."""

_MAX_LIVES = 16
"""Incarnations of a sender of which frames wait to be processed."""

_BATCH_BYTES = 60_000
_MAX_BATCH, _BATCH_SECONDS = 512 << 10, 0.001
"""Small frames share a segment of one batch of the network's, or of what the link carries in this time if that is more."""
_MAX_CHUNK, _WHOLE, _FAST = 512 << 10, 8 << 20, 64e6
"""Large frames are cut, to keep a slow link responsive, but go whole up to 8 MB where more bytes per second than that land."""
_SHARE = 256
_APART = 1e-4
_INITIAL, _FLOOR, _CEILING, _QUEUEING = 512 << 10, 128 << 10, 16 << 20, 0.02
_HEADER = bytes(FORWARD_SIZE)
_PADDING = tuple(bytes(count) for count in range(ALIGNMENT))


class AcknowledgedSender:
    """Gathers small frames while the network is busy, cuts large ones, and waits for the consumer when its window is full."""

    def __init__(self, lane: Lane, spec: ChannelSpec, clock: Clock, epoch: int) -> None:
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self._batch_frames = max(spec.capacity // 4, 1)
        self._batch_bytes = _BATCH_BYTES
        self._limit = spec.capacity
        self._sealed: deque[Segment] = deque()
        self._sealed_bytes = 0
        self._parts: list[Buffer] = [_HEADER]
        self._part_bytes = self._part_first = 0
        self._sizes: list[int] = []
        self._next = 0
        self._open: deque[tuple[int, int]] = deque()
        self._open_bytes = self._total_bytes = 0
        self._senders = Waiters()
        self._drainers = Waiters()
        self._flush: asyncio.Handle | None = None
        self._launched = -1.0
        self._closed = False
        self._renewed: Callable[[], None] | None = None
        flight = Flight(_INITIAL, _FLOOR, _CEILING, _QUEUEING)
        self._outbound = Outbound(
            lane, clock, epoch, flight,
            supply=self._supply, replay=self._replay, settled=self._settled, pressed=self._pressed, resumes=True,
        )  # fmt: skip

    async def ready(self) -> None:
        """Return when the consumer's end has answered."""
        while not self._outbound.met:
            self._check_open()
            await self._outbound.connected.wait()
        self._check_open()

    async def send(self, frame: Frame) -> int:
        """Take a frame; wait while the window is full."""
        size = 0
        for buffer in frame:
            size += len(buffer)
        if size > MAX_FRAME:
            raise too_large(self._spec.key, size)
        # Each frame of a fast stream comes this way, so what can be looked up is not called.
        seq = self._next
        if seq >= self._limit or self._sealed_bytes > MAX_UNSENT or self._open_bytes + size > CAPACITY_BYTES or self._closed:
            await self.room(size)
            seq = self._next
        self._next = seq + 1
        if size > self._batch_bytes:
            self._add_large(frame, seq, size)
        else:
            self._add_small(frame, seq, size)
        if self._flush is None or self._sealed:
            self._launch()
        if not self._next % _SHARE:
            # A producer that never waits must not starve the loop.
            await asyncio.sleep(0)
        return seq

    def has_room(self, size: int) -> bool:
        """Whether a frame would be taken at once; a closed sender refuses at once."""
        return self._closed or not self._full(size)

    async def room(self, size: int) -> None:
        """Return when a frame would be taken at once."""
        while self._full(size):
            self._check_open()
            await self._senders.wait()
        self._check_open()

    async def drain(self) -> None:
        """Return when everything sent has been processed."""
        target = self._next
        if self._outbound.processed < target:
            self._outbound.pump()
            self._outbound.ask()
        while self._outbound.processed < target:
            self._check_open()
            await self._drainers.wait()

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        """Have this called whenever a consumer's end answers that has not seen what a former one has processed."""
        self._renewed = renewed

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._closed = True
        if self._flush is not None:
            self._flush.cancel()
        self._outbound.close()
        self._senders.wake()
        self._drainers.wake()

    def corrupt(self, damaged: Callable[[], bool] | None) -> None:
        """Have segments damaged on their way when this says so, each time that one is sent."""
        self._outbound.damaged = damaged

    def counters(self) -> Mapping[str, int]:
        """What this end has counted."""
        return {"frames": self._next, "bytes": self._total_bytes + self._part_bytes, **self._outbound.stats}

    # -- frames into segments

    def _add_small(self, frame: Frame, seq: int, size: int) -> None:
        if seq - self._part_first >= self._batch_frames or self._part_bytes + size > self._batch_bytes:
            self._seal(seq)
        parts = self._parts
        for buffer in frame:
            # The caller may change what can be changed as soon as `send` returns.
            parts.append(buffer if type(buffer) is bytes else bytes(buffer))
        if size % ALIGNMENT:
            parts.append(_PADDING[-size % ALIGNMENT])
        self._part_bytes += size
        self._sizes.append(size)

    def _add_large(self, frame: Frame, seq: int, size: int) -> None:
        self._seal(seq)
        flight = self._outbound.flight
        piece = _WHOLE if flight.rate > _FAST else min(max(int(flight.window) // 4, _BATCH_BYTES), _MAX_CHUNK)
        self._queue(chunk(frame, seq, piece), seq + 1, size)
        self._part_first = seq + 1

    def _seal(self, end: int) -> None:
        """Close the segment of small frames that ends before sequence number ``end``."""
        count = len(self._sizes)
        if count:
            self._parts.append(pack(f"<{count}I", *self._sizes))
            self._queue([Segment(bytearray().join(self._parts), end - count, count)], end, self._part_bytes)
            self._parts, self._part_bytes, self._sizes = [_HEADER], 0, []
        self._part_first = end

    def _supply(self) -> Segment | None:
        if not self._sealed:
            if self._flush is not None:
                # More may join the frames at hand until this turn of the loop ends.
                return None
            self._seal(self._next)
        if not self._sealed:
            return None
        segment = self._sealed.popleft()
        self._sealed_bytes -= len(segment.packet)
        if self._senders and self._has_room():
            self._senders.wake()
        return segment

    def _queue(self, segments: Sequence[Segment], end: int, size: int) -> None:
        self._open.append((end, size))
        self._open_bytes += size
        self._total_bytes += size
        for segment in segments:
            self._sealed_bytes += len(segment.packet)
        self._sealed.extend(segments)

    def _launch(self) -> None:
        """Send a lone frame and full segments now, frames on each other's heels together at the end of this turn of the loop."""
        if self._sealed:
            self._outbound.pump()
        elif self._flush is None:
            now = self._loop.time()
            if now - self._launched > _APART:
                self._launched = now
                self._outbound.pump()
            else:
                self._flush = self._loop.call_soon(self._on_flush)

    def _on_flush(self) -> None:
        self._flush = None
        self._launched = self._loop.time()
        self._outbound.pump()

    # -- the window

    def _full(self, size: int) -> bool:
        open_frames = self._next - self._outbound.processed
        if not open_frames:
            return False
        too_many = self._next >= self._limit or self._open_bytes + size > CAPACITY_BYTES
        return too_many or self._sealed_bytes > MAX_UNSENT

    def _has_room(self) -> bool:
        """An eighth of the window is free, so that a producer is not woken for each frame."""
        return self._next <= self._limit - self._batch_frames and self._sealed_bytes <= MAX_UNSENT // 2

    def _pressed(self) -> bool:
        if self._drainers:
            return True
        open_frames = self._next - self._outbound.processed
        return 2 * open_frames > self._spec.capacity or 2 * self._open_bytes > CAPACITY_BYTES

    def _settled(self) -> None:
        processed = self._outbound.processed
        self._batch_bytes = min(max(int(self._outbound.flight.rate * _BATCH_SECONDS), _BATCH_BYTES), _MAX_BATCH)
        limit = _UNLIMITED if self._outbound.ahead else processed + self._spec.capacity
        if limit != self._limit:
            self._limit = limit
            while self._open and self._open[0][0] <= processed:
                self._open_bytes -= self._open.popleft()[1]
            if self._senders and self._has_room():
                self._senders.wake()
            self._drainers.wake()

    def _replay(self, segments: list[Segment]) -> Sequence[Segment]:
        """A new receiver needs all that the last one has not processed."""
        if self._outbound.processed and self._renewed is not None:
            self._loop.call_soon(self._renewed)
        return segments

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self._spec.key)


@dataclass(slots=True)
class _Incarnation:
    """Frames of one life of the sender: those below ``done`` are processed, those below ``taken`` are in the consumer's hands."""

    done: int
    taken: int
    parts: deque[tuple[int, int]] = field(default_factory=deque)
    """Where parts of what is not processed yet end, and their bytes."""


class AcknowledgedReceiver(FrameQueue):
    """Hands out frames in order and tells the producer when they have been processed, after ``before`` has been called."""

    def __init__(self, lane: Lane, spec: ChannelSpec, clock: Clock, epoch: int, before: Callable[[], None] | None = None) -> None:
        super().__init__(spec.key)
        self._lives = deque([_Incarnation(0, 0)])
        self._told = 0
        self._share = max(spec.capacity // 8, 1)
        self._before = before
        self._most = 2 * spec.capacity
        self._catching_up = False
        self._held = 0
        self._inbound = Inbound(
            lane, clock, epoch,
            deliver=self._deliver, renewed=self._renewed, processed=self._processed, room=self._has_room,
        )  # fmt: skip

    def done(self, seq: int) -> None:
        """Everything up to and including ``seq`` has been processed."""
        if len(self._lives) > 1 and self._done_before(seq):
            return
        life = self._lives[0]
        if seq < life.done:
            return
        if seq >= life.taken:
            remedy = "release frames that were received, by their seq"
            raise TransportError(f"frame {seq} is released but has not come", where=self._key, remedy=remedy)
        life.done = seq + 1
        self._forget(life)
        if seq - self._told >= self._share:
            self._told = seq + 1
            self._inbound.progressed(urgent=True)
        elif not self._inbound.answering:
            self._inbound.progressed(urgent=False)

    def _done_before(self, seq: int) -> bool:
        """Frames of a former life of the sender are released in their order; nobody waits for their acknowledgement any more."""
        lives = self._lives
        while len(lives) > 1:
            former = lives[0]
            if former.done <= seq < former.taken:
                former.done = seq + 1
                self._forget(former)
                if former.done == former.taken:
                    lives.popleft()
                return True
            former.done = former.taken
            self._forget(lives.popleft())
        return False

    def limit(self, limited: bool) -> None:
        """Whether the producer is held back by frames that are not processed, or by their bytes alone."""
        self._catching_up = self._catching_up or not limited
        self._inbound.let_ahead(not limited)

    def _forget(self, life: _Incarnation) -> None:
        """Count what has been processed as no longer held."""
        if self._catching_up and not self._inbound.ahead and life.done == life.taken:
            self._catching_up = False
        while life.parts and life.parts[0][0] <= life.done:
            self._held -= life.parts.popleft()[1]

    def _has_room(self) -> bool:
        """Twice what a sender may have open, so that none that keeps to that is ever refused."""
        life = self._lives[-1]
        few = self._catching_up or life.taken - life.done < self._most
        return few and self._held <= 2 * CAPACITY_BYTES and len(self._lives) <= _MAX_LIVES

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._inbound.close()
        super().close()

    def counters(self) -> Mapping[str, int]:
        """What this end has counted."""
        return self._inbound.stats

    def _processed(self) -> int:
        if self._before is not None:
            self._before()
        return self._lives[-1].done

    def _deliver(self, frames: list[Delivered]) -> None:
        life, size = self._lives[-1], sum([len(frame.data) for frame in frames])
        life.taken = frames[-1].seq + 1
        life.parts.append((life.taken, size))
        self._held += size
        self.put(frames)

    def _renewed(self, first: int) -> None:
        lives = self._lives
        if lives[-1].done == lives[-1].taken:
            lives.pop()
        lives.append(_Incarnation(first, first))
        self._told = first
