"""The network in virtual time: every directed pair of hosts has a line that messages share, first come, first served.

A message takes the line's delay and jitter, waits until the line is free, and occupies it for its size on the wire: the same
arithmetic as in the emulated relays, on whole messages instead of packets. A *connection* (one per pair of replicas, as TCP has
it) keeps messages in order, sends no more ahead than its window, and recovers lost segments.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.platforms.emulated.links.relay_core import MSS, Line, generator, queue_seconds, stream_wire_size
from estran.runtime.lane import FORWARD_SIZE
from estran.spec.model import LinkSpec

ENVELOPE: Final = FORWARD_SIZE + 4 + 14
"""Bytes that stream and transport protocols add to a small message: our header, its size, and zenoh's."""
ANSWER: Final = 62
"""Bytes of an acknowledgement, TCP and below not counted."""
HEADERS: Final = 66
"""Bytes that Ethernet, IP and TCP with timestamps add to each segment, as an interface counts them."""
ANSWER_PERIOD: Final = 0.01
"""Seconds: acknowledgements of messages that come closer together are one."""

LEAST_TIMEOUT: Final = 0.2
"""Seconds that TCP waits at least for an acknowledgement beyond the round trip (RFC 6298 as Linux has it)."""
REORDERING: Final = 3
"""Segments that must have come later before TCP takes one for lost (RFC 5681)."""
CEILING: Final = 16 << 20
"""Bytes that a stream has under way at the most."""
PIECE: Final = 2e-3
"""Seconds of a line's time that a piece of a large message takes; others may go between two pieces."""


def on_wire(frame: int) -> int:
    """Bytes of a message as the host's interface counts them."""
    payload = frame + -frame % 8 + ENVELOPE
    return payload + HEADERS * max(1, -(-payload // MSS))


@dataclass(slots=True)
class Traffic:
    """What a host's interface has counted."""

    sent: int = 0
    received: int = 0


class Pair:
    """One directed pair of hosts."""

    def __init__(self, source: str, target: str, link: LinkSpec, seed: int) -> None:
        self.link = link
        self._line = Line(link, generator(seed, source, target), lossless=True)
        self._luck = generator(seed, target, source)
        self._until_loss = self._gap()

    def carry(self, now: float, payload: int) -> tuple[float, int]:
        """Take bytes of a stream in; when the last of them is there, and how many of its segments were lost on the way."""
        size, segments = stream_wire_size(payload)
        there = self._line.depart(now, size, segments)
        assert there is not None  # a lossless line
        return there, self._lost(segments)

    def _lost(self, segments: int) -> int:
        lost = 0
        self._until_loss -= segments
        while self._until_loss <= 0:
            lost += 1
            self._until_loss += self._gap()
        return lost

    def _gap(self) -> float:
        return float(self._luck.geometric(self.link.loss)) if self.link.loss > 0 else float("inf")


class Connection:
    """One replica's connection to another, whichever streams share it: order, and recovery from loss."""

    def __init__(self, pair: Pair, trip: float) -> None:
        self.trip = trip
        self._pair = pair
        self._last = self._previous = -1.0
        self._gap = LEAST_TIMEOUT

    def send(self, now: float, payload: int) -> float:
        """Send bytes; return when they are there, all that went before them included."""
        there, lost = self._pair.carry(now, payload)
        if self._previous >= 0:
            self._gap += (min(now - self._previous, LEAST_TIMEOUT) - self._gap) / 4
        self._previous = now
        if lost:
            there += self._recovery(payload)
        self._last = there = max(there, self._last)
        return there

    def _recovery(self, payload: int) -> float:
        """Seconds that a loss costs: until later segments have told of it, or until the timer has."""
        segments = payload / MSS
        told = 0.0 if segments > REORDERING else (REORDERING - segments + 1) * self._gap
        return self.trip + min(told, LEAST_TIMEOUT)


class Window:
    """How much of one stream may be under way on a line.

    In the steady state the delivery protocol's window (`estran.runtime.flight.Flight`) holds what the line carries in one and a
    half idle round trips and the queueing that it accepts; TCP below it holds no more than a round trip and the line's queue.

    Parameters
    ----------
    trip
        Idle round trip, seconds.
    floor, initial, queueing
        Those of the protocol, in bytes and seconds.
    """

    def __init__(self, link: LinkSpec, trip: float, *, floor: int, initial: int, queueing: float) -> None:
        size = float(CEILING)
        if link.rate is not None:
            protocol = max(link.rate / 8 * (1.5 * trip + queueing), floor)
            size = min(max(protocol, initial), link.rate / 8 * (trip + queue_seconds(link)), CEILING)
        if link.loss > 0:
            # Loss holds a stream to so many segments per round trip (Mathis et al. 1997, eq. 3).
            size = min(size, MSS * math.sqrt(1.5 / link.loss))
        self.size = max(int(size), 10 * MSS)
        self.piece = piece(link)
        self._flying: deque[tuple[float, int]] = deque()
        self._in_flight = 0

    def room(self, now: float) -> int:
        """Bytes that may be sent now; all that there are while nothing is under way."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            self._in_flight -= flying.popleft()[1]
        return self.size - self._in_flight

    def room_at(self, wanted: int) -> float:
        """When there will be room for so many bytes, at most a piece; there is something under way."""
        lacking = min(wanted, self.piece) - (self.size - self._in_flight)
        for landed, size in self._flying:
            lacking -= size
            if lacking <= 0:
                return landed
        return self._flying[-1][0]

    def sent(self, landed: float, size: int) -> None:
        """Note bytes that are under way until a time."""
        self._in_flight += size
        self._flying.append((landed, size))


class Network:
    """All lines of a run.

    Parameters
    ----------
    links
        Source, target and what was asked of the line; pairs that are not among them are not slowed.
    """

    def __init__(self, links: Iterable[tuple[str, str, LinkSpec]], seed: int) -> None:
        self._links = {(source, target): link for source, target, link in links}
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._seed = seed
        self.traffic: dict[str, Traffic] = {}

    def link(self, source: str, target: str) -> LinkSpec:
        """What was asked of a pair's line."""
        return self._links.get((source, target), LinkSpec())

    def pair(self, source: str, target: str) -> Pair:
        """The line from one host to another."""
        found = self._pairs.get((source, target))
        if found is None:
            found = self._pairs[source, target] = Pair(source, target, self.link(source, target), self._seed)
        return found

    def counted(self, host: str) -> Traffic:
        """A host's counters."""
        return self.traffic.setdefault(host, Traffic())


def piece(link: LinkSpec) -> int:
    """Bytes of a large message that go in one piece."""
    return 1 << 16 if link.rate is None else int(min(max(link.rate / 8 * PIECE, 4 * MSS), 1 << 16))


class UniformDraws:
    """Uniform variates from the open interval, drawn from a generator in blocks."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def __call__(self) -> float:
        if not self._block:
            self._block = (1.0 - self._rng.random(256)).tolist()
        return min(self._block.pop(), 1.0 - 2.0**-53)
