"""Links between emulated hosts and real ones behind the gateway: each is two, one after the other, and judged as their sum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Final

from estran.platforms.base import LinkMeasure
from estran.platforms.emulated.probes.verdict import DELAY_FLOOR, DELAY_SHARE, JITTER_FLOOR, JITTER_SHARE, RATE_SHARE
from estran.spec.model import LinkSpec
from estran.spec.plan import PlannedLink
from estran.units import Dimension, show

Figures = Mapping[str, float | None]
_UNITS: Final[Mapping[str, Dimension]] = {"delay": "duration", "jitter": "duration", "rate": "rate", "loss": "fraction"}


def passing(links: Iterable[PlannedLink], emulated: Iterable[str], gateway: str) -> list[PlannedLink]:
    """The links of a plan of which something is asked, and which go through the gateway to its other side."""
    inside = set(emulated)
    return [
        one for one in links
        if (one.source in inside) != (one.target in inside) and gateway not in (one.source, one.target) and one.link != LinkSpec()
    ]  # fmt: skip


def put_together(links: Iterable[PlannedLink], gateway: str, measured: Iterable[LinkMeasure]) -> Iterator[LinkMeasure]:
    """What messages get on such links, where both parts of the way were measured; what is asked is judged.

    Medians of delays add, deviations add as squares, the slower rate counts, and a packet arrives if neither part loses it.
    """
    known = {(one.source, one.target): one.measured for one in measured}
    for one in links:
        parts = known.get((one.source, gateway)), known.get((gateway, one.target))
        if parts[0] is None or parts[1] is None:
            continue
        got = _sum(parts[0], parts[1])
        wrong = [_off(one.link, name, got[name], gateway) for name in _UNITS if _is_off(one.link, name, got)]
        asked = {name: getattr(one.link, name) or None for name in _UNITS}
        yield LinkMeasure(one.source, one.target, asked, got, not wrong, "; ".join(wrong) or None)


def adds_up(one: PlannedLink, gateway: str, links: Iterable[PlannedLink]) -> bool:
    """Whether what is asked of both parts of the way comes to what is asked of the whole."""
    asked = {(link.source, link.target): {**asdict(link.link), "loss_resolution": 0.0} for link in links if link.link != LinkSpec()}
    near, far = asked.get((one.source, gateway)), asked.get((gateway, one.target))
    return near is not None and far is not None and not any(_is_off(one.link, name, _sum(near, far)) for name in _UNITS)


def _sum(near: Figures, far: Figures) -> dict[str, float | None]:
    def both(name: str) -> tuple[float, float] | None:
        first, second = near.get(name), far.get(name)
        return None if first is None or second is None else (first, second)

    delays, spreads, lost, unsure = both("delay"), both("jitter"), both("loss"), both("loss_resolution")
    rates = [rate for rate in (near.get("rate"), far.get("rate")) if rate is not None]
    return {
        "delay": sum(delays) if delays else None,
        "jitter": math.hypot(*spreads) if spreads else None,
        "rate": min(rates, default=None),
        "loss": 1 - (1 - lost[0]) * (1 - lost[1]) if lost else None,
        "loss_resolution": sum(unsure) if unsure else None,
    }


def _is_off(link: LinkSpec, name: str, got: Figures) -> bool:
    """Whether a figure that is asked is further away than both parts' tolerances allow."""
    asked, found = getattr(link, name), got[name]
    if not asked or found is None:
        return False
    tolerances = {
        "delay": 2 * DELAY_FLOOR + DELAY_SHARE * asked,
        "jitter": 2 * JITTER_FLOOR + JITTER_SHARE * asked,
        "rate": RATE_SHARE * asked,
        "loss": got["loss_resolution"] or 1e-9,
    }
    return bool(abs(found - asked) > tolerances[name])


def _off(link: LinkSpec, name: str, found: float | None, gateway: str) -> str:
    kind = _UNITS[name]
    return f"{name}: asked {show(getattr(link, name), kind)}, but by {gateway} it is {show(found or 0.0, kind)}"
