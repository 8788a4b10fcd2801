"""A trainer: learns from samples as they come, and publishes what it knows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from estran.components.answering import answer
from estran.components.batching import BatchSettings, split, stacked
from estran.components.messages import Model, Predictions, Samples
from estran.components.rolling import Pace, Rolling
from estran.learning import registry
from estran.learning.learner import Learner
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output
from estran.units import Duration

RECORD_EVERY = 0.25


@dataclass(frozen=True)
class PublishSettings:
    """When a model is published, at the earlier of both; the first one after the first batch.

    Attributes
    ----------
    every
        Time from one publication to the next.
    updates
        Rows learned from one publication to the next.
    """

    every: Duration | None = None
    updates: int | None = None

    def __post_init__(self) -> None:
        if self.every is None and self.updates is None:
            raise SettingsError("it says neither every nor updates", where="publish", remedy="write {every: 1s} or {updates: 100}")
        if self.updates is not None and self.updates < 1:
            raise SettingsError(f"updates is {self.updates}", where="publish", remedy="give 1 or more")


@dataclass(frozen=True)
class TrainerSettings:
    """How a trainer learns and publishes.

    Attributes
    ----------
    learner
        A learner's name (mlp, softmax, hbp), or one name with its settings; ``module:Class`` for one of your own, of scikit-learn
        or of River.
    batch
        How waiting messages are taken together.
    publish
        When models are published.
    window
        Answers over which the metric ``prequential_accuracy`` is taken.
    """

    learner: str | dict[str, dict[str, Any] | None] = "mlp"
    batch: BatchSettings = field(default_factory=BatchSettings)
    publish: PublishSettings = field(default_factory=lambda: PublishSettings(every=1.0))
    window: int = 200

    def __post_init__(self) -> None:
        registry.check(self.learner)
        if self.window < 1:
            raise SettingsError(f"window is {self.window}", where="trainer", remedy="give 1 or more")


class Trainer(Component):
    """Learns online from samples, testing itself on each batch before it learns from it, and publishes models.

    With ``predictions`` connected it also serves: its answers are sent, and recorded as any predictor's, with the number of
    learned rows as their version. Metrics: ``prequential_accuracy`` over the last answers, ``learned`` rows.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("prequential_accuracy", "learned")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples",)

    settings: TrainerSettings
    samples: Input[Samples]
    models: Output[Model]
    predictions: Output[Predictions]

    async def setup(self) -> None:
        """Compile the learner, so that the first batch does not wait for it."""
        registry.warm(self.settings.learner)
        self._learner: Learner | None = None
        self._learned = self._version = self._published_rows = 0
        self._recent, self._recording = Rolling(self.settings.window), Pace(RECORD_EVERY)
        self._publishing = Pace(self.settings.publish.every)

    async def run(self) -> None:
        """Learn until cancelled."""
        batch = self.settings.batch
        async for waiting in self.samples.batches(batch.max_size, batch.max_delay):
            x, y = stacked(waiting.payloads)
            learner = self._learner = self._learner or self._created(waiting.payloads[0])
            odds = await self.compute(learner.predict_proba, x, operation="predict", size=len(x), parameters=self._parameters)
            await self.compute(learner.learn_many, x, y, operation="learn", size=len(x), parameters=self._parameters)
            await self._serve(waiting.messages, odds)
            self._record(odds.argmax(axis=1) == y)
            self._learned += len(x)
            if self.models.connected and self._publish_due():
                await self._publish(learner, waiting.payloads[0])

    def _created(self, first: Samples) -> Learner:
        learner = registry.create(self.settings.learner, first.x.shape[1], first.classes, self.rng)
        self._parameters = registry.parameters(learner)
        return learner

    async def _serve(self, messages: list[Message[Samples]], odds: Any) -> None:
        """Send the answers that were given before learning, if anybody listens."""
        if not self.predictions.connected:
            return
        parts = [message.payload for message in messages]
        for message, part in zip(messages, split(odds, parts), strict=True):
            await answer(message, part, self._learned, self.predictions)

    def _record(self, right: Any) -> None:
        self._recent.add(right)
        if self._recording.due(self.clock.now()):
            self.metrics.record("prequential_accuracy", self._recent.mean)
            self.metrics.record("learned", self._learned + len(right))

    def _publish_due(self) -> bool:
        updates = self.settings.publish.updates
        by_rows = updates is not None and (self._version == 0 or self._learned - self._published_rows >= updates)
        return self._publishing.due(self.clock.now()) or by_rows

    async def _publish(self, learner: Learner, like: Samples) -> None:
        state = await self.compute(learner.state, operation="snapshot", parameters=self._parameters)
        name, settings = registry.read(self.settings.learner)
        self._version += 1
        self._published_rows = self._learned
        model = Model(
            self._version, {name: settings}, like.x.shape[1], like.classes, dict(state), self._learned, self.clock.now()
        )  # fmt: skip
        self.metrics.event("published", json.dumps({"version": self._version, "samples": self._learned}))
        await self.models.send(model, version=self._version)
