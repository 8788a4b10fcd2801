"""How messages get from an output to where they wait next: routing, links, delivery classes."""

from __future__ import annotations

import math
from typing import Any

from estran.platforms.simulated.flow.bins import bin_of
from estran.platforms.simulated.flow.chance import cost, factor, normal, stream, uniform
from estran.platforms.simulated.flow.compiling import allocating, compiled, inlined
from estran.platforms.simulated.flow.ordering import arrange, keep
from estran.platforms.simulated.flow.sums import add_span, slot_of
from estran.platforms.simulated.flow.tables import (
    ARRIVED,
    DROPPED,
    HOP_DELIVERED,
    HOP_LOST,
    HOP_SENT,
    HOP_SUPERSEDED,
    LINK_BUSY,
    LINK_WAITING,
    ROTATE,
    SENT,
    TRANSFER,
    TRANSFER_SHAPES,
    Out,
    Sums,
    Wires,
)

LEAST_NORMAL = -4.0
"""Lowest deviation of a jittered delay, in standard deviations, so that a delay has a lower bound."""


@inlined
def put(out: Out, row: Any, time: Any, created: Any, place: Any, channel: Any) -> None:
    """Append a message to a row of the outbox."""
    n = out.filled[row]
    message = out.messages[row, n]
    message.time = time
    message.created = created
    message.place = place
    message.channel = channel
    out.filled[row] = n + 1


@inlined
def hop_of(hops: Any, channel: Any) -> Any:
    """The hop that a channel belongs to."""
    hop = len(hops) - 1
    while hops[hop].first > channel:
        hop -= 1
    return hop


@compiled
def _repeated(wires: Wires, hop: Any, link: Any, key: Any, number: Any) -> Any:
    """Seconds that losses add to a message's way, NaN if it is given up; and the random numbers used."""
    way, about, added = wires.links[link], wires.hops[hop], 0.0
    chance = -math.expm1(about.packets * math.log1p(-way.loss)) if way.loss < 1 else 1.0
    while uniform(key, number) < chance:
        number += 1
        if about.latest:
            return math.nan, number
        added += 2 * way.delay + about.bits / about.packets * way.per_bit
        chance = way.loss
    return added, number + 1


@inlined
def _transmit(wires: Wires, sums: Sums, hop: Any, channel: Any, link: Any, sent: Any) -> Any:
    """Put a message on a link; return when it has arrived whole, or NaN if it was lost for good.

    First come, first served; no message overtakes another. A lost message of an acknowledged stream is sent again one round trip
    later, and what follows on its channel waits for it; one of a latest stream is gone.
    """
    way, about = wires.links[link], wires.hops[hop]
    bits, delay, added = about.bits, way.delay + about.extra, 0.0
    if about.random or way.jitter > 0 or way.loss > 0:
        key, number = stream(wires.seed[0], link), way.draws
        bits *= factor(wires.laws, wires.quantiles, about.size_law, uniform(key, number))
        delay += cost(wires.laws, wires.quantiles, about.extra_law, 1, key, number + 1)
        if way.jitter > 0:
            delay += max(way.jitter * max(LEAST_NORMAL, normal(uniform(key, number + 2))), -way.delay)
        added, way.draws = _repeated(wires, hop, link, key, number + 3) if way.loss > 0 else (0.0, number + 3)
    elif way.per_bit == 0:
        return sent + delay  # nothing waits here; several may send at once and must not touch the link's state
    begin = max(sent, way.free)
    clear = begin + bits * way.per_bit
    way.free = clear
    add_span(sums.window, sums.table, 1 + hop, LINK_BUSY, begin, clear)
    add_span(sums.window, sums.table, 1 + hop, LINK_WAITING, sent, begin)
    there = max(clear + delay, way.last)
    way.last = there
    there += added
    if len(wires.order) > 0 and not math.isnan(there):
        there = max(there, wires.order[channel])
        wires.order[channel] = there
    return there


@inlined
def _arrived(
    wires: Wires, out: Out, sums: Sums, row: Any, hop: Any, channel: Any, slot: Any, sent: Any, created: Any, there: Any
) -> None:
    """Hand a message over to its consumer's part. ``slot`` is that of its creation."""
    if slot >= 0:
        sums.table[1 + hop, slot, ARRIVED] += 1
        sums.table[1 + hop, slot, TRANSFER] += there - sent
        sums.shapes[TRANSFER_SHAPES + hop, bin_of(there - sent)] += 1
    sums.counts[1 + hop, HOP_DELIVERED] += 1
    place = wires.channels[channel].target
    put(out, row + (place >> wires.hops[hop].direct_shift), there, created, place, channel)


@inlined
def _dropped(sums: Sums, hop: Any, count: Any, created: Any) -> None:
    sums.counts[1 + hop, count] += 1
    slot = slot_of(sums.window, created)
    if slot >= 0:
        sums.table[1 + hop, slot, DROPPED] += 1


