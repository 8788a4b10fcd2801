"""A trainer: learns from samples as they come, and publishes what it knows."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from estran.components.answering import answer
from estran.components.batching import BatchSettings, split, stacked
from estran.components.messages import Model, ModelRequest, Predictions, Samples
from estran.components.publishing import Publisher, Publishing
from estran.components.rolling import Pace, Rolling
from estran.learning import registry
from estran.learning.learner import Features, Labels, Learner, NotFiniteError
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Batch, Input, Output

RECORD_EVERY = 0.25


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
        When models are published, and in which form.
    window
        Answers over which the metric ``prequential_accuracy`` is taken.
    diverging
        What happens where a batch holds a NaN, or learning from it diverges: ``stop`` the run; or ``skip`` the batch, of which
        nothing is learned, and go on with what is known.
    """

    learner: str | dict[str, dict[str, Any] | None] = "mlp"
    batch: BatchSettings = field(default_factory=BatchSettings)
    publish: Publishing = field(default_factory=lambda: Publishing(every=1.0))
    window: int = 200
    diverging: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        registry.check_values(self.learner)
        if self.window < 1:
            raise SettingsError(f"window is {self.window}", where="trainer", remedy="give 1 or more")


class Trainer(Component):
    """Learns online from samples, testing itself on each batch before it learns from it, and publishes models.

    With ``predictions`` connected it also serves: its answers are sent, and recorded as any predictor's, with the number of
    learned rows as their version. With ``requests`` connected it answers predictors that ask for a model. Metrics:
    ``prequential_accuracy`` over the last answers, ``learned`` rows.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("prequential_accuracy", "learned")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples",)

    settings: TrainerSettings
    samples: Input[Samples]
    requests: Input[ModelRequest]
    models: Output[Model]
    predictions: Output[Predictions]

    async def setup(self) -> None:
        """Compile the learner, so that the first batch does not wait for it."""
        registry.warm(self.settings.learner)
        self._learner: Learner | None = None
        self._learned = self._parameters = 0
        self._recent, self._recording = Rolling(self.settings.window), Pace(RECORD_EVERY)
        self._publisher = Publisher(self.settings.publish, self, self.models, self.settings.learner)
        # A model is not published while it learns.
        self._learning = asyncio.Lock()

    @classmethod
    def needs(cls, settings: TrainerSettings) -> tuple[str, ...]:
        """Requests, too, where models are sent when predictors ask."""
        return (*cls.REQUIRED, "requests", "models") if settings.publish.pull else cls.REQUIRED

    async def run(self) -> None:
        """Learn, and answer requests, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._learn(), name="learn")
            group.create_task(self._send_anew(), name="send anew")
            if self.requests.connected:
                group.create_task(self._answer_requests(), name="answer")

    async def _learn(self) -> None:
        batch = self.settings.batch
        async for waiting in self.samples.batches(batch.max_size, batch.max_delay):
            async with self._learning:
                await self._learn_from(waiting)

    async def _learn_from(self, waiting: Batch[Samples]) -> None:
        like = waiting.payloads[0]
        x, y = stacked(waiting.payloads)
        learner = self._learner = self._learner or self._created(like)
        try:
            odds = await self.compute(learner.predict_proba, x, operation="predict", size=len(x), parameters=self._parameters)
            rows, labels = self._publisher.to_learn(x, y)
            learned = await self._teach(learner, rows, labels)
        except NotFiniteError as error:
            if self.settings.diverging == "stop":
                raise
            self.metrics.event("diverged", json.dumps({"samples": self._learned, "skipped": len(x), "why": str(error)}))
            return
        await self._serve(waiting.messages, odds)
        self._learned += learned
        right = odds.argmax(axis=1) == y
        self._record(right)
        await self._publish(learner, like, learned, (~right).tolist())

    async def _teach(self, learner: Learner, rows: Features, labels: Labels) -> int:
        """Let the learner learn from rows; how many it has learned from."""
        if len(rows):
            await self.compute(learner.learn_many, rows, labels, operation="learn", size=len(rows), parameters=self._parameters)
        return len(rows)

    async def _publish(self, learner: Learner, like: Samples, learned: int, wrong: list[bool]) -> None:
        """Publish if that is due, after a batch."""
        await self._publisher.learned(learner, like, learned, wrong, self._parameters)

    async def _answer_requests(self) -> None:
        async for message in self.requests:
            async with self._learning:
                await self._publisher.asked(message.payload, message.story.origin, self._learner, self._parameters)

    async def _send_anew(self) -> None:
        """Send models to predictors that begin anew."""
        async for peer in self.models.renewed():
            async with self._learning:
                await self._publisher.renewed(peer)

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
            self.metrics.record("learned", self._learned)
