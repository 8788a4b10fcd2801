"""TCP in virtual time, as far as messages feel it: slow start, idling, a full queue, loss and its repair, all in order.

Segments are counted, not sent one by one. The rules are those of Reno with SACK as Linux has them: an initial window of ten
segments (RFC 6928); slow start and congestion avoidance, only while the window is what limits (RFC 5681, RFC 7661); a window
halved for each retransmission timeout that a connection has idled, down to the initial one (RFC 2861); a loss noticed when three
later segments have come, or else by a timer (RFC 5681, RFC 8985), and repaired in one round trip at half the window. Where a line
carries nothing, the timer doubles each time that all is lost again (RFC 6298, 5.5), and who uses the connection may give it up.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from estran.platforms.emulated.links.relay_core import MSS
from estran.platforms.simulated.line import Pair

INITIAL_WINDOW: Final = 10
"""Segments."""
LEAST_TIMEOUT: Final = 0.2
"""Seconds that TCP waits at least for an acknowledgement beyond the round trip (RFC 6298 as Linux has it)."""
LONGEST_TIMEOUT: Final = 120.0
"""Seconds that it waits at the most, as Linux has it."""
ATTEMPT: Final = 0.8
"""Seconds from one attempt to make a new connection to the next: what an attempt is given, and a pause
(`estran.runtime.zenoh_session`)."""
HANDSHAKE: Final = 3
"""Round trips until a new connection carries frames: TCP's, and the transport's two."""
REORDERING: Final = 3
"""Segments that must have come later before one is taken for lost."""
BATCH: Final = 65535
"""Bytes that zenoh writes at once at the most; the other side hands up nothing of a batch before it has all of it."""
WRITING: Final = 0.2e-3
"""Seconds that the transport is at writing; what comes meanwhile is written together."""
ACKNOWLEDGED: Final = 2
"""Segments that are acknowledged together."""
LARGEST_WINDOW: Final = 4096
BESIDES: Final = 1
"""Small segments of the transport's own that go with each message, and widen the window as any do."""

Landed = Callable[[float], None]
"""Told when the last byte of a message will be there, by the loop's time."""


@dataclass(slots=True)
class _Batch:
    """Messages that are written together and handed up together, and how many of their bytes have not been sent."""

    left: int
    landed: list[Landed]


