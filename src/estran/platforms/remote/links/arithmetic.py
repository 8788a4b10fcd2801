"""What a path does by itself, and what must be added to it to do as asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from estran.errors import PlatformError
from estran.platforms.emulated.links import queueing
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.links.traffic import QUEUE, packets_under_way
from estran.platforms.emulated.probes.verdict import DELAY_FLOOR, DELAY_SHARE, RATE_SHARE, Samples, figures, train_rate
from estran.platforms.remote.links.ground import Pair
from estran.spec.model import LinkSpec
from estran.units import show

_BURST: Final = 1e-3
"""Seconds at the rate that may leave at once, beside a full frame: what makes up for a late timer."""


@dataclass(frozen=True, slots=True)
class Base:
    """What one direction of a path does by itself.

    Attributes
    ----------
    delay
        Median, seconds, by clocks that are compared as `ahead` says.
    jitter
        Standard deviation, seconds.
    loss
        Share of packets.
    rate
        Bits per second that came of a train sent faster than the rate that is asked, if the path held it up; None if it did not.
    """

    delay: float
    jitter: float
    loss: float
    rate: float | None


def bases(links: Links, probed: Mapping[Pair, Samples]) -> dict[Pair, Base]:
    """What the paths of all links do, from probes of both their directions.

    Raises
    ------
    PlatformError
        If nothing comes through.
    """
    return {pair: _base(pair, links[pair], probed[pair], probed[pair[::-1]]) for pair in links}


def _base(pair: Pair, link: LinkSpec, there: Samples, back: Samples) -> Base:
    clock = ahead(pair, {pair: there, pair[::-1]: back})
    seen = figures(link, there, lossless=False, frame=0)
    delay = max(0.0, float(np.median(there.delays)) - clock)
    return Base(delay, seen["jitter"] or 0.0, seen["loss"] or 0.0, _held_up(there, seen["rate"]))


def ahead(pair: Pair, probed: Mapping[Pair, Samples]) -> float:
    """The target's clock less the source's, seconds, if the quickest packets take the same time both ways.

    Hosts have no common clock that could tell how a round trip is shared.

    Raises
    ------
    PlatformError
        If nothing comes through.
    """
    for source, target in (pair, pair[::-1]):
        if not probed[source, target].delays:
            raise PlatformError(
                "no probe came through",
                where=f"link {source} → {target}",
                remedy=f"let UDP pass from {source} to {target} (firewall, security group), or ask nothing of this link",
            )
    return (min(probed[pair].delays) - min(probed[pair[::-1]].delays)) / 2


def _held_up(samples: Samples, rate: float | None) -> float | None:
    offered = train_rate(samples.departures, 0.0)
    return rate if rate is not None and offered is not None and rate < (1 - RATE_SHARE) * offered else None


def added(link: LinkSpec, base: Base) -> LinkSpec:
    """What to do to packets that the path itself does not; never less than nothing.

    Deviations of independent delays add as squares, and a packet arrives if neither the path nor the rule loses it.
    """
    delay = max(0.0, link.delay - base.delay) if link.delay else 0.0
    jitter = math.sqrt(max(0.0, link.jitter**2 - base.jitter**2))
    loss = max(0.0, 1 - (1 - link.loss) / (1 - base.loss)) if link.loss and base.loss < 1 else 0.0
    return LinkSpec(delay, jitter, link.rate, loss)


def timed(rule: LinkSpec) -> bool:
    """Whether a rule does more than to limit a rate, which only netem can."""
    return bool(rule.delay or rule.jitter or rule.loss)


def expected(link: LinkSpec, base: Base) -> LinkSpec:
    """What a shaped path must do: where nothing is asked, what it does by itself."""
    return LinkSpec(link.delay or base.delay, link.jitter, link.rate, link.loss or base.loss)


def shortfalls(link: LinkSpec, base: Base) -> list[str]:
    """Where the path alone is worse than what is asked, so that no rule can help, and by how much."""
    found = []
    excess = base.delay - link.delay
    if link.delay and excess > max(DELAY_FLOOR, DELAY_SHARE * link.delay):
        found.append(
            f"delay: asked {show(link.delay, 'duration')}, but the path alone takes {show(base.delay, 'duration')}, "
            f"{show(excess, 'duration')} more"
        )
    rule = added(link, base)
    if rule.jitter > rule.delay:
        found.append(
            f"jitter: asked {show(link.jitter, 'duration')} around {show(link.delay, 'duration')}, "
            f"but no packet can be quicker than the path alone, which takes {show(base.delay, 'duration')}"
        )
    if link.rate is not None and base.rate is not None and base.rate < (1 - RATE_SHARE) * link.rate:
        found.append(
            f"rate: asked {show(link.rate, 'rate')}, but the path alone carries {show(base.rate, 'rate')}, "
            f"{show(link.rate - base.rate, 'rate')} less"
        )
    return found


def burst(rate: float) -> int:
    """Bytes that may leave at once."""
    return queueing.FRAME + round(rate / 8 * _BURST)


def packets(link: LinkSpec) -> int:
    """How many packets a link with delay may hold, be they small: those under way, and those that wait for its rate."""
    return packets_under_way(replace(link, delay=link.delay + QUEUE))


def held(link: LinkSpec) -> int:
    """How many full packets a link of a rate may hold: those under way, and those that wait for `QUEUE` seconds."""
    assert link.rate is not None
    return 10 + math.ceil(link.rate / 8 * (link.delay + 4 * link.jitter + QUEUE) / queueing.FRAME)
