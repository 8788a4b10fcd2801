"""A worker: learns from its own samples what an aggregator asks it to, and answers with what it came to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from estran.components.messages import Samples, Update, WorkOrder
from estran.learning import registry
from estran.learning.learner import Features, Labels, Learner, LearnerError, State
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output
from estran.runtime.waiting import Waiters
from estran.units import Duration


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker holds, and when it speaks up.

    Attributes
    ----------
    learner
        What it gets ready for before the run begins; what it learns with is what the aggregator says.
    least
        Rows that it waits for before it first says that it is there.
    most
        Rows that it holds. Where steps are asked for, more wait in the stream; where it passes over what it holds, the oldest go.
    remind
        After so long without an order it says again that it is there.
    """

    learner: str | dict[str, dict[str, Any] | None] = "mlp"
    least: int = 1
    most: int = 10_000
    remind: Duration = 5.0

    def __post_init__(self) -> None:
        registry.check_values(self.learner)
        if not 1 <= self.least <= self.most:
            what = f"least is {self.least} and most is {self.most}"
            raise SettingsError(what, where="worker", remedy="give whole numbers from 1, least not above most")
        if self.remind <= 0:
            raise SettingsError("remind is 0", where="worker", remedy="give more than 0")


class Worker(Component):
    """Begins each order with the model that comes with it, learns, and sends back what its learner then knows.

    One that is restarted says so, and goes on with the model in force. Learning that diverges is told, not fatal. Metrics:
    ``waiting``, seconds from an answer to the next order; ``learned`` rows.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("waiting", "learned")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "rounds", "updates")

    settings: WorkerSettings
    samples: Input[Samples]
    rounds: Input[WorkOrder]
    updates: Output[Update]

    async def setup(self) -> None:
        """Compile the learner, so that the first order does not wait for it."""
        registry.warm(self.settings.learner)
        self._held = Held(self.settings.most)
        self._learner: Learner | None = None
        self._last: WorkOrder | None = None
        self._learned = 0

    async def run(self) -> None:
        """Work until cancelled."""
        self._born = self.clock.now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gather(), name="gather")
            group.create_task(self._work(), name="work")

    async def _gather(self) -> None:
        async for message in self.samples:
            self._held.add(message.payload)
            await self._held.room()

    async def _work(self) -> None:
        await self._held.reach(self.settings.least)
        await self.updates.send(self._present())
        idle = self.clock.now()
        while True:
            message = await self._ordered()
            if message is None:
                await self.updates.send(self._present())
                continue
            order = (self.rounds.newest() or message).payload
            if not order.steps and not order.epochs:
                await self.updates.send(self._present(with_model=True))
            else:
                self._last = order
                self.metrics.record("waiting", self.clock.now() - idle)
                update = await self._follow(order)
                await self.updates.send(update, version=order.model.version)
                idle = self.clock.now()
            self.rounds.done(message)

    async def _ordered(self) -> Message[WorkOrder] | None:
        """The next order, or None if none comes for long."""
        try:
            async with asyncio.timeout(self.settings.remind):
                return await self.rounds.receive()
        except TimeoutError:
            return None

    def _present(self, *, with_model: bool = False) -> Update:
        """Say that this worker is there, and which model it had last; with that model, for an aggregator that has lost it."""
        model = self._last.model if self._last is not None else None
        state = model.state if model is not None and with_model else {}
        version = model.version if model is not None else 0
        return Update(self._born, 0.0, 0, version, self._held.features, self._held.classes, state)

    async def _follow(self, order: WorkOrder) -> Update:
        learner = await self._loaded(order)
        rows = right = 0
        state: dict[str, Any] = {}
        failed = ""
        try:
            if order.epochs:
                rows, right = await self._pass_over(learner, order.epochs, order.batch)
            else:
                rows, right = await self._step(learner, order.steps, order.batch)
            state = dict(await self.compute(self._snapshot, learner, operation="snapshot", parameters=self._parameters))
        except LearnerError as error:
            failed = error.what
            self.log.warning("this answer is a failure: %s", error.what)
        self._learned += rows
        self.metrics.record("learned", self._learned)
        held = self._held
        return Update(
            self._born, order.server, order.number, order.model.version, held.features, held.classes, state, rows, right, failed
        )  # fmt: skip

    async def _loaded(self, order: WorkOrder) -> Learner:
        """The learner, knowing what the order's model knows and nothing else."""
        model = order.model
        if self._learner is None:
            self._learner = self._created(order)
            self._parameters = sum(int(np.size(array)) for array in model.state.values())
        await self.compute(self._load, self._learner, model.state, operation="load", parameters=self._parameters)
        return self._learner

    def _created(self, order: WorkOrder) -> Learner:
        model = order.model
        return registry.create(model.learner, model.features, model.classes, self.rng.spawn(1)[0])

    def _load(self, learner: Learner, state: State) -> None:
        """Let the learner know what an order's model knows."""
        learner.load(state)

    def _snapshot(self, learner: Learner) -> State:
        """What the aggregator is told of the learner."""
        return learner.state()

    async def _pass_over(self, learner: Learner, epochs: int, batch: int) -> tuple[int, int]:
        """Learn all rows that are held, in a new order each time; how many, and how many were answered right before."""
        self._held.keep = True
        x, y = self._held.everything()
        right = await self._right(learner, x, y)
        for _ in range(epochs):
            for chosen in _cut(self.rng.permutation(len(y)), batch):
                await self._learn(learner, x[chosen], y[chosen])
        return len(y), right

    async def _step(self, learner: Learner, steps: int, batch: int) -> tuple[int, int]:
        """Learn the next rows of the stream, waiting for them; how many, and how many were answered right before."""
        rows = right = 0
        for _ in range(steps):
            x, y = await self._held.take(batch)
            right += await self._right(learner, x, y)
            await self._learn(learner, x, y)
            rows += len(y)
        return rows, right

    async def _right(self, learner: Learner, x: Features, y: Labels) -> int:
        odds = await self.compute(learner.predict_proba, x, operation="predict", size=len(x), parameters=self._parameters)
        return int((odds.argmax(axis=1) == y).sum())

    async def _learn(self, learner: Learner, x: Features, y: Labels) -> None:
        await self.compute(learner.learn_many, x, y, operation="learn", size=len(x), parameters=self._parameters)


