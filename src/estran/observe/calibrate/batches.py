"""What a replica took up together: when it could, when it did, and what of its time no operation accounts for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estran.observe.calibrate.readings import Reading, Seat
from estran.observe.stories import Floats, Mask


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of one replica, in the order in which it took them up; shape (n,) each.

    Attributes
    ----------
    received
        When the first message of each had arrived.
    size
        Messages in it.
    beside
        Seconds between being taken up and the end, less the operations meanwhile.
    idle
        Whether its first message found the replica with nothing to do.
    """

    received: Floats
    started: Floats
    done: Floats
    size: Floats
    beside: Floats
    idle: Mask


def batches(reading: Reading, seat: Seat) -> Batches | None:
    """A replica's batches, or None if it processed nothing.

    Messages that were taken up at the same instant are one batch. The first one of each stream never counts as *idle*: a
    component may have waited for something else before it could begin.
    """
    messages = reading.messages
    mine = np.flatnonzero(messages.receiver == seat.name)
    if not len(mine):
        return None
    mine = mine[np.argsort(messages.started[mine], kind="stable")]
    started = messages.started[mine]
    first = np.flatnonzero(np.concatenate(([True], np.diff(started) > 0)))
    received = np.minimum.reduceat(messages.received[mine], first)
    done = np.maximum.reduceat(messages.done[mine], first)
    size = np.diff(np.concatenate((first, [len(mine)]))).astype(np.float64)
    beside = np.maximum(done - started[first] - _operating(reading, seat, started[first], done), 0.0)
    busy_until = np.concatenate(([-np.inf], np.maximum.accumulate(done)[:-1]))
    idle = received >= busy_until
    for stream in np.unique(messages.stream[mine]):
        idle[np.searchsorted(first, np.flatnonzero(messages.stream[mine] == stream)[0], "right") - 1] = False
    return Batches(received, started[first], done, size, beside, idle)


def _operating(reading: Reading, seat: Seat, started: Floats, done: Floats) -> Floats:
    """Seconds of each batch during which operations of its replica went on; they never overlap each other by much."""
    operations = reading.operations
    mine = operations.replica == seat.name
    end = operations.end[mine]
    begin = end - operations.wall[mine]
    return _overlap(begin, end, done) - _overlap(begin, end, started)


def _overlap(begin: Floats, end: Floats, until: Floats) -> Floats:
    """Total length of what lies before each time, of all intervals together."""
    found: Floats = _ramp(begin, until) - _ramp(end, until)
    return found


def _ramp(since: Floats, until: Floats) -> Floats:
    """Sum over all ``since`` of how far each ``until`` lies beyond it."""
    ordered = np.sort(since)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    count = np.searchsorted(ordered, until)
    found: Floats = count * until - sums[count]
    return found


def wakes(batches: Batches, seat: Seat) -> Floats:
    """Seconds from arrival at an idle replica to being taken up, less the time that it lingers for a fuller batch."""
    lingered = np.where(batches.size < seat.most, seat.linger, 0.0)
    found: Floats = np.maximum(batches.started - batches.received - lingered, 0.0)[batches.idle]
    return found


def pause(speed: float) -> float:
    """Seconds for which an emulated core of a speed is held back once it has used up its share of a period; 0 at full speed.

    Shares are enforced by quotas of 1 ms to a speed of 0.1, 2 ms to 0.25, and 5 ms above.
    """
    quota = 1e-3 if speed <= 0.1 else 2e-3 if speed <= 0.25 else 5e-3
    return quota * (1 / speed - 1) if speed < 1 else 0.0
