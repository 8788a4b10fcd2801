"""The kernel of predictors and trainers: batches of what waits, models that are loaded or published in between."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from estran.platforms.simulated.flow.bins import bin_of
from estran.platforms.simulated.flow.chance import cost, factor, stream, uniform
from estran.platforms.simulated.flow.compiling import allocating, compiled, inlined
from estran.platforms.simulated.flow.ordering import arrange, keep
from estran.platforms.simulated.flow.sending import hop_of
from estran.platforms.simulated.flow.serving import (
    EVERY,
    HAS_MODEL,
    LOAD,
    MAIN,
    MAX_DELAY,
    MAX_SIZE,
    PUBLISHES,
    SECOND,
    TAKE,
    TRAINS,
    UPDATES,
    WAITS,
    WAKE,
    leave,
    served,
)
from estran.platforms.simulated.flow.sums import add_span, slot_of
from estran.platforms.simulated.flow.tables import (
    BATCHES,
    BUSY,
    ENTERED,
    FIXED,
    LOADS,
    PUBLISHED,
    STALE,
    STALE_MESSAGES,
    STALE_SHAPE,
    SUPERSEDED,
    Bench,
    Rules,
    Station,
    Sums,
)

_APART = 1 << 40
"""Numbers of the draws that must not depend on how often they are asked for."""


@inlined
def _operation(station: Station, rules: Rules, replica: Any, operation: Any, items: Any, key: Any) -> Any:
    """Seconds of one operation of a replica, with its next random number."""
    own = station.replicas[replica]
    row = station.laws[own.device, operation]
    if row < 0:
        return 0.0
    law = rules.laws[row]
    mean = law.time + law.each * items
    if law.kind != FIXED:
        own.draws += 1
        mean *= factor(rules.laws, rules.quantiles, row, uniform(key, own.draws))
    return mean


@inlined
def _wake(station: Station, rules: Rules, replica: Any, key: Any) -> Any:
    """Seconds until a message is noticed. Asked again of a batch that was put off, it says the same."""
    own = station.replicas[replica]
    return cost(rules.laws, rules.quantiles, station.laws[own.device, WAKE], 1, key, _APART + own.draws)


@inlined
def _work(station: Station, sums: Sums, replica: Any, begin: Any, end: Any) -> None:
    station.replicas[replica].busy += add_span(sums.window, sums.table, 0, BUSY, begin, end)
    station.free[replica, 0] = end


@inlined
def _start(station: Station, inbox: Any, data: Any, at: Any, ready: Any) -> Any:
    """When a batch is taken whose first message is number ``at`` of what has come: at once, when it is full, or after lingering."""
    delay = station.numbers[MAX_DELAY]
    if delay <= 0:
        return ready
    filling = at + int(station.numbers[MAX_SIZE]) - 1
    if filling < len(data) and inbox[data[filling]].time <= ready + delay:
        return max(ready, inbox[data[filling]].time)
    return ready + delay


@compiled
def _obsolete(previous: Any, hops: Any, inbox: Any, data: Any, until: Any) -> None:
    """When each message is replaced by the next one of its channel: never, where the stream is acknowledged."""
    until[: len(data)] = np.inf
    if len(previous) == 0:
        return
    for j in range(len(data)):
        channel = inbox[data[j]].channel
        if hops[hop_of(hops, channel)].latest:
            before = previous[channel]
            if 0 <= before < j and inbox[data[before]].channel == channel:
                until[before] = inbox[data[j]].time
            previous[channel] = j


@inlined
def _load(station: Station, rules: Rules, sums: Sums, inbox: Any, models: Any, at: Any, begin: Any, replica: Any, key: Any) -> Any:
    """Swap to the newest model that has come, on the processor that also serves; return the number of the next one."""
    while at + 1 < len(models) and inbox[models[at + 1]].time <= begin:
        at += 1
        sums.counts[0, SUPERSEDED] += 1
    published = inbox[models[at]].created
    if math.isnan(station.replicas[replica].model) or published > station.replicas[replica].model:
        end = begin + _operation(station, rules, replica, LOAD, 1, key)
        station.replicas[replica].model = published
        sums.counts[0, LOADS] += 1
        _work(station, sums, replica, begin, end)
    else:
        sums.counts[0, SUPERSEDED] += 1
    return at + 1


@inlined
def _publish(station: Station, rules: Rules, bench: Bench, sums: Sums, replica: Any, key: Any, rows: Any, end: Any) -> Any:
    """Count what was learned, and publish a model if one is due; return when that is done."""
    own = station.replicas[replica]
    own.learned += rows
    every, updates = station.numbers[EVERY], station.numbers[UPDATES]
    due = updates > 0 and (math.isnan(own.model) or own.learned - own.published_rows >= updates)
    if every > 0 and (math.isnan(own.next_publication) or end >= own.next_publication):
        due = True
        if math.isnan(own.next_publication):
            own.next_publication = end + every
        else:
            own.next_publication += every * (1.0 + math.floor((end - own.next_publication) / every))
    if not due or not station.flags[PUBLISHES]:
        return end
    there = end + _operation(station, rules, replica, LOAD, 1, key)
    own.model = there
    own.published_rows = own.learned
    slot = slot_of(sums.window, there)
    if slot >= 0:
        sums.table[0, slot, PUBLISHED] += 1
    bench.tally[0] = leave(bench.departures, bench.tally[0], there, there, replica, 1)
    return there


@inlined
def _serve(
    station: Station, rules: Rules, bench: Bench, sums: Sums, inbox: Any, replica: Any, key: Any, taken: Any, begin: Any
) -> None:
    """Serve a batch from ``begin`` on, answer, learn and publish as the service does."""
    rows = 0
    for i in taken:
        rows += rules.hops[hop_of(rules.hops, inbox[i].channel)].rows
    published = station.replicas[replica].model
    knows = station.flags[HAS_MODEL] and not math.isnan(published)
    end = begin + _operation(station, rules, replica, TAKE, len(taken), key)
    work = _operation(station, rules, replica, MAIN, rows, key)
    if knows or not station.flags[HAS_MODEL]:
        end += work
    end += _operation(station, rules, replica, SECOND, rows, key)
    sums.counts[0, BATCHES] += 1
    for i in taken:
        message = inbox[i]
        served(sums, message.time, begin, end, message.created)
        slot = slot_of(sums.window, message.created)
        if slot >= 0 and knows:
            sums.table[0, slot, STALE_MESSAGES] += 1
            sums.table[0, slot, STALE] += end - published
            sums.shapes[STALE_SHAPE, bin_of(end - published)] += 1
        bench.tally[0] = leave(bench.departures, bench.tally[0], end, message.created, replica, 0)
    if station.flags[TRAINS]:
        end = _publish(station, rules, bench, sums, replica, key, rows, end)
    _work(station, sums, replica, begin, end)


@inlined
def _take(sums: Sums, inbox: Any, data: Any, until: Any, at: Any, begin: Any, taken: Any) -> Any:
    """Take a batch of what has come by ``begin`` and is not obsolete; return its size, and the number of the next message."""
    count = 0
    while at < len(data) and count < len(taken) and inbox[data[at]].time <= begin:
        if until[at] <= begin:
            sums.counts[0, SUPERSEDED] += 1
        else:
            taken[count] = data[at]
            count += 1
        at += 1
    return count, at


@compiled
def _replica(
    station: Station, rules: Rules, bench: Bench, sums: Sums, inbox: Any, replica: Any, key: Any, data: Any, models: Any, high: Any
) -> None:
    """Let one replica do what it begins by ``high``, and put off the rest of its messages."""
    _obsolete(station.previous, rules.hops, inbox, data, bench.until)
    own = station.replicas[replica]
    taken = bench.taken[: int(min(station.numbers[MAX_SIZE], len(bench.taken)))]
    at, model = 0, 0
    while True:
        free, ready = station.free[replica, 0], math.inf
        if at < len(data) and not (station.flags[WAITS] and math.isnan(own.model)):
            ready = max(free, inbox[data[at]].time + _wake(station, rules, replica, key))
        if model < len(models) and max(free, inbox[models[model]].time) <= min(ready, high):
            begin = max(free, inbox[models[model]].time)
            model = _load(station, rules, sums, inbox, models, model, begin, replica, key)
            continue
        if ready > high:
            break
        begin = _start(station, inbox, data, at, ready)
        if begin > high:
            break
        own.draws += 1
        count, at = _take(sums, inbox, data, bench.until, at, begin, taken)
        _serve(station, rules, bench, sums, inbox, replica, key, taken[:count], begin)
    for j in range(at, len(data)):
        bench.deferred[bench.tally[1]] = data[j]
        bench.tally[1] += 1
    for j in range(model, len(models)):
        bench.deferred[bench.tally[1]] = models[j]
        bench.tally[1] += 1


@allocating
def serve_batches(
    inbox: Any, spare: Any, n: Any, station: Station, seed: Any, rules: Rules, departures: Any, sums: Sums,
    first: Any, places: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    """Let each of a part's replicas take batches.

    A batch that begins after ``high`` is put off: messages that belong to it may still come.

    Returns
    -------
    tuple of int
        How many messages remain, in ``spare``, and how many leave.
    """
    order, begins = arrange(inbox, n, first, places, low, high)
    size = len(order)
    bench = Bench(
        departures, np.empty(size, np.int32), np.zeros(2, np.int64), np.empty(size), np.empty(size, np.int32),
        np.empty(size, np.int32), np.empty(size, np.int32),
    )  # fmt: skip
    _serve_all(inbox, order, begins, station, seed, rules, bench, sums, first, high)
    return keep(inbox, spare, n, high, bench.deferred, bench.tally[1]), bench.tally[0]


@compiled
def _serve_all(
    inbox: Any, order: Any, begins: Any, station: Station, seed: Any, rules: Rules, bench: Bench, sums: Sums, first: Any, high: Any
) -> None:  # fmt: skip
    data, models = bench.data, bench.models
    for p in range(len(begins) - 1):
        if begins[p] == begins[p + 1]:
            continue
        samples, swaps = 0, 0
        for j in range(begins[p], begins[p + 1]):
            if rules.hops[hop_of(rules.hops, inbox[order[j]].channel)].models:
                models[swaps] = order[j]
                swaps += 1
            else:
                data[samples] = order[j]
                samples += 1
        key = stream(seed, first + p)
        _replica(station, rules, bench, sums, inbox, first + p, key, data[:samples], models[:swaps], high)
    sums.counts[0, ENTERED] += len(order) - bench.tally[1]
