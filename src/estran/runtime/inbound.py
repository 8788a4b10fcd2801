"""The consumer's half of reliable delivery: puts segments in order, makes frames of them, and answers."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from estran.errors import TransportError
from estran.runtime.clock import Clock
from estran.runtime.lane import (
    ACK,
    AHEAD,
    CHUNK,
    FORWARD_SIZE,
    GREETING,
    HELLO,
    PROBE,
    PROBED,
    REQUEST,
    VOID,
    Arrival,
    Backward,
    Forward,
    Lane,
    pack_backward,
    parse_forward,
)  # fmt: skip
from estran.runtime.transport import Delivered

ALIGNMENT = 8
"""Small frames that share a segment begin at multiples of this, so that their arrays can be used in place."""

_LAZY = 0.01
_MAX_AHEAD, _MAX_AHEAD_BYTES = 1 << 14, 64 << 20
"""Segments that are kept before those that precede them have come: more than any sender's window; what is beyond comes again."""

MAX_FRAME = 4 << 30
"""Bytes of a frame at the most."""
_EAGER_BYTES = 1 << 18


def too_large(key: str, size: int) -> TransportError:
    """What to raise for a frame that no receiver takes."""
    return TransportError(f"a message of {size} bytes exceeds {MAX_FRAME}", where=key, remedy="send it in parts")


class Assembly:
    """A large frame on its way in: pieces in order, held as they came, so that no claimed size is ever allocated."""

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []
        self._size = 0
        self._seq = -1

    def reset(self) -> None:
        """Forget the frame that has begun."""
        self._pieces, self._size, self._seq = [], 0, -1

    def add(self, header: Forward, body: memoryview) -> memoryview | None:
        """Take the next piece; the whole frame once it is complete."""
        if header.offset == 0:
            self.reset()
            self._seq = header.first
        if (
            header.first != self._seq
            or header.offset != self._size
            or header.total > MAX_FRAME
            or not (body or self._size == header.total)
        ):
            return None
        self._pieces.append(body)
        self._size += len(body)
        if self._size < header.total:
            return None
        whole = self._pieces[0] if len(self._pieces) == 1 else memoryview(b"".join(self._pieces))
        self.reset()
        return whole


def split(header: Forward, body: memoryview, received: float) -> list[Delivered]:
    """The small frames of one segment.

    Raises
    ------
    ValueError
        The sizes at its end do not add up.
    """
    sizes = struct.unpack(f"<{header.frames}I", body[len(body) - 4 * header.frames :]) if 4 * header.frames <= len(body) else ()
    frames, place, seq = [], 0, header.first
    for size in sizes:
        frames.append(Delivered(seq, body[place : place + size], received))
        place += size + -size % ALIGNMENT
        seq += 1
    if not sizes or place != len(body) - 4 * header.frames:
        raise ValueError("a segment's sizes do not add up")
    return frames


