"""The kernel of stations whose servers take messages one by one, and what it shares with that of batches."""

from __future__ import annotations

from typing import Any

from estran.platforms.simulated.flow.bins import bin_of
from estran.platforms.simulated.flow.chance import cost, stream
from estran.platforms.simulated.flow.compiling import allocating, compiled, inlined
from estran.platforms.simulated.flow.ordering import arrange, keep
from estran.platforms.simulated.flow.sending import hop_of
from estran.platforms.simulated.flow.sums import add_span, slot_of
from estran.platforms.simulated.flow.tables import (
    BUSY,
    COMPUTE,
    COMPUTE_SHAPE,
    DONE,
    ENTERED,
    LATENCY,
    LEFT,
    MESSAGES,
    QUEUEING,
    QUEUEING_SHAPE,
    WAITING,
    Rules,
    Station,
    Sums,
)

SERVERS, MAX_SIZE, MAX_DELAY, EVERY, UPDATES = range(5)
NUMBERS = 5
WAITS, HAS_MODEL, TRAINS, PUBLISHES = range(4)
FLAGS = 4
MAIN, SECOND, LOAD, TAKE, WAKE = range(5)


@inlined
def leave(departures: Any, n: Any, time: Any, created: Any, replica: Any, model: Any) -> Any:
    """Add a departure; return how many there are."""
    departure = departures[n]
    departure.time = time
    departure.created = created
    departure.place = replica
    departure.channel = model
    return n + 1


@inlined
def served(sums: Sums, came: Any, begin: Any, end: Any, created: Any) -> None:
    """Record a message that has been served."""
    slot = slot_of(sums.window, created)
    if slot >= 0:
        sums.table[0, slot, MESSAGES] += 1
        sums.table[0, slot, QUEUEING] += begin - came
        sums.table[0, slot, COMPUTE] += end - begin
        sums.table[0, slot, LATENCY] += end - created
        sums.shapes[slot, bin_of(end - created)] += 1
        sums.shapes[QUEUEING_SHAPE, bin_of(begin - came)] += 1
        sums.shapes[COMPUTE_SHAPE, bin_of(end - begin)] += 1
    slot = slot_of(sums.window, end)
    if slot >= 0:
        sums.table[0, slot, DONE] += 1
    add_span(sums.window, sums.table, 0, WAITING, came, begin)
    sums.counts[0, LEFT] += 1


@allocating
def serve(
    inbox: Any, spare: Any, n: Any, station: Station, seed: Any, rules: Rules, departures: Any, sums: Sums,
    first: Any, places: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    """Let each of a part's replicas take messages one by one, first come, first served, with one or several servers.

    Returns
    -------
    tuple of int
        How many messages remain, in ``spare``, and how many leave.
    """
    order, begins = arrange(inbox, n, first, places, low, high)
    _serve(inbox, order, begins, station, seed, rules, departures, sums, first)
    return keep(inbox, spare, n, high, order, 0), len(order)


@compiled
def _serve(
    inbox: Any, order: Any, begins: Any, station: Station, seed: Any, rules: Rules, departures: Any, sums: Sums, first: Any
) -> None:  # fmt: skip
    sums.counts[0, ENTERED] += len(order)
    servers = int(station.numbers[SERVERS])
    for p in range(len(begins) - 1):
        replica = first + p
        if begins[p] == begins[p + 1]:
            continue
        key, draw = stream(seed, replica), station.replicas[replica].draws
        device = station.replicas[replica].device
        main, take, wake = station.laws[device, MAIN], station.laws[device, TAKE], station.laws[device, WAKE]
        busy = 0.0
        for j in range(begins[p], begins[p + 1]):
            message = inbox[order[j]]
            best = 0
            for s in range(1, servers):
                if station.free[replica, s] < station.free[replica, best]:
                    best = s
            noticed = message.time + cost(rules.laws, rules.quantiles, wake, 1, key, draw + 2)
            begin = max(station.free[replica, best], noticed)
            rows = rules.hops[hop_of(rules.hops, message.channel)].rows
            end = (
                begin
                + cost(rules.laws, rules.quantiles, main, rows, key, draw)
                + cost(rules.laws, rules.quantiles, take, 1, key, draw + 1)
            )
            draw += 3
            station.free[replica, best] = end
            busy += add_span(sums.window, sums.table, 0, BUSY, begin, end)
            served(sums, message.time, begin, end, message.created)
            leave(departures, j, end, message.created, replica, 0)
        station.replicas[replica].draws = draw
        station.replicas[replica].busy += busy
