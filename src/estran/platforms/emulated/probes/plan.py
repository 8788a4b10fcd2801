"""What to send over a link, and when, to learn its delay, jitter, loss and rate in about a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from estran.platforms.emulated.links.relay_core import ETHERNET_OVERHEAD, FULL_FRAME, MTU, queue_seconds
from estran.spec.model import LinkSpec

Phase = Literal["delay", "loss", "rate"]

UDP_HEADERS: Final = 28
SMALL: Final = 46
"""Bytes of the smallest IP packet that fills an Ethernet frame."""

_SHARES: Final[dict[Phase, float]] = {"delay": 0.45, "loss": 0.22, "rate": 0.14}
_FEWEST_DELAYS: Final = 5
_FEWEST_TRAIN, _LONGEST_TRAIN = 20, 4000
_SPACING: Final = 2e-3
_JITTERS_APART: Final = 3.0
_LOSS_SPACING: Final = 0.3e-3
_LOAD: Final = 0.4
_EXCESS: Final = 1.12
_HEAD_START: Final = 25e-3
_RARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Shot:
    """One packet to send.

    Attributes
    ----------
    at
        Seconds after the probe's start.
    size
        Bytes of the IP packet.
    """

    at: float
    phase: Phase
    size: int


def wire(size: int) -> int:
    """Bytes that an IP packet of a size occupies on the wire."""
    return max(size + ETHERNET_OVERHEAD, 84)


def itinerary(link: LinkSpec, budget: float) -> list[Shot]:
    """All packets for one direction of a link, in order.

    First single small packets, further apart than the jitter, for the delay and its spread; then, if losses are asked
    for, many small ones; then, if a rate is asked for, a train 12 % faster than it: what arrives has the line's rate.

    Parameters
    ----------
    budget
        Seconds for everything, including the way of the last packet; exceeded where a slow link leaves no choice.
    """
    frame = wire(SMALL) * 8 / link.rate if link.rate else 0.0
    shots = _spaced(
        0.0, "delay", max(_SPACING, _JITTERS_APART * link.jitter, frame / _LOAD), _SHARES["delay"] * budget, _FEWEST_DELAYS
    )
    start = shots[-1].at + max(_SPACING, 4 * link.jitter)
    if link.loss:
        shots += _spaced(start, "loss", max(_LOSS_SPACING, frame / _LOAD), _SHARES["loss"] * budget, _FEWEST_DELAYS)
        start = shots[-1].at + _SPACING
    if link.rate:
        shots += _train(start, link.rate, _SHARES["rate"] * budget)
    return shots


def _spaced(start: float, phase: Phase, apart: float, seconds: float, fewest: int) -> list[Shot]:
    count = max(fewest, int(seconds / apart))
    return [Shot(start + index * apart, phase, SMALL) for index in range(count)]


def _train(start: float, rate: float, seconds: float) -> list[Shot]:
    size = min(MTU, max(SMALL, int(rate * seconds / 8 / _FEWEST_TRAIN) - ETHERNET_OVERHEAD))
    count = min(_LONGEST_TRAIN, max(_FEWEST_TRAIN, int(rate * seconds / 8 / wire(size))))
    apart = wire(size) * 8 / rate / _EXCESS
    # What goes first waits before the line, so that it stays busy even when this process is held up for a while.
    return [Shot(start + max(0.0, index * apart - _HEAD_START), "rate", size) for index in range(count)]


def patience(link: LinkSpec) -> float:
    """Seconds after the last packet was sent until it has come or never will."""
    queue = min(0.3, queue_seconds(link)) if link.rate else 0.0
    return 0.05 + 1.5 * link.delay + 5 * link.jitter + queue


def segments(link: LinkSpec) -> int:
    """How many packets of the train to hand to the kernel at once: what the line takes 1 ms to send.

    One call per packet would keep this machine busier than the links that it measures. Where many packets are lost they
    go one by one, since an engine may lose what went at once as a whole.
    """
    if link.rate is None or link.loss > _RARE:
        return 1
    return min(40, max(1, int(link.rate * 1e-3 / (8 * FULL_FRAME))))
