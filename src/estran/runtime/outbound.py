"""The producer's half of reliable delivery: numbered segments, sent once, and again when the peer shows that they are missing.

Nothing is resent on a guess. When the peer falls silent a small *probe* follows the data; the answer to it lists what has come,
so a slow link is never flooded with copies, and after an outage the first answered probe brings back exactly what was lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence

from estran.runtime.clock import Clock
from estran.runtime.flight import MAX_INTERVAL, Flight
from estran.runtime.lane import (
    AHEAD,
    CHUNK,
    DATA,
    FORWARD_SIZE,
    GREETING,
    PROBE,
    PROBED,
    REQUEST,
    VOID,
    Arrival,
    Backward,
    Lane,
    pack_forward_into,
    parse_backward,
)  # fmt: skip
from estran.runtime.transport import Buffer, Frame
from estran.runtime.waiting import Waiters

MAX_BACKLOG = 1 << 20
_REORDERING = 3
_SILENT_INTERVALS = 3
_HEADER = bytes(FORWARD_SIZE)


class Segment:
    """One datagram's worth of frames: several small ones, or a piece of a large one.

    ``packet`` begins with room for the header; ``last`` is the sequence number of the last frame it touches.
    """

    __slots__ = ("count", "first", "flags", "last", "number", "offset", "packet", "received", "total", "transmission")

    def __init__(self, packet: bytearray, first: int, count: int) -> None:
        self.packet = packet
        self.first = first
        self.last = first + count - 1
        self.count = count
        self.flags = 0
        self.offset = 0
        self.total = 0
        self.number = -1
        self.transmission = 0
        self.received = False


def chunk(frame: Frame, seq: int, size: int) -> list[Segment]:
    """Cut a large frame into segments of at most ``size`` bytes; what it is made of is copied once."""
    total = sum(len(buffer) for buffer in frame)
    segments: list[Segment] = []
    parts: list[Buffer] = [_HEADER]
    held = offset = 0

    def seal() -> None:
        nonlocal parts, held, offset
        segment = Segment(bytearray().join(parts), seq, 1)
        segment.flags, segment.offset, segment.total = CHUNK, offset, total
        segments.append(segment)
        parts, held, offset = [_HEADER], 0, offset + held

    for buffer in frame:
        view = memoryview(buffer)
        while len(view) > size - held:
            parts.append(view[: size - held])
            view, held = view[size - held :], size
            seal()
        parts.append(view)
        held += len(view)
    if held or not segments:
        seal()
    return segments


class Outbound:
    """Sends segments to one receiver, whichever incarnation of it lives.

    Parameters
    ----------
    supply
        Gives the next segment, or None.
    replay
        Gives the segments to begin with for a new incarnation of the receiver, out of those not processed by the last one.
    settled
        Called after each answer, when ``processed`` or ``received`` may have grown.
    pressed
        Says whether an answer is wanted at once.
    resumes
        A new incarnation of the receiver goes on where the last one stopped processing; else it begins with any frame.

    Attributes
    ----------
    ahead
        The receiver lets its sender go beyond its window.
    """

    def __init__(
        self,
        lane: Lane,
        clock: Clock,
        epoch: int,
        flight: Flight,
        *,
        supply: Callable[[], Segment | None],
        replay: Callable[[list[Segment]], Sequence[Segment]],
        settled: Callable[[], None],
        pressed: Callable[[], bool],
        resumes: bool,
    ) -> None:
        self.processed = 0
        self.ahead = False
        self.flight = flight
        self.stats: Counter[str] = Counter()
        self.connected = Waiters()
        self._lane = lane
        self._clock = clock
        self._epoch = epoch
        self._supply, self._replay, self._settled, self._pressed = supply, replay, settled, pressed
        self._resumes = resumes
        self.damaged: Callable[[], bool] | None = None
        self._loop = asyncio.get_running_loop()
        self._peer: int | None = None
        self._queue: deque[Segment] = deque()
        self._kept: dict[int, Segment] = {}
        self._number = self._received = self._sent = 0
        self._transmission = 0
        self._sent_at: deque[tuple[int, float, int]] = deque()
        self._in_flight = self._flying = self._landed = 0
        self._limited = False
        self._heard = clock.now()
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        lane.listen(self._arrived, self._on_room)
        self._greet()
        self._arm()

    @property
    def met(self) -> bool:
        """The receiver has answered once."""
        return self._peer is not None

    @property
    def outstanding(self) -> bool:
        """Something has been sent that is not known to be received and processed."""
        return bool(self._kept or self._queue)

    def close(self) -> None:
        """Send no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._forget_flight()
        self._lane.close()
        self.connected.wake()

    def pump(self) -> None:
        """Send what there is, as far as the window and the lane allow."""
        while self._has_room():
            segment = self._queue.popleft() if self._queue else self._supply()
            if segment is None:
                return
            self._launch(segment)

    def ask(self) -> None:
        """Have the peer answer now (at most one question per round trip is worth its bytes; the caller sees to that)."""
        if self._peer is not None and self._lane.backlog == 0:
            self._transmission += 1
            self._note_departure()
            self._lane.put(self._packet(PROBE, self._peer, 0))

    # -- sending

    def _has_room(self) -> bool:
        if self._peer is None or self._closed:
            return False
        if self._flying > 1 and self._in_flight >= self.flight.window:
            self._limited = True
            return False
        return self._lane.backlog < MAX_BACKLOG

    def _launch(self, segment: Segment) -> None:
        segment.number = self._number
        self._number += 1
        self._kept[segment.number] = segment
        self._sent = max(self._sent, segment.last + 1)
        self._fly(segment, 1)
        self._transmit(segment, segment.packet)
        if self._timer is None:
            self._arm()

    def _fly(self, segment: Segment, sign: int) -> None:
        size = sign * len(segment.packet)
        self._in_flight += size
        self._flying += sign
        self._lane.flying(size)

    def _transmit(self, segment: Segment, packet: bytearray) -> None:
        self._transmission += 1
        segment.transmission = self._transmission
        self._note_departure()
        flags = segment.flags
        if self._pressed() or 2 * self._in_flight > self.flight.window:
            flags |= REQUEST
        pack_forward_into(
            packet, 0, DATA, flags, 0, segment.count, self._epoch, self._peer or 0,
            self._transmission, segment.number, segment.first, segment.offset, segment.total,
        )  # fmt: skip
        if self.damaged is not None and self.damaged():
            self.stats["corrupted"] += 1  # the consumer's end would refuse it, and not answer
        else:
            self._lane.put(packet)

    def _note_departure(self) -> None:
        self._sent_at.append((self._transmission, self._clock.now(), self._landed))

    def _retransmit(self, segment: Segment) -> None:
        # A fresh copy: the first one may still be in the lane's hands.
        self.stats["retransmitted"] += 1
        self._transmit(segment, bytearray(FORWARD_SIZE) if segment.flags & VOID else bytearray(segment.packet))

    def _packet(self, kind: int, peer: int, first: int) -> bytearray:
        packet = bytearray(FORWARD_SIZE)
        pack_forward_into(packet, 0, kind, 0, 0, 0, self._epoch, peer, self._transmission, 0, first, 0, 0)
        return packet

    def _greet(self) -> None:
        self._lane.put(self._packet(GREETING, 0, self.processed if self._resumes else 0))

    # -- hearing

    def _on_room(self) -> None:
        if self._closed:
            return
        if self._peer is None:
            self._greet()
        elif self._unanswered:
            self.ask()
        self.pump()

    def _arrived(self, batch: Sequence[Arrival]) -> None:
        for datagram, when in batch:
            answer = parse_backward(datagram)
            if answer is None:
                self.stats["malformed"] += 1
            elif not self._closed and answer.receiver >= (self._peer or 0):
                self._hear(answer, when)
        if not self._closed:
            self._settled()
            self.pump()

    def _hear(self, answer: Backward, when: float) -> None:
        if answer.sender != self._epoch:
            if answer.sender == 0 and answer.receiver != self._peer:
                self._greet()
            return
        if answer.receiver != self._peer:
            self._connect(answer.receiver)
        self._heard = when
        self._unanswered = 0
        self.ahead = bool(answer.flags & AHEAD)
        self._settle(answer, when)

    def _connect(self, peer: int) -> None:
        """Begin again for a new incarnation of the receiver, with what the last one has not processed."""
        self._peer = peer
        self._forget_flight()
        self._queue = deque(self._replay([*self._kept.values(), *self._queue]))
        for segment in self._queue:
            segment.received = False
            if segment.number >= 0:
                segment.packet = bytearray(segment.packet)
        self._kept.clear()
        self._number = self._received = 0
        self._sent_at.clear()
        self.connected.wake()

    def _forget_flight(self) -> None:
        self._lane.flying(-self._in_flight)
        self._in_flight = self._flying = 0

    def _measure(self, answer: Backward, when: float) -> None:
        departed = None
        while self._sent_at and self._sent_at[0][0] <= answer.transmission:
            departed = self._sent_at.popleft()
        if departed is not None and departed[0] == answer.transmission:
            _, at, landed = departed
            self.flight.sample(when - at - answer.held_us * 1e-6, (self._landed - landed) / max(when - at, 1e-6), when)

    def _settle(self, answer: Backward, when: float) -> None:
        before = self._in_flight
        kept = self._kept
        for number in range(max(self._received, next(iter(kept), 0)), min(answer.received, self._number)):
            self._land(kept.get(number))
        self._received = max(self._received, min(answer.received, self._number))
        above = max(self._received, next(iter(kept), 0))
        for start, stop in answer.ranges:  # rising; whatever else is said, no segment is looked at twice
            for number in range(max(start, above), min(stop, self._number)):
                self._land(kept.get(number))
            above = max(above, min(stop, self._number))
        self._landed += before - self._in_flight
        self._measure(answer, when)
        if before != self._in_flight:
            self.flight.landed(before - self._in_flight, self._limited, when)
            self._limited = False
        if answer.processed > self.processed:
            self.processed = min(answer.processed, max(self._sent, self.processed))  # nobody has processed what was not sent
        while kept:
            segment = kept[next(iter(kept))]
            if segment.last >= self.processed or not (segment.received or segment.last < answer.processed):
                break
            self._land(segment)  # what this peer has processed it has received, even if it does not say so
            del kept[segment.number]
        self._repair(answer)

    def _land(self, segment: Segment | None) -> None:
        if segment is not None and not segment.received:
            segment.received = True
            self._fly(segment, -1)

    def _repair(self, answer: Backward) -> None:
        """Resend what is missing although later transmissions have come."""
        horizon = answer.transmission if answer.flags & PROBED else answer.transmission - _REORDERING
        segment = self._kept.get(self._received)
        if segment is None or segment.transmission >= horizon:
            return
        for number in range(self._received, self._number):
            segment = self._kept.get(number)
            if segment is not None and not segment.received and segment.transmission < horizon:
                self._retransmit(segment)

    # -- time

    def _arm(self) -> None:
        # With all received, only the word that it has been processed can be missing: no hurry.
        waiting = self._peer is None or self._flying
        delay = min(self.flight.interval * 2**self._unanswered, MAX_INTERVAL) if waiting else MAX_INTERVAL
        self._timer = self._loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        """Ask when the peer has been silent for a while and something is open; one timer per interval, none per segment."""
        self._timer = None
        if self._closed:
            return
        if self._peer is None:
            self._greet()
            self._unanswered += 1
        elif not self.outstanding:
            return
        elif self._clock.now() - self._heard >= self.flight.interval:
            if self._unanswered == _SILENT_INTERVALS:
                self.flight.interrupted()
            self.ask()
            self._unanswered = min(self._unanswered + 1, 16)
        self._arm()
