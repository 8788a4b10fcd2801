"""When each packet that passes a relay must leave: delay, jitter, loss and rate of every directed pair of hosts.

A relay reads packets, asks a `Schedule` for their departures and lets them go in that order. All of it is arithmetic on
times handed in: nothing here knows a clock, a socket or a kernel, so that every property can be tested.

The order of effects along a line is *propagation, then serialization*: a packet first travels (delay plus jitter, never
overtaking its predecessor), then waits until the line is free, then occupies it for its size on the wire. The line's rate
therefore holds at its far end whatever the jitter does, and queueing appears where a bottleneck is, as bytes waiting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from socket import inet_aton
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from zlib import crc32

import numpy as np
from numpy.random import Generator

from estran.spec.model import LinkSpec

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

ETHERNET_OVERHEAD: Final = 38
"""Bytes that Ethernet adds to an IP packet: preamble 8, header 14, check sequence 4, gap 12 (IEEE 802.3)."""

SMALLEST_FRAME: Final = 84
"""Bytes that the smallest Ethernet frame occupies on the wire, preamble and gap included (IEEE 802.3)."""

MTU: Final = 1500
MSS: Final = 1448
"""Payload of a full TCP segment with timestamps: 1500 - 20 (IP) - 20 (TCP) - 12 (options)."""

FULL_FRAME: Final = MTU + ETHERNET_OVERHEAD

_BLOCK: Final = 512
_TCP: Final = 6

Item = TypeVar("Item")


def queue_seconds(link: LinkSpec) -> float:
    """How long a packet may wait for the line before it is dropped, seconds.

    The longest of 50 ms (a router's usual bound), the link's round trip (one bandwidth-delay product, so that a single
    TCP stream can fill it) and 32 full frames (so that the initial window of a stream fits on a slow link).
    """
    if link.rate is None:
        return math.inf
    return max(0.05, 2 * link.delay, 32 * FULL_FRAME * 8 / link.rate)


def wire_size(header: bytes | bytearray | memoryview, length: int, mtu: int = MTU) -> tuple[int, int]:
    """Bytes on the wire, and frames, of an IPv4 packet that may be a super-packet (GSO).

    Parameters
    ----------
    header
        At least the packet's first 33 bytes.
    length
        Bytes of the whole IP packet.

    Returns
    -------
    tuple of int
        Bytes with every segment's own headers and Ethernet's overhead, and the number of segments.
    """
    if length <= mtu:
        return max(length + ETHERNET_OVERHEAD, SMALLEST_FRAME), 1
    network = (header[0] & 15) * 4
    headers = network + ((header[network + 12] >> 4) * 4 if header[9] == _TCP else 8)
    segments = -(-(length - headers) // (mtu - headers))
    return length + (segments - 1) * headers + segments * ETHERNET_OVERHEAD, segments


def stream_wire_size(payload: int) -> tuple[int, int]:
    """Bytes on the wire, and frames, that ``payload`` bytes of a TCP stream would take on Ethernet."""
    segments = max(1, -(-payload // MSS))
    return payload + segments * (FULL_FRAME - MSS), segments


def generator(seed: int, source: str, target: str) -> Generator:
    """The random numbers of one directed pair: the same for the same seed, whatever other pairs exist."""
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(source.encode()), crc32(target.encode())]))


class Line:
    """One directed pair's line.

    Parameters
    ----------
    link
        What was asked of it.
    rng
        Its own source of randomness, drawn in blocks.
    lossless
        Let packets wait as long as they must and lose none: for relays of streams, which may not lose a byte.

    Attributes
    ----------
    packets, bytes
        Frames and bytes on the wire offered so far.
    lost
        Packets lost by chance, as asked.
    overflowed
        Packets dropped because they would have waited longer than `queue_seconds`.
    """

    __slots__ = (
        "_arrived", "_free", "_jitters", "_losses", "_lossless", "_patience", "_per_byte", "_rng", "_until_loss",
        "bytes", "link", "lost", "overflowed", "packets",
    )  # fmt: skip

    def __init__(self, link: LinkSpec, rng: Generator, *, lossless: bool = False) -> None:
        self._lossless = lossless
        self.link = link
        self.packets = self.bytes = self.lost = self.overflowed = 0
        self._rng = rng
        self._arrived = self._free = -math.inf
        self._jitters = self._normals()
        self.change(link)

    @property
    def free(self) -> float:
        """When the line has sent all that it was given."""
        return self._free

    def change(self, link: LinkSpec) -> None:
        """Do ``link`` to packets from the next one on; those that are under way keep their departures and their order."""
        self.link = link
        self._per_byte = 8 / link.rate if link.rate else 0.0
        self._patience = math.inf if self._lossless else queue_seconds(link)
        self._losses = self._gaps()
        self._until_loss = next(self._losses) if link.loss and not self._lossless else math.inf

    def depart(self, now: float, size: int, frames: int = 1) -> float | None:
        """Take one packet in.

        Parameters
        ----------
        now
            When it arrived, seconds; never less than at the call before.
        size, frames
            Its bytes on the wire, and the frames that they are in (each may be lost, and then the whole is).

        Returns
        -------
        float or None
            When it leaves, never before a packet taken earlier; None if it is lost.
        """
        self.packets += frames
        self.bytes += size
        link = self.link
        delay = link.delay + link.jitter * next(self._jitters) if link.jitter else link.delay
        arrived = self._arrived = max(self._arrived, now + delay if delay > 0 else now)
        start = max(arrived, self._free)
        if start - arrived > self._patience:
            self.overflowed += frames
            return None
        leaves = self._free = start + size * self._per_byte
        return None if self._until_loss is not math.inf and self._strikes(frames) else leaves

    def _strikes(self, frames: int) -> bool:
        self._until_loss -= frames
        if self._until_loss > 0:
            return False
        self.lost += frames
        while self._until_loss <= 0:
            self._until_loss += next(self._losses)
        return True

    def _normals(self) -> Iterator[float]:
        while True:
            yield from self._rng.standard_normal(_BLOCK).tolist()

    def _gaps(self) -> Iterator[int]:
        """How many packets until the next loss: one draw per loss instead of one per packet."""
        while True:
            yield from self._rng.geometric(self.link.loss, _BLOCK).tolist()


def lines(links: Mapping[tuple[str, str], LinkSpec], seed: int, *, lossless: bool = False) -> dict[str, Line]:
    """One line for each directed pair, by ``source>target``."""
    return {f"{a}>{b}": Line(link, generator(seed, a, b), lossless=lossless) for (a, b), link in links.items()}


def pair_key(fabric: Fabric) -> Callable[[str, str], bytes]:
    """What identifies a pair of a fabric's hosts in an IPv4 header."""
    return lambda source, target: inet_aton(fabric.hosts[source].address) + inet_aton(fabric.hosts[target].address)


def keyed(links: Iterable[tuple[str, str]], addresses: Mapping[str, str], all_lines: Mapping[str, Line]) -> dict[bytes, Line]:
    """The lines by what identifies a pair in an IPv4 header: its source and target address."""
    packed = {name: inet_aton(address) for name, address in addresses.items()}
    return {packed[a] + packed[b]: all_lines[f"{a}>{b}"] for a, b in links}


class Schedule(Generic[Item]):
    """What waits in a relay, in order of departure.

    Parameters
    ----------
    lines
        By the key under which the relay meets a pair's packets; a pair without a line passes at once.
    lossless
        What a cut pair has to say waits until it is mended; else it is lost.

    Attributes
    ----------
    severed
        Packets that were lost to a cut. They draw no random numbers, so that later ones fare as they would have without them.
    """

    __slots__ = ("_count", "_down", "_heap", "_held", "_lines", "_lossless", "severed", "undeclared")

    def __init__(self, lines: Mapping[bytes, Line], *, lossless: bool = False) -> None:
        self._lines = dict(lines)
        self._lossless = lossless
        self._heap: list[tuple[float, int, Item]] = []
        self._down: set[bytes] = set()
        self._held: list[tuple[bytes, int, int, Item]] = []
        self._count = 0
        self.undeclared = self.severed = 0

    def __len__(self) -> int:
        return len(self._heap)

    def offer(self, now: float, key: bytes, size: int, frames: int, item: Item) -> bool:
        """Take a packet in; False if it is lost, so that the caller may forget it."""
        line = self._lines.get(key)
        if self._down and key in self._down:
            if self._lossless:
                self._held.append((key, size, frames, item))
            else:
                self.severed += frames
            return self._lossless
        if line is None:
            self.undeclared += 1
            departure: float | None = now
        else:
            departure = line.depart(now, size, frames)
        if departure is None:
            return False
        # The count keeps packets that leave at the same instant in the order of their arrival.
        self._count += 1
        heappush(self._heap, (departure, self._count, item))
        return True

    def cut(self, keys: Iterable[bytes]) -> None:
        """Let nothing of some pairs in from now on; what is under way arrives."""
        self._down.update(keys)

    def mend(self, keys: Iterable[bytes], now: float) -> None:
        """Let them in again, first what has waited."""
        self._down.difference_update(keys)
        held, self._held = self._held, []
        for key, size, frames, item in held:
            self.offer(now, key, size, frames, item)

    def next(self) -> float | None:
        """When the next packet leaves; None while nothing waits."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Item]:
        """Take out all that leaves up to ``now``, in order."""
        heap, items = self._heap, []
        while heap and heap[0][0] <= now:
            items.append(heappop(heap)[2])
        return items
