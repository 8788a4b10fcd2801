"""Which calls of a command were made while it served which request, and how long it was busy with each itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estran.observe.sightings import Exchanges
from estran.observe.stories import Floats, Integers, Mask


@dataclass(frozen=True, slots=True)
class Nesting:
    """Requests that a replica answered, in order of their arrival, and the calls that lie within them.

    Attributes
    ----------
    served
        Shape (n,), answered ones only.
    parents
        For each call the request that it was made for, -1 for calls of its own accord; shape (m,).
    calls
        For each request the begins and ends of its calls, in order.
    """

    served: Exchanges
    parents: Integers
    calls: tuple[tuple[tuple[float, float], ...], ...]

    def undisturbed(self) -> Floats:
        """Seconds of service beside calls, of requests during whose own work no other request was worked on."""
        segments = [
            _segments(low, high, calls) for low, high, calls in zip(self.served.asked, self.served.first, self.calls, strict=True)
        ]
        owners = np.array([index for index, own in enumerate(segments) for _ in own], dtype=np.int64)
        spans = np.array([span for own in segments for span in own], dtype=np.float64).reshape(-1, 2)
        shared = set(owners[_overlapping(spans, owners)].tolist())
        return np.array([sum(high - low for low, high in own) for index, own in enumerate(segments) if index not in shared])

    def done(self, until: Floats) -> Floats:
        """Requests served up to each time; one that is being served counts by the share of its service time."""
        low, high = self.served.asked, np.maximum(self.served.first, self.served.asked + 1e-9)
        return np.array([np.clip((time - low) / (high - low), 0.0, 1.0).sum() for time in until])

    def together(self, asked: Exchanges, target: str) -> Mask:
        """Of the calls to a target that follow another one of the same request: whether they left before that was answered."""
        last: dict[int, float] = {}
        found = []
        for row in np.flatnonzero((self.parents >= 0) & (asked.peer == target)):
            parent = int(self.parents[row])
            if parent in last:
                found.append(asked.begun[row] < last[parent])
            last[parent] = max(last.get(parent, -np.inf), float(asked.last[row]))
        return np.array(found, dtype=bool)


def nest(served: Exchanges, asked: Exchanges) -> Nesting:
    """Find for each call the request that it was made for.

    A call belongs to a request if it begins after the request has arrived and ends before the answer leaves. Of several such
    requests, those come first that have no call to the same service yet, then those whose last one has ended, then the oldest.
    """
    answered = served.select(np.isfinite(served.first) & (served.first >= served.asked))
    order = np.argsort(answered.asked, kind="stable")
    answered = answered.select(order)
    parents = np.full(len(asked), -1, dtype=np.int64)
    calls: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    busy: dict[tuple[int, str], float] = {}
    active: list[int] = []
    arrived = 0
    for row in np.argsort(asked.begun, kind="stable").tolist():
        begun, last, target = float(asked.begun[row]), float(asked.last[row]), str(asked.peer[row])
        while arrived < len(answered) and answered.asked[arrived] <= begun:
            active.append(arrived)
            arrived += 1
        active = [index for index in active if answered.first[index] >= begun]
        around = [index for index in active if answered.first[index] >= last]  # never true of a call without an answer
        if around:
            parent = min(around, key=lambda index: (_rank(busy.get((index, target)), begun), index))
            parents[row] = parent
            calls[parent].append((begun, last))
            busy[parent, target] = max(busy.get((parent, target), -np.inf), last)
    return Nesting(answered, parents, tuple(tuple(calls.get(index, ())) for index in range(len(answered))))


def _rank(ended: float | None, begun: float) -> int:
    """0 without a call so far, 1 if it has ended, 2 if it goes on."""
    return 0 if ended is None else 1 if ended <= begun else 2


def _segments(low: float, high: float, calls: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of an interval beside its calls."""
    left, at = [], low
    for begun, ended in sorted(calls):
        if begun > at:
            left.append((at, begun))
        at = max(at, ended)
    return [*left, (at, high)] if high > at else left


def _overlapping(spans: Floats, owners: Integers) -> Mask:
    """Which spans overlap one of another owner; shape (n, 2) and (n,)."""
    found = np.zeros(len(spans), dtype=bool)
    order = np.argsort(spans[:, 0], kind="stable")
    active: list[int] = []
    for row in order.tolist():
        active = [other for other in active if spans[other, 1] > spans[row, 0]]
        for other in active:
            if owners[other] != owners[row]:
                found[[other, row]] = True
        active.append(row)
    return found
