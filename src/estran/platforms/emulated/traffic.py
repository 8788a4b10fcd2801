"""Links shaped by the kernel: rates where packets leave their host, delay, jitter and loss where the core sends them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from estran.errors import PlatformError
from estran.platforms.emulated import namespace, queueing
from estran.platforms.emulated.engine import Links
from estran.platforms.emulated.fabric import Fabric, HostNet
from estran.platforms.emulated.netlink import Netlink, Request, segments_per_packet
from estran.spec.model import LinkSpec

SLOW: Final = 50e6
"""Bits per second up to which each packet is one frame: bundles would leave in bursts that such a link never shows."""

QUEUE: Final = 0.1
"""Seconds at the link's rate that may wait in front of it."""

_FEWEST_FRAMES: Final = 10  # TCP's first window: a shorter queue would lose part of every transfer's start
_BURST: Final = 0.002  # what a late timer may make up for
_BURST_FRAMES: Final = 2
_MOST_SEGMENTS: Final = 65535
_MOST_CLASSES: Final = 0xFFFE

Sorter = Callable[[Links], list[Request]]


class Classes:
    """The classes of one interface: which peer's packets go where."""

    def __init__(self, interface: int, field: queueing.Field, *, on_wire: bool) -> None:
        self._interface, self._field, self._on_wire = interface, field, on_wire
        self._minors: dict[object, int] = {}
        self._assigned: dict[str, int] = {}

    def prepare(self) -> list[Request]:
        """Requests that set the interface up, the first time only."""
        return [] if self._minors else queueing.sort_by(self._interface, self._field, on_wire=self._on_wire)

    def minor(self, key: object) -> tuple[int, bool]:
        """The number of the class for a key, and whether it is new."""
        new = key not in self._minors
        if new and len(self._minors) >= _MOST_CLASSES:
            raise PlatformError(f"one host has more than {_MOST_CLASSES} shaped links", remedy="spread them over more hosts")
        return self._minors.setdefault(key, len(self._minors) + 1), new

    def assign(self, address: str, minor: int) -> list[Request]:
        """Requests that put an address's packets into a class."""
        if address in self._assigned:
            return []
        self._assigned[address] = minor
        return [queueing.assign(self._interface, self._field, address, minor)]

    def remove(self) -> list[Request]:
        """Requests that remove all."""
        return [queueing.unsort(self._interface)] if self._minors else []


class RateLimits:
    """Limits the rate of each directed pair of hosts, in the source host's own queue.

    A link's rate counts bytes on the wire (`queueing.wire_size`), so that TCP's goodput over a full link of rate r is
    1448/1538 r. Each link has a queue of its own, `QUEUE` long, that drops at its end.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._classes = {name: Classes(host.interface_index, "destination", on_wire=True) for name, host in fabric.hosts.items()}
        self._links: dict[str, dict[str, LinkSpec]] = {name: {} for name in fabric.hosts}

    def apply(self, links: Links) -> None:
        """Limit links from now on; those not named stay as they are.

        Raises
        ------
        PlatformError
            If the kernel refuses.
        """
        by_source: dict[str, dict[str, LinkSpec]] = {}
        for (source, target), link in links.items():
            by_source.setdefault(source, {})[target] = link
        for source, wanted in by_source.items():
            requests = list(self._requests(source, wanted))
            if requests:
                _send(self._fabric.hosts[source].namespace_fd, requests)

    def _requests(self, source: str, wanted: Mapping[str, LinkSpec]) -> Iterator[Request]:
        host, classes, before = self._fabric.hosts[source], self._classes[source], segments(self._links[source].values())
        for target, link in wanted.items():
            if link.rate is not None or target in self._links[source]:
                yield from classes.prepare()
                yield from self._limit(host, classes, target, link)
        self._links[source] |= wanted
        after = segments(self._links[source].values())
        if after != before:
            yield segments_per_packet(host.interface_index, after)

    def _limit(self, host: HostNet, classes: Classes, target: str, link: LinkSpec) -> Iterator[Request]:
        minor, _ = classes.minor(target)
        yield queueing.limit_class(host.interface_index, minor, link.rate, burst(link.rate))
        yield queueing.bound_queue(host.interface_index, minor, queue_size(link.rate))
        yield from classes.assign(self._fabric.address(host.name, target), minor)

    def remove(self) -> None:
        """Let all packets pass at full speed again; those that wait are lost."""
        for name, classes in self._classes.items():
            host = self._fabric.hosts[name]
            requests = classes.remove()
            if segments(self._links[name].values()) != _MOST_SEGMENTS:
                requests.append(segments_per_packet(host.interface_index, _MOST_SEGMENTS))
            if requests:
                _send(host.namespace_fd, requests)


@contextmanager
def limited(fabric: Fabric) -> Iterator[RateLimits]:
    """Limit the rates of ``fabric.links`` until the context is left.

    Raises
    ------
    PlatformError
        If the kernel refuses.
    """
    limits = RateLimits(fabric)
    try:
        limits.apply(fabric.links)
        yield limits
    finally:
        limits.remove()


def segments(links: Iterable[LinkSpec]) -> int:
    """How many TCP segments a host with these links may hand down as one packet: one if any of them is slow or lossy.

    Loss must take single frames, not bundles of up to 45, and a bundle of 64 kB is 52 ms long at 10 Mbit/s.
    """
    delicate = any(link.loss > 0 or (link.rate is not None and link.rate <= SLOW) for link in links)
    return 1 if delicate else _MOST_SEGMENTS


def burst(rate: float | None) -> float:
    """Seconds at a rate that may leave at once after idling."""
    return 1.0 if rate is None else max(_BURST, _BURST_FRAMES * queueing.FRAME * 8 / rate)


def queue_size(rate: float | None) -> int:
    """Bytes that may wait in front of a link of a rate."""
    return 2**30 if rate is None else max(_FEWEST_FRAMES * queueing.FRAME, round(rate / 8 * QUEUE))


def _send(descriptor: int, requests: Iterable[Request]) -> None:
    with namespace.entered(descriptor), Netlink() as netlink:
        netlink.send(requests)