class Connection:
    """One replica's connection to another, whichever streams share it.

    Parameters
    ----------
    back
        The line that acknowledgements take on the way back.
    lease
        Seconds of silence after which its user gives it up and makes a new one; None for never.

    Attributes
    ----------
    cut
        Whether nothing passes: one of the two lines carries nothing, or a new connection has not been made yet.
    on_restored, on_renewed
        Told when segments pass again: of the same connection; of a new one, on which nothing is known of what went before.
    on_reshaped
        Told when a line has another delay or rate.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pair: Pair, back: Pair, lease: float | None = None) -> None:
        self._loop = loop
        self._pair = pair
        self._back_pair = back
        self._lease = lease
        self.cut = False
        self.on_restored: list[Callable[[], None]] = []
        self.on_renewed: list[Callable[[], None]] = []
        self.on_reshaped: list[Callable[[], None]] = []
        self._stalled = False
        self._cut_at = -math.inf
        self._shape = pair.link, back.link
        self._renewal: asyncio.TimerHandle | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._repair: asyncio.TimerHandle | None = None
        self._reset()
        for line in (pair, back):
            line.watchers.append(self._relinked)
        self._relinked()

    def _reset(self) -> None:
        """Begin as a new connection."""
        for timer in (self._flush, self._timer, self._repair):
            if timer is not None:
                timer.cancel()
        self._back = self._back_pair.link.delay
        self._backoff = 0
        self.window = float(INITIAL_WINDOW)
        self._threshold = math.inf
        self._queue: deque[_Batch] = deque()
        self._gathering: deque[_Batch] = deque()
        self._writing = -math.inf
        self._flush = None
        self._flights: deque[tuple[float, int, float]] = deque()
        self._queued = self._out = self._most_out = self._lost = self._later = self._grown = 0
        self._limited = False
        self._trip = self._pair.link.delay + self._back
        self._variation = 0.0
        self._sent = self._last = -math.inf
        self._timer = self._repair = None
        self._repair_at = math.inf
        self._parked: list[tuple[Landed, float]] = []

    def close(self) -> None:
        """Forget all that is under way, for good."""
        for line in (self._pair, self._back_pair):
            line.watchers.remove(self._relinked)
        if self._renewal is not None:
            self._renewal.cancel()
        self._reset()
        self.cut = True
        self._carry = self._nothing

    # -- lines that change

    def _relinked(self) -> None:
        """One of the lines does something else from now on."""
        shape = self._pair.link, self._back_pair.link
        if shape != self._shape:
            self._shape = shape
            self._back = self._back_pair.link.delay
            for told in self.on_reshaped:
                told()
        if self._pair.down or self._back_pair.down:
            if self._renewal is not None:
                self._renewal.cancel()
                self._renewal = None
            elif not self.cut and not self._stalled:
                self._cut_at, self._stalled = self._loop.time(), True
            self.cut, self._carry = True, self._nothing
        elif not self.cut:
            self._carry = self._pair.carry
        elif self._renewal is None:
            self._up_again(self._loop.time())

    def _up_again(self, now: float) -> None:
        if self._lease is None or now - self._cut_at < self._lease:
            self.cut, self._carry = False, self._pair.carry
            for told in self.on_restored:
                told()
            self._stalled = self._lost > 0
            if self._stalled and self._lease is not None:  # until what was lost is repaired, nothing is heard of the other end
                trip = self._pair.link.delay + self._back
                self._renewal = self._loop.call_at(self._cut_at + self._lease + HANDSHAKE * trip, self._renew)
            return
        given_up = self._cut_at + self._lease
        attempts = math.ceil((now - given_up) / ATTEMPT)
        trip = self._pair.link.delay + self._back
        self._renewal = self._loop.call_at(given_up + attempts * ATTEMPT + HANDSHAKE * trip, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        self._stalled = False
        self._reset()
        self.cut, self._carry = False, self._pair.carry
        for told in self.on_renewed:
            told()

    def _heard(self) -> None:
        """What was lost is there, and the connection is not given up."""
        self._stalled = False
        if self._renewal is not None and not self.cut:
            self._renewal.cancel()
            self._renewal = None

    def _nothing(self, now: float, payload: int, *, repair: bool = False) -> tuple[float, int]:
        """What `Pair.carry` comes to where nothing passes."""
        return now + self._pair.link.delay, max(1, -(-payload // MSS))

    @property
    def timeout(self) -> float:
        """Seconds without an acknowledgement after which all is taken for lost."""
        return self._trip + max(LEAST_TIMEOUT, 4 * self._variation)

    def send(self, payload: int, landed: Landed) -> None:
        """Send a message; ``landed`` is called with the time when it, and all that was sent before, will be there."""
        now = self._loop.time()
        flights = self._flights
        if flights and flights[0][0] <= now:
            self._settle(now)
        if not self._out:
            self._wake(now)
        if self._queued or now < self._writing or self._gathering:
            self._gather(payload, landed)
        elif payload <= MSS and self._out + 1 < self.window and not self._lost:
            self._send_small(now, payload, landed)
        else:
            self._write(_Batch(payload, [landed]), now)

    def _send_small(self, now: float, payload: int, landed: Landed) -> None:
        """What `_write` comes to for one segment that nothing hinders: most messages are such."""
        there, lost = self._carry(now, payload)
        if lost:
            self._queue.append(_Batch(payload, [landed]))
            self._queued += payload
            self._account(now, there, 1, lost)
            self._hand_over(there, payload)
            return
        self._writing = now + WRITING
        self._sent = now
        self._grown += BESIDES
        self._out += 1
        if self._out > self._most_out:
            self._most_out = self._out
        self._flights.append((there + self._back, 1, now))
        if there < self._last:
            there = self._last
        self._last = there
        landed(there)

    def _gather(self, payload: int, landed: Landed) -> None:
        """Keep a message until the transport can write again; those that wait are written together."""
        gathering = self._gathering
        if gathering and gathering[-1].left + payload <= BATCH:
            gathering[-1].left += payload
            gathering[-1].landed.append(landed)
        else:
            gathering.append(_Batch(payload, [landed]))
        if not self._queued:
            self._write_next()

    def _write_next(self) -> None:
        """Write what has been gathered, once the last writing is over."""
        now = self._loop.time()
        if self._queued or not self._gathering:
            return
        if now >= self._writing:
            self._write(self._gathering.popleft(), now)
        elif self._flush is None:
            self._flush = self._loop.call_at(self._writing, self._flushed)

    def _flushed(self) -> None:
        self._flush = None
        self._write_next()

    def _write(self, batch: _Batch, now: float) -> None:
        self._writing = now + WRITING
        self._queue.append(batch)
        self._queued += batch.left
        if self._timer is None:
            self._pump(now)

    def _pump(self, now: float) -> None:
        """Send what the window lets through, in full segments across messages; acknowledgements let more."""
        while self._queued:
            segments = min(int(self.window) - self._out, -(-self._queued // MSS))
            if segments <= 0:
                self._limited = True
                # All that is out may be lost: then its repair goes on.
                self._timer = self._loop.call_at(self._flights[0][0], self._acknowledged) if self._flights else None
                return
            size = min(segments * MSS, self._queued)
            self._hand_over(self._transmit(now, size, segments), size)
        if self._gathering:
            self._write_next()

    def _hand_over(self, there: float, size: int) -> None:
        """Tell of messages that end within bytes of which the last one will be there at a time."""
        queue, left = self._queue, size
        self._queued -= size
        while left:
            message = queue[0]
            part = min(message.left, left)
            message.left -= part
            left -= part
            if not message.left:
                queue.popleft()
                self._grown += BESIDES
                for landed in message.landed:
                    self._finish(landed, there - left / MSS * self._pair.frame)

    def _acknowledged(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._settle(now)
        self._pump(now)

    def _transmit(self, now: float, size: int, segments: int) -> float:
        there, lost = self._carry(now, size)
        self._account(now, there, segments, lost)
        return there

    def _account(self, now: float, there: float, segments: int, lost: int) -> None:
        """Segments have been sent, of which some were lost."""
        self._sent = now
        if segments > lost:
            self._note(there + self._back, segments - lost, now)
        self._out += segments
        self._most_out = max(self._most_out, self._out)
        self._limited = self._limited or self._out >= int(self.window)
        if lost:
            self._miss(now, lost, self._out > segments)
        elif self._lost:
            self._later += segments
            if self._later >= REORDERING:
                self._notice(there + self._back)

    def _note(self, acknowledged: float, segments: int, now: float) -> None:
        """Every second segment is acknowledged, as the line brings it (RFC 5681, 4.2)."""
        frame, flights = self._pair.frame, self._flights
        while frame and segments > ACKNOWLEDGED:
            segments -= ACKNOWLEDGED
            when = acknowledged - segments * frame
            flights.append((max(when, flights[-1][0]) if flights else when, ACKNOWLEDGED, now))
        flights.append((acknowledged, segments, now))

    def _settle(self, now: float) -> None:
        """Take in acknowledgements that have come."""
        flights = self._flights
        while flights and flights[0][0] <= now:
            when, segments, sent = flights.popleft()
            self._out -= segments
            trip = when - sent
            self._variation += (abs(trip - self._trip) - self._variation) / 4
            self._trip += (trip - self._trip) / 8
            grown, self._grown = segments + self._grown, 0
            if self.window < self._threshold:
                if self._limited or self.window < 2 * self._most_out:
                    self.window += grown
            elif self._limited:
                self.window += segments / self.window
            self.window = min(self.window, LARGEST_WINDOW)

    def _wake(self, now: float) -> None:
        """Begin to send when nothing is under way: after a pause the window counts for less."""
        idle = now - self._sent - self.timeout
        if idle > 0 and self.window > INITIAL_WINDOW:
            halvings = min(math.ceil(idle / self.timeout), 16)
            self.window = max(int(self.window) >> halvings, INITIAL_WINDOW)
        self._limited, self._most_out = False, 0

    def _finish(self, landed: Landed, there: float) -> None:
        self._last = there = max(there, self._last)
        if self._lost:
            self._parked.append((landed, there))
        else:
            landed(there)

    # -- loss

    def _miss(self, now: float, lost: int, others: bool) -> None:
        """Segments are lost: nothing behind them is handed up, and they count as under way, until they have been repaired."""
        if not self._lost:
            self._later = 0
            # A probe after two round trips finds out if others are under way; else only the timer does (RFC 8985, 7.2).
            timer = min(self.timeout * 2**self._backoff, LONGEST_TIMEOUT)
            self._notice(now + (min(2 * self._trip, self.timeout) if others else timer) + self._trip * others)
        self._lost += lost

    def _notice(self, when: float) -> None:
        """Take segments for lost at a time, or earlier."""
        if when < self._repair_at:
            if self._repair is not None:
                self._repair.cancel()
            self._repair_at = when
            self._repair = self._loop.call_at(when, self._retransmit)

    def _retransmit(self) -> None:
        now = self._loop.time()
        self._settle(now)
        self._repair, self._repair_at = None, math.inf
        self._threshold = self.window = max(self.window / 2, 2.0)
        missing, self._lost = self._lost, 0
        there, again = self._carry(now, missing * MSS, repair=True)
        self._backoff = self._backoff + 1 if again >= missing else 0
        if missing > again:
            self._note(there + self._back, missing - again, now)
        self._last = max(self._last, there)
        if again:
            self._miss(now, again, False)
        else:
            self._heard()
            parked, self._parked = self._parked, []
            for landed, before in parked:
                landed(max(before, there))
        if self._timer is None:
            self._pump(now)
