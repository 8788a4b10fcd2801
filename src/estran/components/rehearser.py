"""A worker that rehearses: beside each batch it learns rows again that it, or any other worker, has kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np

from estran.components.aggregator import Aggregator
from estran.components.messages import Recall, WorkOrder
from estran.components.recalling import Recalling, Tally
from estran.components.rolling import Pace
from estran.components.source import Source
from estran.components.worker import Worker, WorkerSettings
from estran.errors import DataError
from estran.learning import registry
from estran.learning.aggregation.policy import policy_choice
from estran.learning.datasets import load
from estran.learning.learner import Features, Labels, Learner, State
from estran.learning.mistakes import SettingsError, check_known
from estran.learning.rehearsal.batched import Batched
from estran.learning.rehearsal.rehearsing import Rehearsing
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output
from estran.units import Duration

STRATEGIES: Final = ("naive", "er", "er-ace", "der++", "a-gem")
RECORD_EVERY = 0.25


@dataclass(frozen=True)
class RehearserSettings(WorkerSettings):
    """What a worker learns with, and whose rows it rehearses.

    Attributes
    ----------
    learner
        ``er``, ``er-ace``, ``der++``, ``a-gem``, or ``naive``, which rehearses nothing: a name, or one name with its settings.
        Layers and rows of a step are those that the aggregator's `mlp` and policy say; ``buffer`` is of each worker.
    least, most, remind
        As for a worker.
    over
        Rows are drawn from the ``union`` of all workers' buffers, or from the worker's ``own``.
    ahead
        When rows are there, or on their way, for no more batches than these besides the next one, more are asked for; with 0 they
        are waited for. As many as the steps between two exchanges of models hide what they take behind one.
    together
        For how many batches rows are asked for at once. More need fewer messages, and are drawn longer before they are learned.
    patience
        How long a batch waits for rows of others; it is then learned beside those that are there.
    """

    learner: str | dict[str, dict[str, Any] | None] = "er"
    over: Literal["union", "own"] = "union"
    ahead: int = 8
    together: int = 8
    patience: Duration = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name, settings = registry.read(self.learner)
        check_known(name, STRATEGIES, kind="strategy", where="learner")
        for key in {"hidden", "batch"} & settings.keys():
            remedy = "leave it out: layers are those of the aggregator's mlp, and its policy says the rows of a step"
            raise SettingsError(f"{key} is not a rehearser's to say", where=f"learner {name}", remedy=remedy)
        # Smaller than any number of classes is wrong already; smaller than that of the data, once that is known.
        registry.create(self.learner, 1, 2, np.random.default_rng(0))
        if self.ahead < 0:
            raise SettingsError(f"ahead is {self.ahead}", where="rehearser", remedy="give 0 or more")
        if self.together < 1:
            raise SettingsError(f"together is {self.together}", where="rehearser", remedy="give 1 or more")
        if self.patience <= 0:
            raise SettingsError("patience is 0", where="rehearser", remedy="give more than 0")


class Rehearser(Worker):
    """Follows an aggregator's orders as a worker does, and beside each batch learns rows again that all workers keep.

    The aggregator brings an `mlp` together; buffers stay where their rows came, and rows travel only to be rehearsed. Metrics
    beside the worker's: ``samples_per_second``, new rows; ``rehearsal_wait``, the share of its time in which it waited for rows;
    ``remote_share`` of the rows rehearsed; ``missing`` rows that did not come in time, and ``recall_bytes`` that came, both so far.
    """

    METRICS: ClassVar[tuple[str, ...]] = (
        *Worker.METRICS, "samples_per_second", "rehearsal_wait", "remote_share", "missing", "recall_bytes",
    )  # fmt: skip
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "rounds", "updates")

    settings: RehearserSettings
    peers: Input[Recall]
    recalls: Output[Recall]

    @classmethod
    def needs(cls, settings: RehearserSettings) -> tuple[str, ...]:
        """With ``over: union`` also the streams between workers."""
        alone = settings.over == "own" or registry.read(settings.learner)[0] == "naive"
        return cls.REQUIRED if alone else (*cls.REQUIRED, "recalls", "peers")

    @classmethod
    def check_senders(
        cls, settings: RehearserSettings, senders: Mapping[str, Sequence[tuple[type[Component], Any]]], folder: str
    ) -> None:
        """The buffer has a slot for every class of the data, and the aggregator asks for steps of an `mlp`."""
        for sender, given in senders.get("rounds", ()):
            if issubclass(sender, Aggregator):
                _check_order(registry.read(given.learner)[0], policy_choice(given.policy).work[1])
        for sender, given in senders.get("samples", ()):
            if issubclass(sender, Source):
                # A file that cannot be read is the source's to tell of.
                with suppress(DataError):
                    classes = load(given.data, folder).classes
                    registry.create(settings.learner, 1, classes, np.random.default_rng(0))

    async def setup(self) -> None:
        """Compile the learner, so that the first order does not wait for it."""
        await super().setup()
        self._recalling: Recalling | None = None
        self._begun = asyncio.Event()
        self._turn = asyncio.Lock()
        self._recording = Pace(RECORD_EVERY)
        self._bytes = self._recent = 0
        self._since: float | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run(), name="work")
            group.create_task(self._listen(), name="listen")
            group.create_task(self._talk(), name="talk")

    async def _listen(self) -> None:
        await self._begun.wait()
        async for message in self.peers:
            self._bytes += message.story.bytes
            if self._recalling is not None:
                async with self._turn:
                    self._recalling.hear(message.payload, message.story.origin)

    async def _talk(self) -> None:
        await self._begun.wait()
        if self._recalling is not None:
            await self._recalling.talk()

    def _created(self, order: WorkOrder) -> Learner:
        model = order.model
        _check_order(registry.read(model.learner)[0], order.epochs)
        name, settings = registry.read(self.settings.learner)
        layers = {"hidden": _widths(model.state), "batch": order.batch}
        learner = registry.create({name: {**settings, **layers}}, model.features, model.classes, self.rng.spawn(1)[0])
        if isinstance(learner, Rehearsing) and self.settings.over == "union":
            self._recalling = Recalling(
                self.name,
                self.recalls.peers,
                learner.buffer,
                learner.representatives,
                learner.draws,
                ahead=self.settings.ahead,
                together=self.settings.together,
                patience=self.settings.patience,
                born=self._born,
                clock=self.clock,
                rng=self.rng.spawn(1)[0],
                send=lambda recall, peer: self.recalls.send(recall, to=(peer,)),
            )
        self._begun.set()
        return learner

    def _load(self, learner: Learner, state: State) -> None:
        _batched(learner).load_weights(state)

    def _snapshot(self, learner: Learner) -> State:
        return _batched(learner).weights()

    async def _learn(self, learner: Learner, x: Features, y: Labels) -> None:
        if self._since is None:
            self._since = self.clock.now()
            self._recording.due(self._since)  # the first figures are of a whole beat, too
        recalling = self._recalling
        if recalling is None or not isinstance(learner, Rehearsing):
            extra = min(learner.representatives, len(learner.buffer)) * learner.draws if isinstance(learner, Rehearsing) else 0
            await self.compute(learner.learn_many, x, y, operation="learn", size=len(x) + extra, parameters=self._parameters)
        else:
            memories = await recalling.take()
            size = len(x) + sum(len(part) for part in memories)
            # Nobody may draw from the buffer while a thread is at work on it.
            async with self._turn:
                what = learner.learn_beside, x, y, memories
                await self.compute(*what, operation="learn", size=size, parameters=self._parameters)
            recalling.grown()
        self._recent += len(x)
        self._record()

    def _record(self) -> None:
        now = self.clock.now()
        if self._since is None or not self._recording.due(now):
            return
        seconds, record = now - self._since, self.metrics.record
        record("samples_per_second", self._recent / seconds)
        self._since, self._recent = now, 0
        if self._recalling is not None:
            tally, self._recalling.tally = self._recalling.tally, Tally()
            record("rehearsal_wait", tally.waited / seconds)
            if tally.rows:
                record("remote_share", tally.remote / tally.rows)
            record("missing", self._recalling.missing)
            record("recall_bytes", self._bytes)


def _check_order(learner: str, epochs: int) -> None:
    """Make sure that what an aggregator asks for can be done."""
    if epochs:
        remedy = "give the aggregator a policy with steps, such as synchronous or local-sgd"
        raise SettingsError("it learns step by step, not in passes over what it holds", where="rehearser", remedy=remedy)
    if learner != "mlp":
        remedy = "give the aggregator `learner: {mlp: {hidden: …}}`"
        raise SettingsError(f"its aggregator brings together {learner}, not mlp", where="rehearser", remedy=remedy)


def _widths(state: State) -> list[int]:
    """How wide the hidden layers of a network are, by its weights."""
    return [state[f"b{layer}"].shape[0] for layer in range(len(state) // 2 - 1)]


def _batched(learner: Learner) -> Batched:
    if not isinstance(learner, Batched):
        raise DataError(f"{type(learner).__name__} does not learn in batches", where="rehearser", remedy="choose a strategy")
    return learner