class Held:
    """Rows in the order in which they came.

    Attributes
    ----------
    keep
        Whether rows are passed over again and again, so that the oldest make room for new ones.
    """

    def __init__(self, most: int) -> None:
        self.features = self.classes = 0
        self.keep = False
        self._most, self._wanted = most, 0
        self._rows: deque[tuple[Features, int]] = deque()
        self._changed = Waiters()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, samples: Samples) -> None:
        """Take in rows."""
        self.features, self.classes = samples.x.shape[1], samples.classes
        self._rows.extend(zip(samples.x.astype(np.float64), samples.y.tolist(), strict=True))
        while self.keep and len(self._rows) > self._most:
            self._rows.popleft()
        self._changed.wake()

    async def reach(self, count: int) -> None:
        """Return when there are so many; there is room for them, even if they are more than are held."""
        self._wanted = count
        if len(self._rows) < count:
            self._changed.wake()
        while len(self._rows) < count:
            await self._changed.wait()

    async def room(self) -> None:
        """Return when there is room for more."""
        while not self.keep and len(self._rows) >= max(self._most, self._wanted):
            await self._changed.wait()

    async def take(self, count: int) -> tuple[Features, Labels]:
        """Take out the oldest so many, waiting for them."""
        await self.reach(count)
        found = [self._rows.popleft() for _ in range(count)]
        self._changed.wake()
        return _stacked(found)

    def everything(self) -> tuple[Features, Labels]:
        """All that are there."""
        self._changed.wake()
        return _stacked(list(self._rows))


def _stacked(rows: list[tuple[Features, int]]) -> tuple[Features, Labels]:
    return np.array([x for x, _ in rows]), np.array([y for _, y in rows], dtype=np.int64)


def _cut(order: Labels, size: int) -> Iterator[Labels]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
