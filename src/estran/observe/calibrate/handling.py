"""What happens around a service's messages: waking up, taking, receiving, sending, idling; and how late its timers fire."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from estran.observe.calibrate.batches import Batches, batches, pause, wakes
from estran.observe.calibrate.fitting import condition, cost, mixture, non_negative, spread
from estran.observe.calibrate.operations import FEW
from estran.observe.calibrate.readings import Reading, Seat
from estran.observe.stories import Floats
from estran.spec.calibration import Handling
from estran.spec.costs import FREE, Cost

HARD: Final = 50.0
"""Condition number above which two columns cannot be told apart: counts that vary by less than a 25th of their mean."""

Place = tuple[Reading, Seat]


def handling_fits(readings: Sequence[Reading], *, native: bool, warnings: list[str]) -> tuple[Handling, ...]:
    """Fit every component service on every device over all runs and replicas."""
    places: defaultdict[tuple[str, str], list[Place]] = defaultdict(list)
    for reading in readings:
        for seat in reading.seats.values():
            if seat.component:
                places[seat.service, seat.device].append((reading, seat))
    return tuple(_fit(*key, places[key], native=native, warnings=warnings) for key in sorted(places))


def _fit(service: str, device: str, places: Sequence[Place], *, native: bool, warnings: list[str]) -> Handling:
    name = f"{service} on {device}"
    found = [(reading, seat, batches(reading, seat)) for reading, seat in places]
    taken = [(reading, seat, own) for reading, seat, own in found if own is not None]
    woken = np.concatenate([np.zeros(0), *(wakes(own, seat) for _, seat, own in taken)])
    if taken and len(woken) < FEW:
        warnings.append(f"{name}: {len(woken)} messages only found it idle, so how it wakes up is hardly known")
    take = _take(taken, name, native=native, warnings=warnings)
    intervals = [_intervals(reading, seat, own, take) for reading, seat, own in found]
    receive, send, idle = _processor(np.concatenate(intervals), name, warnings)
    speed = places[0][1].speed if native else 1.0
    wake = Cost(float(woken.mean()), 0.0, spread(woken)) if len(woken) else FREE
    return Handling(service, device, wake, take, receive * speed, send * speed, idle * speed, _late(places))


def _take(taken: Sequence[tuple[Reading, Seat, Batches]], name: str, *, native: bool, warnings: list[str]) -> Cost:
    """Between being taken up and being done, beside operations and what the component slept meanwhile.

    Where a device is held back to its share of each period, the simulator holds it back too. So batches that contain such a
    pause, which are those that took longer than half of one, do not count; where most do, all are taken at the device's speed.
    """
    sizes, taking, asleep, long = [np.zeros(0)], [np.zeros(0)], False, False
    for reading, seat, own in taken:
        slept = reading.timers[seat.name].slept if seat.name in reading.timers else 0.0
        beside = np.maximum(own.beside - slept / len(own.size), 0.0)
        held = 0.0 if native else pause(seat.speed)
        kept = beside < held / 2 if held else np.ones(len(beside), dtype=bool)
        if 2 * kept.sum() < len(kept):
            kept, beside, long = np.ones(len(beside), dtype=bool), beside * seat.speed, True
        sizes.append(own.size[kept])
        taking.append(beside[kept])
        asleep |= slept > 0
    if asleep:
        warnings.append(f"{name} sleeps: that time is taken off evenly from all that it takes up")
    if long:
        warnings.append(f"{name} spends much time on messages outside `self.compute`, which is taken to be processor time")
    return cost(np.concatenate(sizes), np.concatenate(taking))


def _intervals(reading: Reading, seat: Seat, own: Batches | None, take: Cost) -> Floats:
    """Between two readings of its process's time: messages received, sent, seconds, and processor seconds left to explain."""
    if seat.name not in reading.processor:
        return np.zeros((0, 4))
    times, used = reading.processor[seat.name]
    messages, operations = reading.messages, reading.operations
    mine = operations.replica == seat.name
    left = np.diff(used) - np.histogram(operations.end[mine], times, weights=operations.cpu[mine])[0]
    if own is not None:
        left -= np.histogram(own.done, times, weights=take.time + take.each * own.size)[0]
    received = np.histogram(messages.received[messages.receiver == seat.name], times)[0]
    sent = np.histogram(messages.sent[messages.origin == seat.name], times)[0]
    lived = np.diff(used) >= 0  # a process that was restarted counts from 0 again
    return np.column_stack([received, sent, np.diff(times), left])[lived]


def _processor(intervals: Floats, name: str, warnings: list[str]) -> tuple[float, float, float]:
    """Processor seconds per message received, per message sent, and per second.

    A service that sends a message for each that it receives cannot tell the two apart: then both get the same. A rate that is
    always the same cannot tell what comes with messages from what comes with time: then time gets nothing.
    """
    groups = [[column] for column in range(3) if intervals[:, column].any()]
    if [0] in groups and [1] in groups and condition(intervals[:, [0, 1]]) > HARD:
        warnings.append(f"{name} sends as it receives, so both are taken to cost the same")
        groups = [[0, 1], *groups[2:]]
    if len(groups) > 1 and condition(_sums(intervals, groups)) > HARD:
        warnings.append(
            f"{name}: its messages came at one rate, so its processor time is put down to them, and none to time itself"
        )
        groups = groups[:-1]
    found = np.zeros(3)
    for group, value in zip(groups, non_negative(_sums(intervals, groups), intervals[:, 3]), strict=True):
        found[group] = value
    return float(found[0]), float(found[1]), float(found[2])


def _sums(intervals: Floats, groups: Sequence[Sequence[int]]) -> Floats:
    """One column for each group, the sum of its columns."""
    found: Floats = np.array([intervals[:, list(group)].sum(axis=1) for group in groups]).reshape(len(groups), len(intervals)).T
    return found


def _late(places: Sequence[Place]) -> Cost:
    timers = [reading.timers[seat.name] for reading, seat in places if seat.name in reading.timers]
    if not timers:
        return FREE
    mean = sum(one.mean * one.n for one in timers) / sum(one.n for one in timers)
    return Cost(mean, 0.0, spread(mixture([(one.n, one.quantiles) for one in timers])))
