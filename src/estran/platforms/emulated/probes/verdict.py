"""From a probe's packets to figures, and from figures to a verdict whose tolerances are statistically sound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np

from estran.platforms.base import LinkMeasure
from estran.platforms.emulated.probes.plan import SMALL, Phase, segments, wire
from estran.spec.model import LinkSpec
from estran.units import show

DELAY_FLOOR: Final = 0.5e-3
"""Seconds by which any delay may be off: what this machine's own scheduling costs."""

DELAY_SHARE: Final = 0.05
RATE_SHARE: Final = 0.05
JITTER_SHARE: Final = 0.10
JITTER_FLOOR: Final = 0.25e-3
UNASKED_LOSS: Final = 0.01
SIGMAS: Final = 3.0

_CHANCE: Final = math.erfc(SIGMAS / math.sqrt(2))
_WARM_UP: Final = 0.2
_FAST_ENOUGH: Final = 1.03


@dataclass(slots=True)
class Samples:
    """What was sent over one direction and what came.

    Attributes
    ----------
    sent
        Packets by phase.
    delays
        One-way delays of the packets of the delay phase, seconds.
    arrivals
        Of the train: when each packet came, seconds, in order, and its bytes on the wire.
    departures
        Of the train: when packets were sent, seconds, and their bytes on the wire.
    received
        Packets by phase.
    """

    sent: dict[Phase, int] = field(default_factory=dict)
    received: dict[Phase, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    departures: list[tuple[float, int]] = field(default_factory=list)


def judge(
    source: str, target: str, link: LinkSpec, samples: Samples, *, lossless: bool = False, frame: int | None = None
) -> LinkMeasure:
    """Compare one direction with what was asked of it.

    Parameters
    ----------
    lossless
        The way of measuring cannot lose anything (TCP), so nothing is said about loss.
    frame
        Bytes on the wire of a delay packet, whose own sending time is no part of the delay.
    """
    measured = figures(link, samples, lossless=lossless, frame=frame)
    verdicts = (_delay(link, measured), _jitter(link, measured), _rate(link, measured, samples), _loss(link, samples, lossless))
    complaints = [verdict for verdict in verdicts if verdict is not None]
    asked: dict[str, float | None] = {name: value or None for name, value in asdict(link).items()}
    asked["delay"] = link.delay
    return LinkMeasure(source, target, asked, measured, not complaints, "; ".join(complaints) or None)


def figures(link: LinkSpec, samples: Samples, *, lossless: bool, frame: int | None) -> dict[str, float | None]:
    """The measured figures: SI units, None where nothing can be said; ``samples`` is the number of delays."""
    sending = (wire(SMALL) if frame is None else frame) * 8 / link.rate if link.rate else 0.0
    delays = np.array(samples.delays) - sending
    sent = sum(samples.sent.get(phase, 0) for phase in ("delay", "loss"))
    came = sum(samples.received.get(phase, 0) for phase in ("delay", "loss"))
    return {
        # Clocks count nanoseconds, and two of them agree to a few: less than that, or less than nothing, is nothing.
        "delay": max(0.0, round(float(np.median(delays)), 9)) if len(delays) else None,
        "jitter": round(spread(delays), 9) if len(delays) > 1 else None,
        "rate": train_rate(samples.arrivals, link.loss) if link.rate else None,
        "loss": None if lossless or not sent else 1 - came / sent,
        "loss_resolution": None if lossless or not sent else resolution(link.loss, sent),
        "samples": float(len(delays)),
    }


def spread(delays: np.ndarray) -> float:
    """The standard deviation without the few packets that this machine's scheduling held back."""
    low, middle, high = np.percentile(delays, (25, 50, 75))
    width = 0.7413 * (high - low)
    kept = delays[np.abs(delays - middle) <= max(4.5 * width, 1e-4)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 else 0.0


def train_rate(arrivals: Sequence[tuple[float, int]], loss: float) -> float | None:
    """Bits per second at which a train left the line: the slope of bytes over time, after the first fifth.

    Where losses are asked for, what was lost had its time on the line too.
    """
    steady = arrivals[int(len(arrivals) * _WARM_UP) :]
    if len(steady) < 4 or steady[-1][0] <= steady[0][0]:
        return None
    times = np.array([time for time, _ in steady]) - steady[0][0]
    volumes = np.cumsum([size for _, size in steady])
    return float(np.polyfit(times, volumes, 1)[0] * 8 / (1 - loss))


def resolution(loss: float, packets: int) -> float:
    """The deviation of a loss rate that this many packets can show, at three standard deviations."""
    return SIGMAS * math.sqrt(max(loss, 1 / packets) * (1 - loss) / packets)


def truncated_spread(link: LinkSpec) -> float:
    """Standard deviation of a normal delay that cannot fall below zero."""
    ratio = link.delay / link.jitter
    below, density = 0.5 * math.erfc(-ratio / math.sqrt(2)), math.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    mean = link.delay * below + link.jitter * density
    square = (link.delay**2 + link.jitter**2) * below + link.delay * link.jitter * density
    return math.sqrt(max(0.0, square - mean**2))


def _off(asked: float, got: float) -> str:
    return f"{100 * abs(got - asked) / asked:.3g} % off"


def _delay(link: LinkSpec, measured: Mapping[str, float | None]) -> str | None:
    got = measured["delay"]
    if got is None:
        return f"asked {show(link.delay, 'duration')}, but no packet came through"
    count = measured["samples"] or 1
    bound = max(DELAY_FLOOR, DELAY_SHARE * link.delay) + SIGMAS * 1.2533 * link.jitter / math.sqrt(count)
    if abs(got - link.delay) <= bound:
        return None
    off = f": {_off(link.delay, got)}" if link.delay else ""
    return f"delay: asked {show(link.delay, 'duration')}, measured {show(got, 'duration')}{off}"


def _jitter(link: LinkSpec, measured: Mapping[str, float | None]) -> str | None:
    got, count = measured["jitter"], measured["samples"] or 0
    if not link.jitter or got is None or count < 10:
        return None
    asked = truncated_spread(link)
    if abs(got - asked) <= asked * (JITTER_SHARE + SIGMAS / math.sqrt(2 * (count - 1))) + JITTER_FLOOR:
        return None
    return f"jitter: asked {show(link.jitter, 'duration')}, measured {show(got, 'duration')}: {_off(asked, got)}"


def _rate(link: LinkSpec, measured: Mapping[str, float | None], samples: Samples) -> str | None:
    if link.rate is None:
        return None
    got, sent = measured["rate"], train_rate(samples.departures, 0.0)
    if got is None or sent is None:
        return f"rate: asked {show(link.rate, 'rate')}, but too few packets came to tell"
    # The share of a train that is lost may be off by this much, by chance; packets that go at once may be lost at once.
    chance = SIGMAS * math.sqrt(link.loss * segments(link) / max(1, len(samples.arrivals)))
    if abs(got - link.rate) <= link.rate * (RATE_SHARE + chance):
        return None
    if got < link.rate and sent < _FAST_ENOUGH * link.rate:
        return f"rate: asked {show(link.rate, 'rate')}, but this busy machine could only send {show(sent, 'rate')} to test it"
    more = "at least " if got > 1.1 * link.rate else ""
    return f"rate: asked {show(link.rate, 'rate')}, measured {more}{show(got, 'rate')}: {_off(link.rate, got)}"


def _loss(link: LinkSpec, samples: Samples, lossless: bool) -> str | None:
    sent = sum(samples.sent.get(phase, 0) for phase in ("delay", "loss"))
    lost = sent - sum(samples.received.get(phase, 0) for phase in ("delay", "loss"))
    if lossless or not sent or lost == sent or plausible(lost, sent, link.loss):
        return None
    return (
        f"loss: asked {show(link.loss, 'fraction')}, measured {lost} of {sent} packets ({show(lost / sent, 'fraction')}, "
        f"where {show(resolution(link.loss, sent), 'fraction')} is the least that this many can show)"
    )


def plausible(lost: int, sent: int, loss: float) -> bool:
    """Whether so many losses are within three standard deviations' chance (binomial, exact).

    With no loss asked for, up to 1 % is let pass: a busy machine may drop a packet before it reaches the link.
    """
    if loss == 0:
        return lost <= max(1, UNASKED_LOSS * sent)
    if loss == 1:
        return lost == sent
    chances = np.exp([_log_binomial(sent, k) + k * math.log(loss) + (sent - k) * math.log1p(-loss) for k in range(sent + 1)])
    return bool(chances[: lost + 1].sum() >= _CHANCE / 2 and chances[lost:].sum() >= _CHANCE / 2)


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
