"""Runs a program: window after window, station after station, a station's parts side by side.

Within a window each station first gets what its predecessors send; since nothing leaves before it came, all that arrives by the
end of the window is there when a station's turn comes. Where messages go in a circle a window is shorter than the way back.
Parts are fixed and have random numbers, sums and queues of their own, so that the number of threads changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

import numpy as np

from estran.errors import EstranError
from estran.platforms.simulated.flow import batching, creating, sending, serving
from estran.platforms.simulated.flow.bins import BINS
from estran.platforms.simulated.flow.program import Node, Program
from estran.platforms.simulated.flow.tables import COLUMNS, COUNTS, MESSAGE, SLOTS, TRANSFER_SHAPES, Array, Out, Rules, Sums

FEWEST, MOST, EACH = 60_000, 600_000, 0.6
"""Messages that sources create in a window: few enough for the cache, enough for a step, and, where there are many sources, a good
part of one each, so that links are visited in order."""
WINDOWS: Final = 50
"""Windows at the least, so that one can watch and interrupt."""
ROOM: Final = 1 << 16
MOST_WAITING: Final = 20_000_000
PILE: Final = 1_000
"""Messages below which a queue is none to speak of."""
SMALL = 2_000
"""Messages below which a second thread is not worth waking."""


class Queue:
    """What waits for one part of a station, and the space for it."""

    def __init__(self) -> None:
        self.n = 0
        self.inbox, self.spare = np.empty(64, MESSAGE), np.empty(64, MESSAGE)

    def add(self, messages: Array) -> None:
        """Append messages."""
        end = self.n + len(messages)
        if end > len(self.inbox):
            larger = np.empty(max(end, 2 * self.n), MESSAGE)
            larger[: self.n] = self.inbox[: self.n]
            self.inbox = larger
        _bytes(self.inbox[self.n : end])[:] = _bytes(messages)
        self.n = end

    def prepare(self) -> tuple[Array, Array, int]:
        """What waits, space for what remains, and how many wait."""
        if len(self.spare) < len(self.inbox):
            self.spare = np.empty(len(self.inbox), MESSAGE)
        return self.inbox, self.spare, self.n

    def remain(self, n: int) -> None:
        """So many remain, in the spare space."""
        self.inbox, self.spare, self.n = self.spare, self.inbox, n


class Part:
    """One part of a station at work: its queue, its outbox, its sums."""

    def __init__(self, node: Node, first: int, places: int, hops: int, window: Array) -> None:
        self.node, self.first, self.places = node, first, places
        self.queue = Queue()
        self.next = first
        self.departures = np.empty(64, MESSAGE)
        self.out = _out(len(node.rows), 64)
        self.sums = Sums(
            window, np.zeros((1 + hops, SLOTS, COLUMNS)), np.zeros((1 + hops, COUNTS), np.int64),
            np.zeros((TRANSFER_SHAPES + hops, BINS), np.int64),
        )  # fmt: skip

    def room(self, departures: int, messages: int) -> None:
        """Make room for so many departures, and so many messages in each row of the outbox; empty it."""
        if departures > len(self.departures):
            self.departures = np.empty(max(departures, 2 * len(self.departures)), MESSAGE)
        if messages > self.out.messages.shape[1]:
            self.out = _out(len(self.node.rows), max(messages, 2 * self.out.messages.shape[1]))
        self.out.filled[:] = 0


class Engine(AbstractContextManager["Engine"]):
    """Simulates a program.

    Parameters
    ----------
    program
        From `estran.platforms.simulated.flow.building.build`; its arrays hold the state, so it can be run once.
    threads
        How many work at the same time; results are the same with any number.

    Attributes
    ----------
    now
        Up to when everything has been simulated.
    """

    def __init__(self, program: Program, threads: int = 2) -> None:
        measure = program.experiment.measure
        self.end = measure.warmup + measure.duration
        self.now = 0.0
        self.program = program
        window = np.array([measure.warmup, self.end, SLOTS / measure.duration])
        self.parts = [
            [Part(node, first, places, len(program.hops), window) for first, places in node.parts] for node in program.nodes
        ]
        self._rules = Rules(program.wires.hops, program.wires.laws, program.wires.quantiles)
        self._held = [_held(program, node) for node in program.nodes]
        self._seen = [{0.25: 0, 0.5: 0} for _ in program.nodes]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="flow") if threads > 1 else None
        for parts in self.parts:
            for part in parts:
                if part.node.source is not None:
                    creating.begin(part.node.source, part.node.seed, part.first, part.first + part.places)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    @property
    def window(self) -> float:
        """Length of a window, seconds."""
        sources = sum(node.places for node in self.program.nodes if node.source is not None)
        busy = min(max(EACH * sources, FEWEST), MOST) / self.program.rate if self.program.rate > 0 else math.inf
        return min(busy, self.program.lookahead, self.end / WINDOWS)

    def run(self) -> Iterator[float]:
        """Simulate; yield after each window how far it has come.

        Raises
        ------
        EstranError
            If messages pile up beyond what can be kept.
        """
        count = math.ceil(self.end / self.window)
        for number in range(1, count + 1):
            until = self.end if number == count else self.end * number / count
            for place in range(len(self.program.nodes)):
                self._step(place, until)
            self.now = until
            self._check(number / count)
            yield until

    def waiting(self, place: int) -> int:
        """Messages that wait for a node."""
        return sum(part.queue.n for part in self.parts[place])

    def _step(self, place: int, until: float) -> None:
        """Let one station work through the window."""
        node, parts = self.program.nodes[place], self.parts[place]
        if node.kind == "source":
            for part in parts:
                part.next = part.first
            while unfinished := [part for part in parts if part.next < part.first + part.places]:
                self._each(unfinished, lambda part: self._create(part, place, until), ROOM)
                self._deliver(unfinished)
            return
        self._each(parts, lambda part: self._serve(part, place, until), max(part.queue.n for part in parts))
        self._deliver(parts)

    def _each(self, parts: Sequence[Part], work: Callable[[Part], None], size: int) -> None:
        if self._pool is None or len(parts) == 1 or size < SMALL:
            for part in parts:
                work(part)
        else:
            list(self._pool.map(work, parts))

    def _create(self, part: Part, place: int, until: float) -> None:
        node, last = part.node, part.first + part.places
        assert node.source is not None
        room = max(1, ROOM // node.fan)
        part.room(room, room * node.fan + self._held[place])
        part.next, n = creating.create(node.source, node.seed, part.departures[:room], part.next, last, until)
        self._dispatch(part, n, until)

    def _serve(self, part: Part, place: int, until: float) -> None:
        node, wires, n = part.node, self.program.wires, part.queue.n
        published = self._published(node, n, until)
        part.room(n + published, n * node.fan + self._held[place] + published * node.models_fan)
        rest = part.first, part.places, self.now, until
        if node.station is None:
            part.queue.remain(sending.share(*part.queue.prepare(), wires, part.out, part.sums, *rest))
            return
        kernel = batching.serve_batches if node.kind == "batch" else serving.serve
        left, n = kernel(*part.queue.prepare(), node.station, node.seed, self._rules, part.departures, part.sums, *rest)
        part.queue.remain(left)
        self._dispatch(part, n, until)

    def _dispatch(self, part: Part, n: int, until: float) -> None:
        """Send what leaves a station's part."""
        node, wires = part.node, self.program.wires
        sending.dispatch(part.departures, n, wires, part.out, part.sums, node.answers, node.models)
        if self._held[self.program.nodes.index(node)]:
            last = part.first + part.places
            for hops in (node.answers, node.models):
                sending.flush(wires, part.out, part.sums, hops, part.first, last, until)

    def _published(self, node: Node, n: int, until: float) -> int:
        """Models that a station's part can publish in one window at the most."""
        station = node.station
        if station is None or not station.flags[serving.PUBLISHES]:
            return 0
        every, updates = station.numbers[serving.EVERY], station.numbers[serving.UPDATES]
        rows = int(self._rules.hops["rows"].max()) * n
        timed = (until - self.now) / every + 2 if every > 0 else 0.0
        return min(n, math.ceil(node.part * timed + (rows / updates + node.part if updates > 0 else 0)))

    def _deliver(self, parts: Sequence[Part]) -> None:
        """Put what was sent into the queues that it is for, in the order of the parts."""
        for part in parts:
            for row, (node, number) in enumerate(part.node.rows):
                n = int(part.out.filled[row])
                if n:
                    self.parts[node][number].queue.add(part.out.messages[row, :n])

    def _check(self, share: float) -> None:
        """Give up on queues that cannot be kept or, at the end, that have grown all the time."""
        for place, node in enumerate(self.program.nodes):
            waiting = self.waiting(place)
            for mark in self._seen[place]:
                if share <= mark:
                    self._seen[place][mark] = waiting
            quarter, half = self._seen[place].values()
            grew = share == 1 and waiting > PILE and waiting > 1.5 * half and half > 1.5 * quarter
            if waiting > MOST_WAITING or grew:
                where = self.program.where(node.name) if node.name in self.program.hosts else node.name
                what = f"unstable: {waiting:,} messages wait at {where} after {self.now:g} s, and more come than leave"
                raise EstranError(what, remedy=self._remedy(node))

    def _remedy(self, node: Node) -> str:
        station = node.station
        if station is not None and station.flags[serving.WAITS] and np.isnan(station.replicas["model"]).any():
            return "some replicas have no model yet: let the trainer publish sooner, or write before_model: answer_prior"
        return "lower the rates, add replicas, or use faster devices or links"


def _bytes(messages: Array) -> Array:
    """The same memory as plain numbers, which numpy copies whole and not field by field."""
    return messages.view(np.uint64)


def _out(rows: int, size: int) -> Out:
    return Out(np.zeros(rows, np.int64), np.empty((rows, size), MESSAGE))


def _held(program: Program, node: Node) -> int:
    """Messages that may wait at one part's senders of latest streams."""
    return sum(node.part * program.hops[hop].fan for hop in node.outputs if program.hops[hop].latest) if node.kind != "links" else 0