class Inbound:
    """Receives segments from one sender, whichever incarnation of it lives.

    Parameters
    ----------
    deliver
        Takes new frames, in order.
    renewed
        Called when a new incarnation of the sender begins; its first frame's sequence number.
    processed
        The number to acknowledge: every frame of this incarnation below it has been processed.
    room
        Whether more may be delivered now. A sender that keeps to its window always finds room; what comes without is dropped,
        as if it had been lost, so that a sender that does not cannot fill this host's memory.
    """

    def __init__(
        self,
        lane: Lane,
        clock: Clock,
        epoch: int,
        *,
        deliver: Callable[[list[Delivered]], None],
        renewed: Callable[[int], None],
        processed: Callable[[], int],
        room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.stats: Counter[str] = Counter()
        self._lane = lane
        self._clock = clock
        self._epoch = epoch
        self._deliver, self._renewed, self._processed, self._roomy = deliver, renewed, processed, room
        self._loop = asyncio.get_running_loop()
        self._peer = 0
        self._next = 0
        self._seq = 0
        self._ahead: dict[int, tuple[Forward, bytes, float]] = {}
        self._ahead_bytes = 0
        self._assembly = Assembly()
        self._transmission = 0
        self._transmitted = 0.0
        self._unacknowledged = 0
        self._probed = self._requested = False
        self.ahead = False
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._closed = False
        lane.listen(self._arrived, self._on_room)
        self._hello()

    def close(self) -> None:
        """Answer no more."""
        self._closed = True
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._lane.close()

    def let_ahead(self, ahead: bool) -> None:
        """Tell the sender whether it may go beyond its window, now and in each answer."""
        self.ahead = ahead
        if self._peer:
            self._answer_soon()

    # -- answering

    @property
    def answering(self) -> bool:
        """An answer is on its way out, or will be in time."""
        return self._soon is not None or (self._later is not None and not self._requested)

    def progressed(self, *, urgent: bool) -> None:
        """Frames have been processed: say so, soon if the sender asked for it or if ``urgent``, else in a while."""
        if urgent or self._requested:
            self._answer_soon()
        else:
            self._answer_later()

    def _answer_soon(self) -> None:
        # At the end of this turn of the loop: whatever happens until then goes along.
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._answer)

    def _answer_later(self) -> None:
        if self._later is None and self._soon is None and not self._closed:
            self._later = self._loop.call_later(_LAZY, self._answer)

    def _answer(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._soon = self._later = None
        if self._closed or not self._peer:
            return
        held = max(int((self._clock.now() - self._transmitted) * 1e6), 0)
        processed = self._processed()
        answer = Backward(
            ACK, PROBED * self._probed | AHEAD * self.ahead, min(held, 0xFFFFFFFF), self._peer, self._epoch,
            self._transmission, self._next, processed, tuple(self._ranges()),
        )  # fmt: skip
        self._probed = False
        self._requested = self._requested and processed < self._seq
        self._unacknowledged = 0
        self._lane.put(pack_backward(answer))

    def _ranges(self) -> Iterator[tuple[int, int]]:
        start = stop = -1
        for number in sorted(self._ahead):
            if number != stop:
                if stop >= 0:
                    yield start, stop
                start = number
            stop = number + 1
        if stop >= 0:
            yield start, stop

    def _hello(self) -> None:
        self._lane.put(pack_backward(Backward(HELLO, 0, 0, 0, self._epoch, 0, 0, 0, ())))

    def _on_room(self) -> None:
        if not self._closed:
            self._answer_soon() if self._peer else self._hello()

    # -- arriving

    def _arrived(self, batch: Sequence[Arrival]) -> None:
        stranger = False
        for datagram, when in batch:
            header = parse_forward(datagram)
            if header is None or self._closed:
                self.stats["malformed"] += header is None
            elif header.kind == GREETING:
                self._meet(header)
            elif header.receiver != self._epoch:
                stranger = True
            elif header.sender == self._peer:
                self._take(header, datagram, when)
        if stranger and not self._closed:
            self._hello()

    def _meet(self, header: Forward) -> None:
        if header.sender < self._peer:
            return
        if header.sender > self._peer:
            self._peer = header.sender
            self._next, self._seq = 0, header.first
            self._transmission, self._requested = 0, False
            self._ahead.clear()
            self._ahead_bytes = 0
            self._assembly.reset()
            self._renewed(header.first)
        self._answer_soon()

    def _take(self, header: Forward, datagram: bytes, when: float) -> None:
        if header.transmission > self._transmission:
            self._transmission, self._transmitted = header.transmission, when
        if header.kind == PROBE:
            self._probed = self._requested = True
            self._answer_soon()
            return
        self._unacknowledged += len(datagram)
        if header.number == self._next:
            if not self._roomy():
                self.stats["refused"] += 1
                self._answer_soon()
                return
            self._advance(header, datagram, when)
        elif header.number < self._next or header.number in self._ahead:
            self.stats["duplicates"] += 1
            self._answer_soon()
            return
        else:
            self.stats["reordered"] += 1
            if len(self._ahead) < _MAX_AHEAD and self._ahead_bytes + len(datagram) <= _MAX_AHEAD_BYTES:
                self._ahead[header.number] = header, datagram, when
                self._ahead_bytes += len(datagram)
            self._answer_soon()
            return
        if header.flags & REQUEST:
            self._requested = True
        if self._requested or self._unacknowledged > _EAGER_BYTES:
            self._answer_soon()
        else:
            self._answer_later()

    def _advance(self, header: Forward, datagram: bytes, when: float) -> None:
        self._open(header, memoryview(datagram)[FORWARD_SIZE:], when)
        self._next += 1
        while self._ahead and (held := self._ahead.pop(self._next, None)):
            self._ahead_bytes -= len(held[1])
            self._open(held[0], memoryview(held[1])[FORWARD_SIZE:], when)
            self._next += 1

    def _open(self, header: Forward, body: memoryview, when: float) -> None:
        if header.flags & VOID:
            self._assembly.reset()
            return
        if header.flags & CHUNK:
            whole = self._assembly.add(header, body)
            frames = [] if whole is None else [Delivered(header.first, whole, when)]
        else:
            try:
                frames = split(header, body, when)
            except ValueError:
                self.stats["malformed"] += 1
                return
        if frames and frames[0].seq < self._seq:
            # A new incarnation of this receiver may be handed a segment whose first frames the last one has processed.
            frames = [frame for frame in frames if frame.seq >= self._seq]
        if frames:
            self._seq = frames[-1].seq + 1
            self.stats["frames"] += len(frames)
            self.stats["bytes"] += sum([len(frame.data) for frame in frames])
            self._deliver(frames)
