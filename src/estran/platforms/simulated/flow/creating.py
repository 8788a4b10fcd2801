"""The kernel of sources: when messages come to be. The processes are those of `estran.learning.arrivals`."""

from __future__ import annotations

import math
from typing import Any

from estran.platforms.simulated.flow.chance import stream, uniform
from estran.platforms.simulated.flow.compiling import compiled, inlined
from estran.platforms.simulated.flow.tables import BURSTY, POISSON, REPLAY, STEADY, Source

RATE, ROWS, ON, OFF, QUIET, PERIOD, SWING = range(7)
NUMBERS = 7


@compiled
def _wait(source: Source, replica: Any, key: Any) -> Any:
    """Seconds to the next row of a random process."""
    numbers, kind = source.numbers, source.kind[0]
    draw = source.draws[replica]
    waited = 0.0
    if kind == POISSON:
        waited = -math.log(uniform(key, draw)) / numbers[RATE]
        draw += 1
    elif kind == BURSTY:
        burst = numbers[RATE] * (numbers[ON] + numbers[OFF]) / (numbers[ON] + numbers[QUIET] * numbers[OFF])
        while True:
            pace = burst if source.bursting[replica] else burst * numbers[QUIET]
            gap = -math.log(uniform(key, draw)) / pace if pace > 0 else math.inf
            draw += 1
            if gap < source.lasting[replica]:
                source.lasting[replica] -= gap
                waited += gap
                break
            waited += source.lasting[replica]
            source.bursting[replica] = not source.bursting[replica]
            mean = numbers[ON] if source.bursting[replica] else numbers[OFF]
            source.lasting[replica] = -math.log(uniform(key, draw)) * mean
            draw += 1
    else:
        top, now = numbers[RATE] * (1 + numbers[SWING]), source.clock[replica]
        while True:
            now += -math.log(uniform(key, draw)) / top
            moment = numbers[RATE] * (1 - numbers[SWING] * math.cos(2 * math.pi * now / numbers[PERIOD]))
            draw += 2
            if uniform(key, draw - 1) * top < moment:
                break
        waited = now - source.clock[replica]
        source.clock[replica] = now
    source.draws[replica] = draw
    return waited


@inlined
def _following(source: Source, replica: Any, key: Any) -> Any:
    """When the next message leaves: with its last row; infinity if there is none."""
    kind, rows, due = source.kind[0], int(source.numbers[ROWS]), source.due[replica]
    if len(source.left) > 0:
        if source.left[replica] == 0:
            return math.inf
        source.left[replica] -= 1
    if kind == STEADY:
        if due >= 0:
            return due + rows / source.numbers[RATE]
        return (uniform(key, 0) + rows - 1) / source.numbers[RATE]
    if kind == REPLAY:
        last = source.draws[replica] + rows
        source.draws[replica] = last
        return source.trace[last - 1] if last <= len(source.trace) else math.inf
    due = max(due, 0.0)
    for _ in range(rows):
        due += _wait(source, replica, key)
    return due


@compiled
def begin(source: Source, seed: Any, first: Any, last: Any) -> None:
    """Set replicas ``first`` to ``last`` to their first messages."""
    for replica in range(first, last):
        key = stream(seed, replica)
        if source.kind[0] == BURSTY:
            on, off = source.numbers[ON], source.numbers[OFF]
            source.bursting[replica] = uniform(key, 1) < on / (on + off)
            source.lasting[replica] = -math.log(uniform(key, 2)) * (on if source.bursting[replica] else off)
            source.draws[replica] = 3
        source.due[replica] = _following(source, replica, key)


@compiled
def create(source: Source, seed: Any, departures: Any, first: Any, last: Any, until: Any) -> Any:
    """Create what replicas ``first`` to ``last`` have to send by ``until``, as far as there is room.

    Returns
    -------
    tuple of int
        The replica to go on with (``last`` if all is done), and the number of messages.
    """
    n = 0
    for replica in range(first, last):
        due = source.due[replica]
        if due > until:
            continue
        key = stream(seed, replica)
        while due <= until:
            if n == len(departures):
                return replica, n
            departure = departures[n]
            departure.time = due
            departure.created = due
            departure.place = replica
            departure.channel = 0
            n += 1
            due = _following(source, replica, key)
            source.due[replica] = due
    return last, n
