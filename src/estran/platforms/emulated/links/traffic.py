"""Links shaped by the kernel: rates where packets leave their host, delay, jitter and loss where the core sends them on."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from estran.errors import PlatformError
from estran.platforms.emulated.links import queueing, throwaway
from estran.platforms.emulated.links.engine import Links, Trial
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.netlink import Netlink, Request
from estran.spec.model import LinkSpec

QUEUE: Final = 0.1
"""Seconds at the link's rate that may wait in front of it."""

_FEWEST_FRAMES: Final = 10  # TCP's first window: a shorter queue would lose part of every transfer's start
_SLACK: Final = 0.002
_SLACK_BEFORE_NETEM: Final = 0.01  # netem spaces packets exactly: what comes in a burst does not leave in one
_MOST_CLASSES: Final = 0xFFFE
_MOST_UNDER_WAY: Final = 1_000_000

LIMITS: Final[Mapping[str, str]] = {
    "jitter": "normal around the delay; a packet that would overtake its predecessor leaves right behind it",
    "seed": "the kernel draws jitter and losses itself: they differ from run to run whatever the experiment's seed",
}


class Classes:
    """The classes of one interface, one for each peer whose packets it shapes."""

    def __init__(self, interface: int, field: queueing.Field) -> None:
        self.interface = interface
        self._field = field
        self._minors: dict[str, int] = {}

    def __contains__(self, peer: str) -> bool:
        return peer in self._minors

    def shape(self, peer: str, address: str, limit: tuple[float | None, float]) -> tuple[int, list[Request]]:
        """The number of a peer's class, and the requests that make it, or change its rate and burst."""
        if peer in self._minors:
            return self._minors[peer], [queueing.limit_class(self.interface, self._minors[peer], *limit)]
        if len(self._minors) >= _MOST_CLASSES:
            raise PlatformError(f"a host has more than {_MOST_CLASSES} shaped links", remedy="spread them over more hosts")
        requests = [] if self._minors else queueing.sort_by(self.interface, self._field)
        minor = self._minors[peer] = len(self._minors) + 1
        requests.append(queueing.limit_class(self.interface, minor, *limit))
        requests.append(queueing.assign(self.interface, self._field, address, minor))
        return minor, requests

    def remove(self) -> list[Request]:
        """The requests that remove all classes."""
        requests = [queueing.unsort(self.interface)] if self._minors else []
        self._minors = {}
        return requests


class RateLimits:
    """Limits the rate of each directed pair of hosts, in the source host's own queue.

    A link's rate counts bytes on the wire (`queueing.wire_size`), so that TCP's goodput over a full link of rate r is
    1448/1538 r. Each link has a queue of its own, `QUEUE` long, that drops at its end. The kernel holds back what would
    exceed the rate, but nothing for its own time on the wire: a single packet, or the first ones after an idle time,
    pass at once. An engine that delays packets can add that.

    Parameters
    ----------
    slack
        Seconds by which a late timer may be made up for, and so at the rate what may leave at once after idling.
    """

    def __init__(self, fabric: Fabric, slack: float = _SLACK) -> None:
        self._fabric, self._slack = fabric, slack
        self._classes = {name: Classes(host.interface_index, "destination") for name, host in fabric.hosts.items()}

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
            _send(self._fabric.hosts[source].namespace_fd, list(self._requests(source, wanted)))

    def _requests(self, source: str, wanted: Mapping[str, LinkSpec]) -> Iterator[Request]:
        classes = self._classes[source]
        for target, link in wanted.items():
            if link.rate is not None or target in classes:
                minor, requests = classes.shape(target, self._fabric.address(source, target), (link.rate, self._burst(link.rate)))
                yield from requests
                yield queueing.bound_queue(classes.interface, minor, queue_size(link.rate))

    def _burst(self, rate: float | None) -> float:
        return 1.0 if rate is None else max(self._slack, queueing.FRAME * 8 / rate)

    def remove(self) -> None:
        """Let all packets pass at full speed again; those that wait are lost."""
        for source, classes in self._classes.items():
            _remove(self._fabric.hosts[source].namespace_fd, classes.remove())


@contextmanager
def limited(fabric: Fabric) -> Iterator[RateLimits]:
    """Limit the rates of ``fabric.links`` until the context is left.

    Raises
    ------
    PlatformError
        If the kernel refuses.
    """
    with _removed(RateLimits(fabric)) as limits:
        limits.apply(fabric.links)
        yield limits


def queue_size(rate: float | None) -> int:
    """Bytes that may wait in front of a link of a rate."""
    return 2**30 if rate is None else max(_FEWEST_FRAMES * queueing.FRAME, round(rate / 8 * QUEUE))


