"""A predictor: answers samples with the newest model that has reached it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from estran.components.answering import answer
from estran.components.batching import BatchSettings, split, stacked
from estran.components.messages import Model, Predictions, Samples
from estran.components.rolling import Pace, Rolling
from estran.learning import registry
from estran.learning.learner import Features, Learner
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output

RECORD_EVERY = 0.25


@dataclass(frozen=True)
class PredictorSettings:
    """How a predictor answers.

    Attributes
    ----------
    batch
        How waiting messages are taken together.
    before_model
        What happens until the first model has come: ``wait``, so that samples queue up; or ``answer_prior``: every class is
        equally likely, the answer is class 0, and its version 0.
    window
        Answers over which the metric ``accuracy`` is taken.
    """

    batch: BatchSettings = field(default_factory=BatchSettings)
    before_model: Literal["wait", "answer_prior"] = "wait"
    window: int = 200

    def __post_init__(self) -> None:
        if self.window < 1:
            raise SettingsError(f"window is {self.window}", where="predictor", remedy="give 1 or more")


@dataclass(frozen=True)
class _Serving:
    """The model in service; replaced as a whole, never changed."""

    learner: Learner
    version: int
    published_at: float
    parameters: int


class Predictor(Component):
    """Answers samples in batches of what waits, and swaps to the newest model between two batches.

    Every answer is recorded with truth and model version. Metrics: ``accuracy`` over the last answers, and ``staleness``, the
    seconds since the model in service was published.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "staleness")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "models")

    settings: PredictorSettings
    samples: Input[Samples]
    models: Input[Model]
    predictions: Output[Predictions]

    async def setup(self) -> None:
        """Start without a model."""
        self._serving: _Serving | None = None
        self._has_model = asyncio.Event()
        self._recent, self._recording = Rolling(self.settings.window), Pace(RECORD_EVERY)

    async def run(self) -> None:
        """Serve, and follow the models, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow")
            group.create_task(self._serve(), name="serve")

    async def _follow(self) -> None:
        """Load every model that comes, beside serving; one that comes while another is loaded replaces those before it."""
        while True:
            first = await self.models.receive()
            newest = self.models.newest() or first
            model = newest.payload
            if self._serving is None or model.published_at > self._serving.published_at:
                parameters = sum(int(np.size(array)) for array in model.state.values())
                learner = await self.compute(_loaded, model, self.rng, operation="load", parameters=parameters)
                self._serving = _Serving(learner, model.version, model.published_at, parameters)
                self._has_model.set()
                self.metrics.event("swapped", json.dumps({"version": model.version}))
            self.models.done(first)

    async def _serve(self) -> None:
        if self.settings.before_model == "wait":
            await self._has_model.wait()
        batch = self.settings.batch
        async for waiting in self.samples.batches(batch.max_size, batch.max_delay):
            serving = self._serving
            x, y = stacked(waiting.payloads)
            odds = await self._odds(serving, x, waiting.payloads[0].classes)
            await self._answer(waiting.messages, odds, serving.version if serving else 0)
            self._record(odds.argmax(axis=1) == y, serving)

    async def _odds(self, serving: _Serving | None, x: Features, classes: int) -> NDArray[np.float64]:
        if serving is None:
            return np.full((len(x), classes), 1 / classes)
        return await self.compute(serving.learner.predict_proba, x, operation="predict", size=len(x), parameters=serving.parameters)

    async def _answer(self, messages: list[Message[Samples]], odds: NDArray[np.float64], version: int) -> None:
        parts = [message.payload for message in messages]
        for message, part in zip(messages, split(odds, parts), strict=True):
            await answer(message, part, version, self.predictions)

    def _record(self, right: Any, serving: _Serving | None) -> None:
        self._recent.add(right)
        now = self.clock.now()
        if self._recording.due(now):
            self.metrics.record("accuracy", self._recent.mean)
            if serving is not None:
                self.metrics.record("staleness", now - serving.published_at)


def _loaded(model: Model, rng: np.random.Generator) -> Learner:
    """A learner that knows what the model knows."""
    learner = registry.create(model.learner, model.features, model.classes, rng)
    learner.load(model.state)
    return learner
