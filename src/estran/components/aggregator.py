"""An aggregator: makes one model of what several workers learn, by a policy, and publishes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from estran.components.messages import Model, Update, WorkOrder
from estran.components.publishing import PublishSettings
from estran.components.rolling import Pace
from estran.errors import DataError
from estran.learning import registry
from estran.learning.aggregation.policies import serve
from estran.learning.aggregation.policy import Kind, Policy, policy_choice
from estran.learning.aggregation.server import Outcome, Reply, Server
from estran.learning.aggregation.states import check_averageable, misfit
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output


@dataclass(frozen=True)
class AggregatorSettings:
    """How an aggregator brings models together, and when it publishes them.

    Attributes
    ----------
    learner
        What all workers learn with: a name, or one name with its settings.
    policy
        ``synchronous``, ``local-sgd``, ``fedavg``, ``ssp``, ``asynchronous``, ``fedbuff``, or `Policy` for the details.
    publish
        When models are published; every new one if not given.
    """

    learner: str | dict[str, dict[str, Any] | None] = "mlp"
    policy: Kind | Policy = "fedavg"
    publish: PublishSettings | None = None

    def __post_init__(self) -> None:
        check_averageable(self.learner)
        policy_choice(self.policy)


class Aggregator(Component):
    """Sends workers the model in force, makes the next one of what they answer, and publishes it.

    Metrics, for each new model: ``participants`` whose answers are in it; their mean ``update_staleness`` in versions;
    ``round_seconds`` since its round began; ``update_bytes`` that came meanwhile; ``training_accuracy``, the share of rows that
    workers had answered right before they learned them; ``learned`` rows and ``refused`` answers in all. An answer is refused
    if it is not finite, does not fit, moves the model too far, or is late; the event ``refused`` says why.
    """

    METRICS: ClassVar[tuple[str, ...]] = (
        "participants", "update_staleness", "round_seconds", "update_bytes", "training_accuracy", "learned", "refused",
    )  # fmt: skip
    REQUIRED: ClassVar[tuple[str, ...]] = ("updates", "rounds")

    settings: AggregatorSettings
    updates: Input[Update]
    rounds: Output[WorkOrder]
    models: Output[Model]

    async def setup(self) -> None:
        """Wait for the first worker to say how wide its rows are."""
        self._policy = policy_choice(self.settings.policy)
        self._server: Server | None = None
        self._heard = _Heard()
        self._refused = self._published_rows = self._published = 0
        self._publishing = Pace(self.settings.publish.every if self.settings.publish else None)

    async def run(self) -> None:
        """Serve until cancelled."""
        self._born = self.clock.now()
        while True:
            message = await self._next()
            if message is None:
                await self._advance(_expire)
                continue
            await self._take(message.payload, message.story.origin, message.story.bytes)
            self.updates.done(message)

    async def _next(self) -> Message[Update] | None:
        """The next message, or None at the server's deadline."""
        due = self._server.due if self._server is not None else None
        if due is None:
            return await self.updates.receive()
        try:
            async with asyncio.timeout(max(due - self.clock.now(), 0.0)):
                return await self.updates.receive()
        except TimeoutError:
            return None

    async def _take(self, update: Update, worker: str, size: int) -> None:
        if self._server is None:
            if update.version and not update.state:
                await self._recall(update, worker)
                return
            self._server = self._created(update)
        elif (update.features, update.classes) != (self._features, self._classes):
            raise DataError(
                f"{worker} has rows of {update.features} features and {update.classes} classes, "
                f"others of {self._features} and {self._classes}",
                where=self.name,
                remedy="let the sources of all workers send the same data",
            )
        order = update.order if update.server == self._born else 0
        if order:
            self._heard.add(update, size)
        reply = Reply(worker, update.born, order, update.state, update.rows, update.failed)
        await self._advance(lambda server, now: server.hear(reply, now))

    async def _recall(self, update: Update, worker: str) -> None:
        """Ask for the model that a worker knows from before this aggregator was restarted."""
        name, settings = registry.read(self.settings.learner)
        nothing = Model(0, {name: settings}, update.features, update.classes, {}, 0, self.clock.now())
        await self.rounds.send(WorkOrder(self._born, 0, nothing, 0, 0, 0), to=(worker,))

    def _created(self, first: Update) -> Server:
        """Begin with a fresh model, or with what a worker knows from before this aggregator was restarted."""
        self._features, self._classes = first.features, first.classes
        fresh = registry.create(self.settings.learner, first.features, first.classes, self.rng).state()
        resumed = bool(first.state) and misfit(fresh, first.state) is None
        state, version = (first.state, first.version) if resumed else (dict(fresh), 0)
        self._parameters = sum(int(np.size(array)) for array in state.values())
        return serve(self._policy, state, len(self.rounds.peers), self.rng, version)

    async def _advance(self, event: Callable[[Server, float], None]) -> None:
        """Let the server take something in, and do what it then wants done."""
        server = self._server
        if server is None:
            return
        await self.compute(event, server, self.clock.now(), operation="aggregate", parameters=self._parameters)
        for outcome in server.drain():
            self._record(server, outcome)
        self._tell_refused(server)
        number, chosen = server.orders(self.clock.now())
        if chosen:
            steps, epochs = self._policy.work
            order = WorkOrder(self._born, number, self._model(server), steps, epochs, self._policy.batch)
            await self.rounds.send(order, version=server.version, to=chosen)
        if self.models.connected and self._publish_due(server):
            await self._publish(server)

    def _record(self, server: Server, outcome: Outcome) -> None:
        record = self.metrics.record
        record("participants", len(outcome.staleness))
        record("update_staleness", float(np.mean(outcome.staleness)))
        record("round_seconds", self.clock.now() - outcome.began)
        record("learned", server.rows)
        self._heard.record(record)

    def _tell_refused(self, server: Server) -> None:
        total = server.refused.total()
        if total != self._refused:
            self._refused = total
            self.metrics.record("refused", total)
            self.metrics.event("refused", json.dumps(dict(server.refused)))

    def _publish_due(self, server: Server) -> bool:
        if server.version == self._published or not server.rows:
            return False
        publish = self.settings.publish
        if publish is None:
            return True
        by_rows = publish.updates is not None and (
            self._published == 0 or server.rows - self._published_rows >= publish.updates
        )  # fmt: skip
        return self._publishing.due(self.clock.now()) or by_rows

    async def _publish(self, server: Server) -> None:
        self._published, self._published_rows = server.version, server.rows
        self.metrics.event("published", json.dumps({"version": server.version, "samples": server.rows}))
        await self.models.send(self._model(server), version=server.version)

    def _model(self, server: Server) -> Model:
        name, settings = registry.read(self.settings.learner)
        return Model(
            server.version, {name: settings}, self._features, self._classes, server.state, server.rows, self.clock.now()
        )  # fmt: skip


class _Heard:
    """What workers have said since the last model."""

    def __init__(self) -> None:
        self._bytes = self._rows = self._right = 0

    def add(self, update: Update, size: int) -> None:
        self._bytes += size
        self._rows += update.rows
        self._right += update.right

    def record(self, record: Callable[[str, float], Any]) -> None:
        record("update_bytes", self._bytes)
        if self._rows:
            record("training_accuracy", self._right / self._rows)
        self._bytes = self._rows = self._right = 0


def _expire(server: Server, now: float) -> None:
    # Timers may fire a rounding error early.
    server.expire(now if server.due is None else max(now, server.due))