class NetemRunning:
    """netem at work: each link's time on the wire, delay, jitter and loss, where the core sends its packets on.

    Parameters
    ----------
    fabric
        Up; its links are the only ones that can be shaped and updated.
    rates
        Limits the links' rates, and so bounds their queues, before: packets wait at their source, as on a real link.
    """

    pid: int | None = None

    def __init__(self, fabric: Fabric, rates: RateLimits) -> None:
        self._fabric, self._rates = fabric, rates
        self._classes = {name: Classes(host.core_index, "source") for name, host in fabric.hosts.items()}
        self._down: set[tuple[str, str]] = set()

    def alive(self) -> bool:
        """True: the kernel needs nobody's help."""
        return True

    def update(self, links: Links) -> None:
        """Change what some links do from now on; packets under way keep their delay.

        Raises
        ------
        PlatformError
            If a link is not one of the fabric's, or the kernel refuses.
        """
        self._fabric.change(links)
        self.apply(links)

    def apply(self, links: Links) -> None:
        """Shape links; those not named stay as they are."""
        _send(self._fabric.core_fd, [request for pair, link in links.items() for request in self._requests(*pair, link)])
        self._rates.apply(links)

    def cut(self, pairs: Collection[tuple[str, str]]) -> None:
        """Lose all packets of some directions; see `Running.cut`."""
        self._down |= set(pairs)
        self.apply({pair: self._fabric.links.get(pair, LinkSpec()) for pair in pairs})

    def mend(self, pairs: Collection[tuple[str, str]]) -> None:
        """Let packets pass again."""
        self._down -= set(pairs)
        self.apply({pair: self._fabric.links.get(pair, LinkSpec()) for pair in pairs})

    def _requests(self, source: str, target: str, link: LinkSpec) -> Iterator[Request]:
        classes = self._classes[target]
        if (source, target) in self._down:
            link = replace(link, loss=1.0)
        if link != LinkSpec() or source in classes:
            minor, requests = classes.shape(source, self._fabric.address(target, source), (None, 1.0))
            yield from requests
            yield queueing.impair(classes.interface, minor, link, packets_under_way(link))

    def facts(self) -> Mapping[str, Any]:
        """What goes into the run's record."""
        return {"engine": "netem", "limits": dict(LIMITS)}

    def remove(self) -> None:
        """Let all packets pass at once again; those under way are lost."""
        _remove(self._fabric.core_fd, [request for classes in self._classes.values() for request in classes.remove()])


class NetemEngine:
    """Delay, jitter, loss and rate by the kernel's netem and htb: exact, and no process has to keep up.

    Packets of one pair of hosts never overtake each other: each pair has a netem of its own, which is told a rate
    (see `queueing.impair`) and with that lets no packet leave before its predecessor.
    """

    name = "netem"

    def trial(self) -> Trial:
        """Delay a datagram between two throw-away hosts and measure by how much."""
        return throwaway.trial(_attempt, LIMITS, "load the kernel's module (modprobe sch_netem), or use another engine")

    @contextmanager
    def start(self, fabric: Fabric) -> Iterator[NetemRunning]:
        """Shape ``fabric.links`` until the context is left.

        Raises
        ------
        PlatformError
            In the kernel's words, if it has no netem, htb or u32, or refuses otherwise.
        """
        with _removed(RateLimits(fabric, _SLACK_BEFORE_NETEM)) as rates, _removed(NetemRunning(fabric, rates)) as running:
            running.apply(fabric.links)
            yield running


def packets_under_way(link: LinkSpec) -> int:
    """How many packets a link's delay may hold: all that its rate lets in, be they small, twice over."""
    if link.rate is None:
        return _MOST_UNDER_WAY
    smallest = queueing.wire_size(0)
    return min(_MOST_UNDER_WAY, 1000 + round(2 * link.rate / 8 / smallest * (link.delay + 4 * link.jitter)))


def _attempt() -> str:
    asked = 0.005
    with Fabric(["a", "b"], {("a", "b"): LinkSpec(delay=asked)}) as fabric, NetemEngine().start(fabric):
        took = _one_way(fabric)
    if not asked <= took < 10 * asked:
        raise OSError(errno.ETIME, f"a packet that netem was to delay by {asked * 1e3:g} ms took {took * 1e3:.3f} ms")
    return f"a packet to be delayed by {asked * 1e3:g} ms took {took * 1e3:.2f} ms"


def _one_way(fabric: Fabric) -> float:
    """Seconds that one datagram takes from the first host to the second."""
    first, second = fabric.hosts.values()
    with ExitStack() as sockets:
        with namespace.entered(second.namespace_fd):
            receiver = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with namespace.entered(first.namespace_fd):
            sender = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind((second.address, 0))
        receiver.settimeout(1.0)
        began = time.monotonic()
        sender.sendto(b"over", receiver.getsockname())
        receiver.recv(16)
        return time.monotonic() - began


class _Removable(Protocol):
    def remove(self) -> None: ...


_R = TypeVar("_R", bound=_Removable)


@contextmanager
def _removed(shaper: _R) -> Iterator[_R]:
    try:
        yield shaper
    finally:
        shaper.remove()


def _send(descriptor: int, requests: Sequence[Request]) -> None:
    if requests:
        with namespace.entered(descriptor), Netlink() as netlink:
            netlink.send(requests)


def _remove(descriptor: int, requests: Sequence[Request]) -> None:
    try:
        _send(descriptor, requests)
    except PlatformError as error:
        # What the kernel refused to make is not there to be removed; whoever made it has heard of that.
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOENT, errno.EINVAL)):
            raise
