"""Turns TCP packets into exchanges: a burst of bytes to the server, and the burst with which it answers.

An *exchange* begins with the first byte that a client sends after an answer (or at all) and ends with the last byte that the server
sends before the next one. So much can be seen of any program without knowing its protocol. What cannot be seen so: requests that
are sent on one connection before the last one is answered count as one, with one answer.

Bytes count once they are there in order: what is sent again, split, bundled or overtaken changes nothing, and what the capture
itself lost is known from the other side's acknowledgements. At the sender the times are those of sending, at the receiver those of
arriving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from estran.observe.packets import ACK, FIN, RST, SYN, Packet

SILENCE: Final = 1.0
"""Seconds after which an answer is over; what a server sends later, unasked, is an exchange without a request."""
FORGET: Final = 60.0
"""Seconds for which a closed connection is remembered: packets that were under way must not look like a new one."""

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000

Endpoint: TypeAlias = tuple[int, int]
"""Address (as a number) and port."""


class Exchange(NamedTuple):
    """One exchange on one connection; times are seconds of the run's clock, None where there was nothing.

    Attributes
    ----------
    connection
        How many connections between these two endpoints came before.
    number
        How many exchanges of this connection came before.
    opened
        When the connection was asked for; None if it was there before the capture.
    """

    client: Endpoint
    server: Endpoint
    connection: int
    number: int
    opened: float | None
    request_bytes: int
    request_first: float | None
    request_last: float | None
    answer_bytes: int
    answer_first: float | None
    answer_last: float | None


class Burst:
    """Bytes in one direction, with the times of the first and the last."""

    __slots__ = ("bytes", "first", "last")

    def __init__(self) -> None:
        self.bytes = 0
        self.first: float | None = None
        self.last: float | None = None

    def add(self, size: int, time: float) -> None:
        """Bytes that were there in order at that time."""
        self.bytes += size
        self.first = time if self.first is None else self.first
        self.last = time


class Way:
    """The bytes of one direction of a connection, put in order by their sequence numbers."""

    __slots__ = ("_early", "_end", "_next")

    def __init__(self) -> None:
        self._next: int | None = None
        self._end: int | None = None
        self._early: list[tuple[int, int]] = []

    @property
    def ending(self) -> bool:
        """Whether its end was seen."""
        return self._end is not None

    @property
    def ended(self) -> bool:
        """Whether everything up to its end is there."""
        return self._end is not None and self._next == self._end

    def take(self, packet: Packet) -> int:
        """Take a packet in; return how many bytes are in order now that were not before."""
        sequence = packet.sequence
        if packet.flags & SYN:
            self._next, sequence = (sequence + 1) & _MASK, (sequence + 1) & _MASK
        if packet.flags & FIN:
            self._end = (sequence + packet.size) & _MASK
        if self._next is None:
            self._next = sequence
        if not packet.size:
            return 0
        begin = _distance(self._next, sequence)
        if begin > 0:
            self._early.append((sequence, packet.size))
            return 0
        gained = max(begin + packet.size, 0)
        self._next = (self._next + gained) & _MASK
        return gained + self._catch_up() if gained and self._early else gained

    def acknowledged(self, sequence: int) -> int:
        """The other side has everything up to here; return how many bytes of that were never seen."""
        if self._next is None:
            self._next = sequence
        if self._end is not None and _distance(self._end, sequence) > 0:
            sequence = self._end  # the end itself has a number, and is no byte
        missed = max(_distance(self._next, sequence), 0)
        self._next = (self._next + missed) & _MASK
        return missed + self._catch_up() if missed and self._early else missed

    def _catch_up(self) -> int:
        """Bytes that came early and follow now."""
        assert self._next is not None
        here, gained = self._next, 0
        for begin, end in sorted((_distance(here, start), _distance(here, start) + size) for start, size in self._early):
            if begin <= gained:
                gained = max(gained, end)
        self._next = (here + gained) & _MASK
        self._early = [(start, size) for start, size in self._early if _distance(self._next, start) > 0]
        return gained


class Connection:
    """One connection and the exchange that is under way on it."""

    __slots__ = ("answer", "client", "closed", "count", "index", "opened", "request", "server", "to_client", "to_server", "touched")

    def __init__(self, client: Endpoint, server: Endpoint, index: int, opened: float | None) -> None:
        self.client = client
        self.server = server
        self.index = index
        self.opened = opened
        self.count = 0
        self.request, self.answer = Burst(), Burst()
        self.to_server, self.to_client = Way(), Way()
        self.closed = False
        self.touched = 0.0

    def take(self, packet: Packet) -> list[Exchange]:
        """Take a packet in; return the exchanges that it ends."""
        self.touched = packet.time
        asking = (packet.source, packet.source_port) == self.client
        ahead, back = (self.to_server, self.to_client) if asking else (self.to_client, self.to_server)
        ended: list[Exchange] = []
        if packet.flags & (ACK | SYN) == ACK:  # what it answers to came before it
            self._count(back.acknowledged(packet.acknowledged), packet.time, ended, asking=not asking)
        self._count(ahead.take(packet), packet.time, ended, asking=asking)
        if packet.flags & RST or (self.to_server.ended and self.to_client.ended):
            self.closed = True
            self._end(ended)
        return ended

    def _count(self, size: int, time: float, ended: list[Exchange], *, asking: bool) -> None:
        if not size:
            return
        if asking and self.answer.bytes:
            self._end(ended)
        (self.request if asking else self.answer).add(size, time)

    def _end(self, ended: list[Exchange]) -> None:
        if (exchange := self.end()) is not None:
            ended.append(exchange)

    @property
    def ending(self) -> bool:
        """Whether it is about to be closed."""
        return self.to_server.ending or self.to_client.ending

    def quiet(self, now: float) -> Exchange | None:
        """The exchange that has been answered and was followed by silence, if so."""
        last = self.answer.last
        return self.end() if last is not None and now - last > SILENCE else None

    def end(self) -> Exchange | None:
        """What is under way, if anything; the next exchange begins."""
        if not (self.request.bytes or self.answer.bytes):
            return None
        asked, answered = self.request, self.answer
        self.request, self.answer = Burst(), Burst()
        self.count += 1
        return Exchange(
            self.client, self.server, self.index, self.count - 1, self.opened,
            asked.bytes, asked.first, asked.last, answered.bytes, answered.first, answered.last,
        )  # fmt: skip


class Reassembler:
    """Follows all connections that packets belong to.

    Parameters
    ----------
    listens
        Whether somebody is known to listen at an endpoint: tells server from client where the beginning was not seen.
    """

    def __init__(self, listens: Callable[[Endpoint], bool]) -> None:
        self._listens = listens
        self._connections: dict[tuple[Endpoint, Endpoint], Connection] = {}
        self._earlier: dict[tuple[Endpoint, Endpoint], int] = {}
        self._closed: dict[tuple[Endpoint, Endpoint], float] = {}  # when, oldest first

    def take(self, packets: Iterable[Packet]) -> tuple[list[Exchange], list[Connection]]:
        """Take packets in; return the exchanges that have ended and the connections that are new."""
        ended: list[Exchange] = []
        opened: list[Connection] = []
        for packet in packets:
            source, target = (packet.source, packet.source_port), (packet.target, packet.target_port)
            key = (source, target) if source < target else (target, source)
            connection = self._connections.get(key)
            if connection is None or _anew(connection, packet):
                if not packet.flags & SYN and (not packet.size or key in self._closed):
                    continue
                if connection is not None and (left := connection.end()) is not None:
                    ended.append(left)
                connection = self._connections[key] = self._open(key, source, target, packet)
                opened.append(connection)
            ended += connection.take(packet)
            if connection.closed:
                del self._connections[key]
                self._closed[key] = packet.time
        return ended, opened

    def _open(self, key: tuple[Endpoint, Endpoint], source: Endpoint, target: Endpoint, packet: Packet) -> Connection:
        index = self._earlier.get(key, 0)
        self._earlier[key] = index + 1
        self._closed.pop(key, None)
        if packet.flags & SYN:
            asks = not packet.flags & ACK
        else:
            asks = self._listens(target) or (not self._listens(source) and source[1] > target[1])
        client, server = (source, target) if asks else (target, source)
        return Connection(client, server, index, packet.time if packet.flags & SYN and asks else None)

    def expire(self, now: float) -> list[Exchange]:
        """Exchanges that silence has ended; connections that were closed long ago are forgotten."""
        ended = [exchange for each in self._connections.values() if (exchange := each.quiet(now)) is not None]
        for key in [key for key, each in self._connections.items() if each.ending and now - each.touched > FORGET]:
            del self._connections[key]
        while self._closed and now - self._closed[oldest := next(iter(self._closed))] > FORGET:
            del self._closed[oldest]
        return ended

    def finish(self) -> list[Exchange]:
        """Everything that is still under way."""
        return [exchange for connection in self._connections.values() if (exchange := connection.end()) is not None]


def _anew(connection: Connection, packet: Packet) -> bool:
    """Whether a packet opens another connection between the same endpoints; a SYN that is sent again does not."""
    begins = packet.flags & (SYN | ACK) == SYN
    return bool(begins and (connection.count or connection.request.bytes or connection.answer.bytes))


def _distance(origin: int, sequence: int) -> int:
    """How far a sequence number lies behind another, positive or negative: they wrap."""
    return ((sequence - origin + _HALF) & _MASK) - _HALF
