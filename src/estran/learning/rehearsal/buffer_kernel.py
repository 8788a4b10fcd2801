"""Compiled choices of a rehearsal buffer: who comes in, who goes, who is drawn. Importing it imports numba."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.draws import uniform

Array = NDArray[Any]

RESERVOIR, BALANCED, GREEDY, FIFO, FIRO, LOSS = range(6)
"""Policies, in the order of `estran.learning.rehearsal.buffer.POLICIES`."""

SEED, DRAWN, FILL, OFFERED = range(4)
"""Places in ``counters``: seed and number of draws made, rows held, rows offered."""
HELD, CAME, FULL = range(3)
"""Rows of ``counts``: of each class, how many are held, how many were offered, and whether it ever was the largest."""


@compiled
def below(counters: Array, count: int) -> int:
    """A whole number from 0 to below ``count``, all alike likely (to 2⁻⁵³)."""
    found = int(uniform(counters[SEED], counters[DRAWN]) * count)
    counters[DRAWN] += 1
    return found


@compiled
def subset(counters: Array, count: int, chosen: Array) -> None:
    """Different numbers below ``count``, as many as ``chosen`` has room for, every set of them alike likely.

    Floyd's algorithm (Bentley, Floyd, *A sample of brilliance*, Communications of the ACM 30, 1987).
    """
    for k in range(chosen.size):
        last = count - chosen.size + k
        found = below(counters, last + 1)
        for before in range(k):
            if chosen[before] == found:
                found = last
                break
        chosen[k] = found


@compiled
def _of_class(counters: Array, labels: Array, label: int) -> int:
    """A slot of one class, all of them alike likely. The class must be there; a common one is found soon."""
    slot = below(counters, int(counters[FILL]))
    while labels[slot] != label:
        slot = below(counters, int(counters[FILL]))
    return slot


@compiled
def _least_lost(counters: Array, losses: Array) -> int:
    """A slot, likely by how far its loss is below the greatest; any, where all are alike."""
    fill = int(counters[FILL])
    top, total = losses[0], 0.0
    for slot in range(1, fill):
        top = max(top, losses[slot])
    for slot in range(fill):
        total += top - losses[slot]
    if not total > 0.0:
        return below(counters, fill)
    left = uniform(counters[SEED], counters[DRAWN]) * total
    counters[DRAWN] += 1
    found = 0
    for slot in range(fill):
        share = top - losses[slot]
        # The last with a share stands in for what rounding leaves over.
        found = slot if share > 0.0 else found
        if share > 0.0 and left < share:
            return slot
        left -= share
    return found


@compiled
def _victim(policy: int, counters: Array, label: int, labels: Array, losses: Array, counts: Array) -> int:
    """Which slot of a full buffer an offered row takes, or -1 if it is not taken; the row is counted as offered already."""
    if policy == FIFO:
        return int((counters[OFFERED] - 1) % labels.size)
    if policy == FIRO:
        return below(counters, labels.size)
    if policy in (RESERVOIR, LOSS):
        place = below(counters, int(counters[OFFERED]))
        if place >= labels.size:
            return -1
        return place if policy == RESERVOIR else _least_lost(counters, losses)
    held, offered, full = counts[HELD], counts[CAME], counts[FULL]
    most, ties = held.max(), 0
    for other in range(held.size):
        if held[other] == most:
            ties += 1
            full[other] = 1
    if held[label] < most and (policy == GREEDY or not full[label]):
        # The largest class gives way; of several, each alike likely.
        pick = below(counters, ties)
        for other in range(held.size):
            if held[other] == most:
                if pick == 0:
                    return _of_class(counters, labels, other)
                pick -= 1
    if policy == BALANCED and below(counters, offered[label]) < held[label]:
        return _of_class(counters, labels, label)
    return -1


@compiled
def admit(
    policy: int,
    counters: Array,
    fresh: Array,
    lost: Array,
    labels: Array,
    losses: Array,
    counts: Array,
    slots: Array,
) -> None:
    """Offer rows, one after another.

    Parameters
    ----------
    fresh, lost
        Their labels and losses.
    labels, losses
        Of the rows held, by slot; in place.
    counts
        What is known of each class; in place.
    slots
        Filled in: where each row goes, or -1.
    """
    for row in range(fresh.size):
        label, fill = fresh[row], int(counters[FILL])
        counters[OFFERED] += 1
        counts[CAME, label] += 1
        slot = fill
        if fill < labels.size:
            counters[FILL] += 1
        else:
            slot = _victim(policy, counters, label, labels, losses, counts)
            if slot >= 0:
                counts[HELD, labels[slot]] -= 1
        if slot >= 0:
            counts[HELD, label] += 1
            labels[slot] = label
            losses[slot] = lost[row]
        slots[row] = slot