@inlined
def _over(
    wires: Wires, out: Out, sums: Sums, row: Any, hop: Any, channel: Any, slot: Any, sent: Any, begin: Any, created: Any
) -> None:
    """Send over a link, and count what comes of it. A latest message has waited at the sender from ``sent`` to ``begin``."""
    there = _transmit(wires, sums, hop, channel, wires.channels[channel].link, begin)
    if math.isnan(there):
        _dropped(sums, hop, HOP_LOST, created)
    else:
        _arrived(wires, out, sums, row, hop, channel, slot, sent, created, there)


@compiled
def _release(wires: Wires, out: Out, sums: Sums, hop: Any, channel: Any, place: Any) -> None:
    """Send what has waited at the sender of a latest stream, as soon as the link was free."""
    waiting = wires.held[place]
    begin = wires.links[wires.channels[channel].link].free
    slot = slot_of(sums.window, waiting.created)
    _over(wires, out, sums, wires.hops[hop].direct, hop, channel, slot, waiting.sent, begin, waiting.created)
    waiting.sent = math.nan


@inlined
def _must_wait(wires: Wires, out: Out, sums: Sums, hop: Any, channel: Any, link: Any, sent: Any, created: Any) -> Any:
    """Whether a message of a latest stream finds its link busy; it then waits as the newest, in the place of what waited before."""
    place = wires.hops[hop].held_first + channel - wires.hops[hop].first
    waiting = wires.held[place]
    if not math.isnan(waiting.sent):
        if wires.links[link].free <= sent:
            _release(wires, out, sums, hop, channel, place)
        else:
            _dropped(sums, hop, HOP_SUPERSEDED, waiting.created)
            waiting.sent = math.nan
    if wires.links[link].free <= sent:
        return False
    waiting.sent, waiting.created = sent, created
    return True


@inlined
def _send(wires: Wires, out: Out, sums: Sums, hop: Any, channel: Any, slot: Any, sent: Any, created: Any) -> None:
    """Send one message on one channel."""
    sums.counts[1 + hop, HOP_SENT] += 1
    if slot >= 0:
        sums.table[1 + hop, slot, SENT] += 1
    link, about = wires.channels[channel].link, wires.hops[hop]
    if link < 0:
        there = sent + about.extra
        if about.extra_law >= 0:
            key, number = stream(wires.seed[0], ~channel), sums.counts[1 + hop, HOP_SENT]
            there += cost(wires.laws, wires.quantiles, about.extra_law, 1, key, number)
        _arrived(wires, out, sums, about.direct, hop, channel, slot, sent, created, there)
    elif wires.links[link].share >= 0:
        place = wires.links[link].share
        put(out, about.shared + (place >> about.shared_shift), sent, created, place, channel)
    elif not about.latest or not _must_wait(wires, out, sums, hop, channel, link, sent, created):
        _over(wires, out, sums, about.direct, hop, channel, slot, sent, sent, created)


@compiled
def dispatch(departures: Any, n: Any, wires: Wires, out: Out, sums: Sums, answers: Any, models: Any) -> None:
    """Send messages to wherever the hops of a station lead: ``answers``, or ``models`` for those that are models."""
    for d in range(n):
        sent, created, replica = departures[d].time, departures[d].created, departures[d].place
        slot = slot_of(sums.window, created)
        for hop in models if departures[d].channel else answers:
            about = wires.hops[hop]
            first = about.first + replica * about.fan
            count = about.fan
            if about.routing == ROTATE:
                place = about.turn_first + replica
                first += wires.turns[place]
                wires.turns[place] = (wires.turns[place] + 1) % about.fan
                count = 1
            for channel in range(first, first + count):
                _send(wires, out, sums, hop, channel, slot, sent, created)


@compiled
def flush(wires: Wires, out: Out, sums: Sums, hops: Any, first: Any, last: Any, until: Any) -> None:
    """Send what waits at replicas ``first`` to ``last`` of latest streams and whose link has become free by then."""
    for hop in hops:
        about = wires.hops[hop]
        if about.held_first < 0:
            continue
        for channel in range(about.first + first * about.fan, about.first + last * about.fan):
            place = about.held_first + channel - about.first
            if not math.isnan(wires.held[place].sent) and wires.links[wires.channels[channel].link].free <= until:
                _release(wires, out, sums, hop, channel, place)


@allocating
def share(inbox: Any, spare: Any, n: Any, wires: Wires, out: Out, sums: Sums, first: Any, places: Any, low: Any, high: Any) -> Any:
    """Let a part of a group of shared links carry what has come by ``high``; return how many messages remain, in ``spare``."""
    order, _ = arrange(inbox, n, first, places, low, high)
    _share(inbox, order, wires, out, sums)
    return keep(inbox, spare, n, high, order, 0)


@compiled
def _share(inbox: Any, order: Any, wires: Wires, out: Out, sums: Sums) -> None:
    for i in order:
        channel, sent = inbox[i].channel, inbox[i].time
        hop = hop_of(wires.hops, channel)
        slot = slot_of(sums.window, inbox[i].created)
        _over(wires, out, sums, wires.hops[hop].onward, hop, channel, slot, sent, sent, inbox[i].created)
