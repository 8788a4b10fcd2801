"""What messages take beside their link's own delay and rate, and how large they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from estran.observe.calibrate.fitting import spread
from estran.observe.calibrate.operations import FEW
from estran.observe.calibrate.readings import Reading
from estran.observe.stories import Floats, Integers, Mask
from estran.runtime.lane import FORWARD_SIZE
from estran.spec.calibration import LinkFit, StreamFit, way
from estran.spec.costs import FREE, Amount, Cost
from estran.spec.model import Delivery

ENVELOPE: Final = FORWARD_SIZE + 4 + 14
"""Bytes that our protocol (its header, and each frame's size) and the transport's add to a message."""
ALIGNMENT: Final = 8
SEGMENT, HEADERS = 1448, 90
"""Payload of a full TCP segment with timestamps; bytes that TCP, IP (52) and Ethernet (38, IEEE 802.3) add to each."""

INITIAL_WINDOW: Final = 10 * SEGMENT
"""Bytes that TCP sends before it waits for a first acknowledgement: at the start, and again after idling (RFC 6928, RFC 2861)."""
_TRIP: Final = 0.8
"""Share of a round trip from which on a delay is taken for one."""
_SHORT_TRIP: Final = 5e-3
FIGURES: Final = ("delay", "jitter", "rate", "loss")

Key = tuple[str, str, Delivery, str]
"""Stream, consumer service, delivery, way."""


def line_bytes(frame: Integers) -> Floats:
    """Bytes of a line's time that messages of such sizes take, protocols and all."""
    payload = frame + -frame % ALIGNMENT + ENVELOPE
    found: Floats = (payload + HEADERS * -(-payload // SEGMENT)).astype(np.float64)
    return found


@dataclass(slots=True)
class _Seen:
    """Messages of one stream over all runs: their sizes, what those that found the link idle took, and how many found TCP cold."""

    sizes: list[Integers] = field(default_factory=list)
    extras: list[Floats] = field(default_factory=list)
    cold: int = 0


def stream_fits(readings: Sequence[Reading], *, warnings: list[str]) -> tuple[StreamFit, ...]:
    """Fit every stream over all runs. Only messages that found their link idle tell what handling takes; others have queued."""
    seen: defaultdict[Key, _Seen] = defaultdict(_Seen)
    for reading in readings:
        for link, rows in _by_link(reading):
            for key, mine, extras, cold in _extras(reading, link, rows):
                seen[key].sizes.append(reading.messages.bytes[mine])
                seen[key].extras.append(extras)
                seen[key].cold += cold
    return tuple(_fit(key, seen[key], warnings) for key in sorted(seen))


def _fit(key: Key, seen: _Seen, warnings: list[str]) -> StreamFit:
    sizes, extras = np.concatenate(seen.sizes).astype(np.float64), np.concatenate(seen.extras)
    stream, consumer = key[0], f"{key[1]} ({key[3]})"
    if seen.cold:
        warnings.append(
            f"{stream} → {consumer}: {seen.cold} of {len(sizes)} messages took a round trip more, as TCP does with more than "
            "its initial window after idling; they are left out"
        )
    if not len(extras):
        warnings.append(
            f"{stream} → {consumer}: none of {len(sizes)} messages found the link idle, so handling them is taken to cost no time; "
            "add a run with a lower rate"
        )
    elif len(extras) < FEW:
        warnings.append(f"{stream} → {consumer}: {len(extras)} messages only found the link idle")
    extra = Cost(float(extras.mean()), 0.0, spread(extras)) if len(extras) else FREE
    return StreamFit(*key[:3], len(sizes), extra, Amount(float(sizes.mean()), spread(sizes)), key[3])


def _by_link(reading: Reading) -> Iterator[tuple[Mapping[str, Any], Integers]]:
    """Rows of messages by the directed pair of hosts that they went between, in order of ``sent``, with what was asked of it."""
    messages, seats = reading.messages, reading.seats
    hosts = {name: seat.host for name, seat in seats.items()}
    pairs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, ends in enumerate(zip(messages.origin.tolist(), messages.receiver.tolist(), strict=True)):
        if ends[0] in hosts and ends[1] in hosts:
            pairs[hosts[ends[0]], hosts[ends[1]]].append(row)
    for pair in sorted(pairs):
        back = reading.links.get(pair[::-1], {})
        link = {"delay": 0.0, "jitter": 0.0, "rate": None, "loss": 0.0, **reading.links.get(pair, {})}
        yield {**link, "trip": link["delay"] + back.get("delay", 0.0), "back_loss": back.get("loss", 0.0)}, np.array(pairs[pair])


def _extras(reading: Reading, link: Mapping[str, Any], rows: Integers) -> Iterator[tuple[Key, Integers, Floats, int]]:
    messages = reading.messages
    serial = line_bytes(messages.bytes[rows]) * 8 / link["rate"] if link["rate"] else np.zeros(len(rows))
    excess = messages.received[rows] - messages.sent[rows] - link["delay"] - serial
    alone = _found_idle(messages.sent[rows], messages.received[rows] - link["delay"], serial)
    cold = (messages.bytes[rows] > INITIAL_WINDOW) & (excess >= _TRIP * link["trip"]) & (link["trip"] >= _SHORT_TRIP)
    for ends in sorted(set(zip(messages.stream[rows], messages.origin[rows], messages.receiver[rows], strict=True))):
        mine = np.array(
            [messages.stream[rows] == ends[0], messages.origin[rows] == ends[1], messages.receiver[rows] == ends[2]]
        ).all(0)
        channel = reading.channels.get(ends, {})
        delivery: Delivery = "latest" if channel.get("delivery") == "latest" else "acknowledged"
        free = alone[mine]
        if delivery == "acknowledged":
            free = free & _unhindered(messages.sent[rows[mine]], messages.done[rows[mine]], int(channel.get("capacity", 1024)))
        extras = _without_link(excess[mine][free & ~cold[mine]], link)
        here, there = reading.seats[ends[1]], reading.seats[ends[2]]
        name = way(here.device, there.device, within=here.host == there.host)
        yield (ends[0], there.service, delivery, name), rows[mine], extras, int((free & cold[mine]).sum())


def _found_idle(sent: Floats, left: Floats, serial: Floats) -> Mask:
    """Whether each message, in order of ``sent``, found nothing of earlier ones on the line or waiting for it.

    Nothing of them by the line's own arithmetic (first come, first served), and none that turned out to have left it later. What
    was before the first one is not known, so it does not count.
    """
    total = np.cumsum(serial)
    free_at = total + np.maximum.accumulate(sent - (total - serial))
    before = np.maximum(np.maximum.accumulate(left), free_at)
    found: Mask = np.concatenate(([False], sent[1:] >= before[:-1]))[: len(sent)]
    return found


def _unhindered(sent: Floats, done: Floats, capacity: int) -> Mask:
    """Whether so few messages of a channel were unprocessed that its window cannot have held the sender back."""
    unprocessed = np.arange(len(sent)) - np.searchsorted(np.sort(done), sent, "right")
    found: Mask = unprocessed < max(capacity // 2, 1)
    return found


def _without_link(excess: Floats, link: Mapping[str, Any]) -> Floats:
    """What is left when repeated segments are out, and the link's own jitter is taken off the variance."""
    if not len(excess):
        return excess
    if link["loss"] > 0 or link["back_loss"] > 0:
        excess = excess[excess <= np.median(excess) + _TRIP * link["trip"]]
    if link["jitter"] > 0 and (variance := float(excess.var())) > 0:
        mean = excess.mean()
        excess = mean + (excess - mean) * np.sqrt(max(variance - link["jitter"] ** 2, 0.0) / variance)
    found: Floats = np.maximum(excess, 0.0)
    return found


def link_fits(readings: Sequence[Reading]) -> tuple[LinkFit, ...]:
    """Every link that was probed: asked figures, and the mean of what was measured over all runs that asked the same."""
    probed: defaultdict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for reading in readings:
        for link in (reading.run.document("network") or {}).get("links", []):
            probed[link["source"], link["target"], tuple(sorted(link["asked"].items()))].append(link["measured"])
    return tuple(
        LinkFit(source, target, dict(asked), _means(measured))
        for (source, target, asked), measured in sorted(probed.items(), key=lambda entry: str(entry[0]))
    )


def _means(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    known = {name: [value for one in measured if (value := one.get(name)) is not None] for name in FIGURES}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}
