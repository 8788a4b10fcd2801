"""Measuring links before the workload starts, all distinct ones side by side, from one process."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from estran.platforms.base import LinkMeasure
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.probes.channel import Channel, DatagramChannel, StreamChannel
from estran.platforms.emulated.probes.plan import Shot, itinerary, patience, segments
from estran.platforms.emulated.probes.verdict import judge
from estran.spec.model import LinkSpec

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

MOST_AT_ONCE: Final = 24
MOST_RATE_AT_ONCE: Final = 1e9

_ATTEMPTS: Final = 2


def distinct(links: Links, kinds: Mapping[str, str]) -> dict[tuple[str, str], LinkSpec]:
    """One representative of all links that are asked the same between hosts of the same kinds.

    Parameters
    ----------
    kinds
        Of each host, such as its layer.
    """
    found: dict[tuple[str, str, LinkSpec], tuple[str, str]] = {}
    for (source, target), link in links.items():
        found.setdefault((kinds[source], kinds[target], link), (source, target))
    return {pair: link for (_, _, link), pair in found.items()}


def probe(fabric: Fabric, links: Links, kinds: Mapping[str, str] | None = None, *, budget_s: float = 1.2) -> list[LinkMeasure]:
    """Measure delay, jitter, loss and rate of links, as far as each was asked.

    A link that seems wrong is measured once more, since a busy machine or plain chance may have been at fault (with
    many links, three standard deviations are exceeded now and then); only if it is wrong again is that the verdict.

    Parameters
    ----------
    links
        What was asked of each direction.
    kinds
        Of each host; one link of each distinct kind is measured. None: all links are.
    budget_s
        Seconds for links that are measured side by side, at most `MOST_AT_ONCE` of them; links too slow for it take
        longer.

    Raises
    ------
    PlatformError
        If a namespace cannot be entered.
    OSError
        If no sockets can be had in it.
    """
    wanted = dict(links) if kinds is None else distinct(links, kinds)
    measures: dict[tuple[str, str], LinkMeasure] = {}
    for _ in range(_ATTEMPTS):
        left = {pair: link for pair, link in wanted.items() if pair not in measures or not measures[pair].ok}
        for group in _groups(left):
            measures.update(_side_by_side(fabric, group, budget_s))
    return [measures[pair] for pair in wanted]


def _groups(links: Links) -> Iterable[dict[tuple[str, str], LinkSpec]]:
    group: dict[tuple[str, str], LinkSpec] = {}
    rate = 0.0
    for pair, link in links.items():
        if group and (len(group) >= MOST_AT_ONCE or rate + (link.rate or 0) > MOST_RATE_AT_ONCE):
            yield group
            group, rate = {}, 0.0
        group[pair] = link
        rate += link.rate or 0
    if group:
        yield group


@dataclass(slots=True)
class _Volley:
    """A channel with what remains to be sent over it."""

    channel: Channel
    shots: Sequence[Shot]
    next: int = 0

    def due(self, since: float) -> float | None:
        """When the next packet is to be sent, seconds after the start; None after the last. Sends what is due."""
        while self.next < len(self.shots) and self.shots[self.next].at <= since:
            first, start = self.shots[self.next], self.next
            while self.next < len(self.shots) and (shot := self.shots[self.next]).at <= since and shot.phase == first.phase:
                self.next += 1
            self.channel.send(self.shots[start : self.next])
        return self.shots[self.next].at if self.next < len(self.shots) else None


def _side_by_side(fabric: Fabric, links: Links, budget: float) -> dict[tuple[str, str], LinkMeasure]:
    with ExitStack() as resources:
        volleys = {}
        for (source, target), link in links.items():
            channel = resources.enter_context(closing(_channel(fabric, source, target, link)))
            volleys[source, target] = _Volley(channel, itinerary(link, budget))
        _fire(list(volleys.values()), max(volley.shots[-1].at + patience(links[pair]) for pair, volley in volleys.items()))
    return {
        (a, b): judge(a, b, links[a, b], v.channel.samples, lossless=v.channel.lossless, frame=v.channel.frame)
        for (a, b), v in volleys.items()
    }


def _channel(fabric: Fabric, source: str, target: str, link: LinkSpec) -> Channel:
    if fabric.core_fd is None:
        return StreamChannel(fabric, source, target)
    return DatagramChannel(fabric, source, target, segments(link))


def _fire(volleys: Sequence[_Volley], seconds: float) -> None:
    """Send everything at its time and take in what comes, until all has come or can come no more."""
    with closing(select.epoll()) as arrivals:
        channels = {volley.channel.fileno(): volley.channel for volley in volleys}
        for number in channels:
            arrivals.register(number, select.EPOLLIN)
        start = time.monotonic()
        while (since := time.monotonic() - start) < seconds:
            dues = [due for volley in volleys if (due := volley.due(since)) is not None]
            if not dues and all(_complete(volley.channel) for volley in volleys):
                return
            wait = min(dues, default=seconds) - (time.monotonic() - start)
            for number, _ in arrivals.poll(max(0.0, wait)):
                channels[number].receive()


def _complete(channel: Channel) -> bool:
    return sum(channel.samples.sent.values()) == sum(channel.samples.received.values())
