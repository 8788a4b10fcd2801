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
from estran.spec.calibration import TOGETHER, Handling
from estran.spec.costs import FREE, Cost

HARD: Final = 50.0
"""Condition number above which two columns cannot be told apart: counts that vary by less than a 25th of their mean."""

WAKING: Final = 0.8
"""Share of a lone message's processor time that is waking up, where runs do not tell: what was seen where they do."""

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
    receiving, sending = (Cost(one.time * speed, one.each * speed) for one in (receive, send))
    return Handling(service, device, wake, take, receiving, sending, idle * speed, _late(places), _begin(places))


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
    """Between two readings of its process's time, as columns: flocks and messages received, both sent, seconds, processor seconds.

    A flock is what comes together, with what was sent also what comes back for it; of the processor seconds, those that are left
    to explain.
    """
    if seat.name not in reading.processor:
        return np.zeros((0, 6))
    times, used = reading.processor[seat.name]
    messages, operations = reading.messages, reading.operations
    mine = operations.replica == seat.name
    left = np.diff(used) - np.histogram(operations.end[mine], times, weights=operations.cpu[mine])[0]
    if own is not None:
        left -= np.histogram(own.done, times, weights=take.time + take.each * own.size)[0]
    received = messages.received[messages.receiver == seat.name]
    own_messages = messages.origin == seat.name
    sent = messages.sent[own_messages]
    counts = [np.histogram(when, times)[0] for when in (flocks(received), received, flocks(sent), sent)]
    # What it sent comes back as acknowledgements, which wake it up, too: once for messages that a consumer has done together.
    for consumer in sorted(set(messages.receiver[own_messages].tolist())):
        done = messages.done[own_messages & (messages.receiver == consumer)]
        counts[2] = counts[2] + np.histogram(flocks(done), times)[0]
    lived = np.diff(used) >= 0  # a process that was restarted counts from 0 again
    return np.column_stack([*counts, np.diff(times), left])[lived]


def flocks(times: Floats) -> Floats:
    """When the first of each flock came: those that come no further apart than `TOGETHER`."""
    ordered = np.sort(times)
    begins = np.ones(len(ordered), dtype=bool)
    begins[1:] = np.diff(ordered) > TOGETHER
    found: Floats = ordered[begins]
    return found


def _processor(intervals: Floats, name: str, warnings: list[str]) -> tuple[Cost, Cost, float]:
    """Processor time of receiving and sending, per flock and per message, and per second.

    What cannot be told apart is put together: flocks that are always as large, by the usual shares of waking up and of each
    message; receiving and sending, where a service sends one message for each that it receives: both get the same; and time, where
    messages come at one rate: then time gets nothing.
    """
    shares = np.zeros((5, 3))  # what one unit of receiving, of sending and of time gives each column
    shares[4, 2] = 1.0
    split = []
    for kind, columns in enumerate(([0, 1], [2, 3])):
        shares[columns, kind] = WAKING, 1 - WAKING
        if condition(intervals[:, columns]) < HARD:
            split.append(columns)
    units = intervals[:, :5] @ shares
    groups = [[unit] for unit in range(3) if units[:, unit].any()]
    if [0] in groups and [1] in groups and condition(units[:, [0, 1]]) > HARD:
        warnings.append(f"{name} sends as it receives, so both are taken to cost the same")
        groups = [[0, 1], *groups[2:]]
    if len(groups) > 1 and condition(_sums(units, groups)) > HARD:
        warnings.append(
            f"{name}: its messages came at one rate, so its processor time is put down to them, and none to time itself"
        )
        groups = groups[:-1]
    basis = [shares[:, group].sum(axis=1) for group in groups]
    for columns in split if [0, 1] not in groups else []:
        basis = [one for one in basis if not one[columns].any()] + [_one(column) for column in columns]
    found = np.zeros(5)
    for one, value in zip(basis, non_negative(intervals[:, :5] @ np.array(basis).T, intervals[:, 5]), strict=True):
        found += one * value
    return Cost(float(found[0]), float(found[1])), Cost(float(found[2]), float(found[3])), float(found[4])


def _one(column: int) -> Floats:
    found: Floats = np.eye(5)[column]
    return found


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


def _begin(places: Sequence[Place]) -> Cost:
    """How late sources begin, when all that they touch is touched for the first time."""
    begun = [reading.begun[seat.name] for reading, seat in places if seat.name in reading.begun]
    return Cost(float(np.mean(begun)), 0.0, spread(begun)) if any(begun) else FREE
