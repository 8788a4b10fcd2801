"""A source of samples: a camera, a sensor, a log that is replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from estran.components.messages import Samples
from estran.components.rolling import Pace
from estran.learning.arrivals import ArrivalKind, Arrivals, arrival_process, gaps
from estran.learning.datasets import Data, data_choice, load
from estran.learning.drift import Concept, Drift
from estran.learning.faulty import FaultyData
from estran.learning.learner import Labels
from estran.learning.mistakes import SettingsError
from estran.learning.orders import Dealt, Order, OrderKind, Partition, order_choice, partition, passes
from estran.runtime.component import Component
from estran.runtime.message import Story
from estran.runtime.ports import Output
from estran.units import Duration, Frequency

TIMER_SLACK = 2e-3
"""Seconds that a timer may fire late without the sample counting as late."""
RECORD_EVERY = 0.5


@dataclass(frozen=True)
class SourceSettings:
    """What a source sends, and when.

    Attributes
    ----------
    data
        A dataset by name (digits, iris, wine, breast-cancer), a file (CSV, TSV, Parquet, NPZ), or `Data` for the details.
    order
        ``as-is``, ``shuffled``, ``class-incremental``, or `Order` for the details.
    rate
        Samples per second of each replica; as fast as the consumers take them if not given.
    arrivals
        ``fixed``, ``poisson``, ``bursty``, ``diurnal``, or `Arrivals` for the details (and for the replay of a trace).
    batch
        Rows per message; a message leaves when its last row has arrived.
    repeat
        How often the data is passed over; without end if not given.
    limit
        Samples after which each replica ends.
    partition
        Which rows a replica has: ``iid``, ``by-class``, ``shared`` for all, or `Dealt` for unequal shares of every class.
    drift
        Concept drifts, in the order in which they are applied.
    seed
        Of what all replicas must agree on: what a drift does, and shares that are drawn. All else follows the experiment's seed.
    dtype
        Of the rows in a message.
    label_delay
        Time from a sample to its label: the same samples leave by ``labelled`` so much later.
    """

    data: str | Data = "digits"
    order: OrderKind | Order = "shuffled"
    rate: Frequency | None = None
    arrivals: ArrivalKind | Arrivals = "fixed"
    batch: int = 1
    repeat: int | None = None
    limit: int | None = None
    partition: Partition | Dealt = "iid"
    drift: tuple[Drift, ...] = ()
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    label_delay: Duration = 0.0

    def __post_init__(self) -> None:
        data_choice(self.data)
        kind = arrival_process(self.arrivals).kind
        if kind not in ("fixed", "replay") and self.rate is None:
            raise SettingsError(f"{kind} arrivals need a rate", where="source", remedy="write rate: 50/s")
        for name in ("batch", "repeat", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}", where="source", remedy="give 1 or more, or leave it out")


class Source(Component):
    """Sends the rows of a dataset as samples, in an order, at a rate, perhaps drifting.

    Times follow an absolute schedule: a source that was held back catches up, and its samples count as created when they were
    due, so that the wait is not lost from their latency. The metric ``lag`` tells how far behind it is, in seconds.

    A sample carries its class, so that its answer can be graded. Who must not know that yet takes ``labelled``, where samples come
    again once their label is known.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("lag",)
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples",)
    FAULTS: ClassVar[tuple[str, ...]] = ("burst", "drift")

    settings: SourceSettings
    samples: Output[Samples]
    labelled: Output[Samples]

    async def setup(self) -> None:
        """Load the data and take this replica's share of it."""
        settings = self.settings
        self._data = load(settings.data, self.experiment_folder)
        self._own = partition(self._data.y, settings.partition, self.index, self.replicas, settings.seed)
        shared = np.random.default_rng(settings.seed)
        self._concepts = [Concept(one, self._data.x, self._data.classes, shared) for one in settings.drift]
        self._gaps = gaps(arrival_process(settings.arrivals), settings.rate, self.rng, self.experiment_folder)
        self._scheduled = settings.rate is not None or arrival_process(settings.arrivals).kind == "replay"
        self._lag, self._pace = 0.0, Pace(RECORD_EVERY)
        self._faster, self._faulty = 1.0, None
        self._unlabelled: asyncio.Queue[tuple[float, Samples, Story] | None] = asyncio.Queue()

    _faster: float
    _faulty: FaultyData | None

    def disturb(self, kind: str, settings: Mapping[str, Any]) -> None:
        """Send ``factor`` times as much from the next message on, or other rows."""
        if kind == "burst":
            self._faster = settings["factor"]
        else:
            rng = np.random.default_rng([self.settings.seed, crc32(b"drift")])
            self._faulty = FaultyData(settings["change"], settings["amount"], self._data.x, self._data.classes, rng)

    def calm(self, kind: str) -> None:
        """Send as before."""
        if kind == "burst":
            self._faster = 1.0
        else:
            self._faulty = None

    async def run(self) -> None:
        """Send until the data, the trace or the limit is exhausted."""
        async with asyncio.TaskGroup() as group:
            if self.labelled.connected:
                group.create_task(self._label(), name="label")
            await self._send()

    async def _send(self) -> None:
        due, sent = self.clock.now(), 0
        arriving = zip(self._gaps, self._rows(), strict=False)
        while batch := list(islice(arriving, self.settings.batch)):
            due += sum(gap for gap, _ in batch) / self._faster
            await self._wait(due)
            samples = self._sampled([row for _, row in batch], sent)
            story = await self.samples.send(samples, parent=self._story(due, sent))
            if self.labelled.connected:
                self._unlabelled.put_nowait((story.created + self.settings.label_delay, samples, story))
            sent += len(samples)
        self._unlabelled.put_nowait(None)
        await self.samples.drain()
        self.metrics.event("exhausted", f"{sent} samples")

    async def _label(self) -> None:
        """Send samples again when their labels are known."""
        while (waiting := await self._unlabelled.get()) is not None:
            known, samples, story = waiting
            await self.clock.sleep(known - self.clock.now())
            await self.labelled.send(samples, parent=story)
        await self.labelled.drain()

    def _rows(self) -> Iterator[int]:
        """Row numbers of the dataset, in the order in which they are sent."""
        if not len(self._own):
            return iter(())
        endless = passes(order_choice(self.settings.order), self._data.y[self._own], self.rng)
        rows = (row for one_pass in islice(endless, self.settings.repeat) for row in self._own[one_pass].tolist())
        return islice(rows, self.settings.limit)

    async def _wait(self, due: float) -> None:
        if not self._scheduled:
            # Nothing to wait for, but others of this process want their turn.
            await asyncio.sleep(0)
            return
        await self.clock.sleep(due - self.clock.now())
        now = self.clock.now()
        self._lag = max(self._lag, round(now - due, 9))  # a clock tells no less than nanoseconds
        if self._pace.due(now):
            self.metrics.record("lag", self._lag)
            self._lag = 0.0

    def _story(self, due: float, sent: int) -> Story | None:
        """When the samples came to be: when they were due, even if they could not leave then."""
        if not self._scheduled or self.clock.now() - due <= TIMER_SLACK:
            return None
        return Story(trace=f"{self.name}:samples:{sent // self.settings.batch}", created=due)

    def _sampled(self, rows: list[int], start: int) -> Samples:
        data = self._data
        x, y = data.x.take(rows, axis=0), data.y.take(rows)
        if self._concepts:
            self._drift(x, y, start)
        if self._faulty is not None:
            x, y = self._faulty.apply(x, y)
        return Samples(x.astype(self.settings.dtype), y, start, data.classes)

    def _drift(self, x: NDArray[np.float64], y: Labels, start: int) -> None:
        now = self.clock.now()
        for concept in self._concepts:
            for i in range(len(y)):
                weight = concept.drift.weight(now, start + i)
                if weight > 0 and (weight >= 1 or self.rng.random() < weight):
                    x[i], y[i] = concept.apply(x[i], int(y[i]))
