"""Whether a client waits for answers before it asks again, decided from when it asked and when it was answered.

A *closed* loop asks again some time after the answer; an *open* loop asks when it is time, whatever became of the last request.

Where no more than 5 % of requests leave before the one before was answered, by the first of these that tells:

1. If gaps between requests had nothing to do with latencies, some gaps would be shorter than the latency before them: as many as
   among all pairs of a gap and a latency. If at least three were to be expected and there is none: closed.
2. A gap is latency plus pause in a closed loop, so that gaps grow with latencies at a slope of 1, and at 0 in an open one. Where
   the slope's standard error is below 1/4: closed if it is above 1/2.
3. Where latencies hardly vary, both describe what was seen. A regular pace (gaps vary by less than a tenth) is taken for a clock's:
   open; an irregular one that never overtook an answer: closed.

Where more leave early, the client has several connections. It is either several closed loops side by side, each on its own
connection, or an open one that takes whichever connection is free. It is taken for open

4. if connections serve once, or
5. if it takes the connection that was free last nine times in ten, as pools do, or
6. if, when a request leaves, as many others are under way as on the average over time: arrivals of an open loop know nothing of
   them (Wolff 1982), those of ``k`` closed loops see the share ``(k - 1) / k``. The line is drawn in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.observe.sightings import Exchanges
from estran.observe.stories import Floats

EARLY: Final = 0.05
EXPECTED: Final = 3.0
EXACT: Final = 0.25
REGULAR: Final = 0.1
POOLED: Final = 0.9
_SHIFTS: Final = 50


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a client paces its requests.

    Attributes
    ----------
    waits
        Closed loop.
    pauses
        Seconds from an answer to the next request (closed), or from a request to the next (open); shape (n,).
    loops
        Closed: how many such loops a replica runs side by side.
    """

    waits: bool
    pauses: Floats
    loops: int


def pacing(clients: Sequence[Exchanges], seconds: float) -> Pacing:
    """Find out how some like clients pace themselves.

    Parameters
    ----------
    clients
        What each of them asked of one service.
    seconds
        How long they were watched.
    """
    gaps, latencies = _pairs(clients)
    if not len(gaps):
        return Pacing(True, np.zeros(0), 1)
    if np.mean(gaps < latencies) <= EARLY:
        closed = waits(gaps, latencies)
        return Pacing(closed, np.maximum(gaps - latencies, 0.0) if closed else gaps, 1)
    if not all(several_loops(client) for client in clients):
        return Pacing(False, gaps, 1)
    lanes = [lane for client in clients for lane in _lanes(client)]
    gaps, latencies = _pairs(lanes)
    busy = sum(float(lane.begun[-1] - lane.begun[0]) for lane in lanes)
    return Pacing(True, np.maximum(gaps - latencies, 0.0), max(1, round(busy / seconds / len(clients))))


def departures(exchanges: Exchanges) -> Floats:
    """When each request was wanted: where it needed a connection first, when that was asked for."""
    found: Floats = np.where((exchanges.number == 0) & np.isfinite(exchanges.opened), exchanges.opened, exchanges.begun)
    return found


def waits(gaps: Floats, latencies: Floats) -> bool:
    """Whether one loop is closed: looks 1 to 3; both of shape (n,), each latency with the gap that follows it."""
    early = float(np.mean(gaps < latencies))
    if early > EARLY:
        return False
    shifts = np.unique(np.linspace(1, len(gaps) - 1, _SHIFTS).astype(int)) if len(gaps) > 1 else np.zeros(0, dtype=int)
    expected = float(np.mean([np.mean(gaps < np.roll(latencies, shift)) for shift in shifts])) if len(shifts) else 0.0
    if early == 0 and expected * len(gaps) >= EXPECTED:
        return True
    # The slope is above 1/2 exactly where pauses vary less than gaps.
    pauses, regular, varied = (float(np.var(values)) for values in (gaps - latencies, gaps, latencies))
    if min(pauses, regular) <= EXACT**2 * varied * len(gaps) and varied > 0:
        return pauses < regular
    return early == 0 and np.sqrt(regular) > REGULAR * float(np.mean(gaps))


def several_loops(client: Exchanges) -> bool:
    """Whether a client with requests under way side by side is several closed loops: looks 4 to 6."""
    lanes = _lanes(client)
    if len(lanes) < 2 or _takes_the_last_free(client) >= POOLED:
        return False
    done = client.select(np.isfinite(client.last))
    begun, last = np.sort(departures(done)), np.sort(done.last)
    under_way = np.arange(len(begun)) - np.searchsorted(last, begun)
    average = float((done.last - departures(done)).sum() / (last[-1] - begun[0]))
    return float(under_way.mean()) < average * (1 - 1 / (2 * len(lanes)))


def _takes_the_last_free(client: Exchanges) -> float:
    """Share of requests that took the connection which was answered last, where there was a choice; 0 where there never was."""
    free: dict[str, float] = {}
    hits = choices = 0
    for begun, last, name in zip(client.begun.tolist(), client.last.tolist(), client.connection.tolist(), strict=True):
        idle = {other: since for other, since in free.items() if since <= begun}
        if name in idle and len(idle) > 1:
            choices += 1
            hits += max(idle, key=lambda other: idle[other]) == name
        free[name] = last if np.isfinite(last) else np.inf
    return hits / choices if choices else 0.0


def _lanes(client: Exchanges) -> list[Exchanges]:
    """Requests of each connection that was used more than once."""
    names, counts = np.unique(client.connection.astype(str), return_counts=True)
    return [client.select(client.connection == name) for name in names[counts > 1]]


def _pairs(lanes: Sequence[Exchanges]) -> tuple[Floats, Floats]:
    """Gaps from request to request, and the latency of the first of the two, where it was answered."""
    gaps, latencies = [np.zeros(0)], [np.zeros(0)]
    for lane in lanes:
        wanted = departures(lane)
        order = np.argsort(wanted, kind="stable")
        gaps.append(np.diff(wanted[order]))
        latencies.append((lane.last - wanted)[order][:-1])
    gap, latency = np.concatenate(gaps), np.concatenate(latencies)
    answered = np.isfinite(latency)
    return gap[answered], latency[answered]
