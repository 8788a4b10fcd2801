"""Brings what waits for a part into order: by replica, then by time, then as it came."""

from __future__ import annotations

from typing import Any

import numpy as np

from estran.platforms.simulated.flow.compiling import allocating, compiled

_CROWDED = 48
_FINEST = 4096


@allocating
def arrange(inbox: Any, n: Any, first: Any, places: Any, low: Any, high: Any) -> Any:
    """Find the messages that have come by ``high``, in order.

    One counting sort by replica and slice of time leaves neighbours nearly in order; insertion does the rest.

    Parameters
    ----------
    first, places
        The part's first replica, and how many it has.
    low
        Time since which most have come.

    Returns
    -------
    tuple
        Positions in the inbox, in order; and where each replica's begin, shape (places + 1,).
    """
    due = 0
    for i in range(n):
        due += inbox[i].time <= high
    slices = min(max(1, due // places), _FINEST)
    scale = slices / (high - low) if high > low else 0.0
    starts = np.zeros(places * slices + 1, np.int64)
    key = np.empty(n, np.int32)
    for i in range(n):
        if inbox[i].time <= high:
            at = min(max(int((inbox[i].time - low) * scale), 0), slices - 1)
            key[i] = (inbox[i].place - first) * slices + at
            starts[key[i] + 1] += 1
    for k in range(places * slices):
        starts[k + 1] += starts[k]
    order = np.empty(due, np.int32)
    begins = np.empty(places + 1, np.int64)
    for p in range(places + 1):
        begins[p] = starts[p * slices]
    for i in range(n):
        if inbox[i].time <= high:
            order[starts[key[i]]] = i
            starts[key[i]] += 1
    _sort(inbox, order, starts, begins, slices)
    return order, begins


@allocating
def _sort(inbox: Any, order: Any, ends: Any, begins: Any, slices: Any) -> None:
    """Sort within replicas what is already apart by slices; ``ends`` are those of the slices."""
    start = 0
    for k in range(len(ends) - 1):
        end = ends[k]
        if end - start > _CROWDED:
            some = order[start:end].copy()
            times = np.empty(len(some), np.float64)
            for i in range(len(some)):
                times[i] = inbox[some[i]].time
            order[start:end] = some[np.argsort(times, kind="mergesort")]
        else:
            for i in range(start + 1, end):
                moving = order[i]
                when = inbox[moving].time
                j = i - 1
                while j >= start and inbox[order[j]].time > when:
                    order[j + 1] = order[j]
                    j -= 1
                order[j + 1] = moving
        start = end


@compiled
def keep(inbox: Any, spare: Any, n: Any, high: Any, deferred: Any, count: Any) -> Any:
    """Copy what was put off, then what comes after ``high``, to the spare inbox; return how many."""
    for j in range(count):
        spare[j] = inbox[deferred[j]]
    kept = count
    for i in range(n):
        if inbox[i].time > high:
            spare[kept] = inbox[i]
            kept += 1
    return kept
