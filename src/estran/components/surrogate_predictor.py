"""Answers what simulations would say, with the newest surrogate that has come."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from estran.components.batching import BatchSettings
from estran.components.fields import Steps, Surrogate
from estran.components.rolling import Pace
from estran.components.squared import SquaredError
from estran.errors import DataError
from estran.learning.mistakes import SettingsError
from estran.learning.surrogates.committee import Served
from estran.learning.surrogates.network import Fields
from estran.learning.surrogates.steering import inputs
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output

RECORD_EVERY: Final = 0.25
ANSWERED: Final = 0
"""What stands for an answer in a message's record, which has place for a class."""


@dataclass(frozen=True)
class SurrogatePredictorSettings:
    """How questions are answered.

    Attributes
    ----------
    batch
        How waiting questions are taken together.
    window
        Steps over which the metric ``rmse`` is taken.
    """

    batch: BatchSettings = field(default_factory=BatchSettings)
    window: int = 500

    def __post_init__(self) -> None:
        if self.window < 1:
            raise SettingsError(f"window is {self.window}", where="surrogate-predictor", remedy="give 1 or more")


@dataclass(frozen=True)
class _Serving:
    """The surrogate in service; replaced as a whole, never changed."""

    served: Served
    version: int
    published_at: float
    parameters: int


class SurrogatePredictor(Component):
    """Answers questions in batches of what waits; until the first surrogate has come, they queue up.

    A question is the steps of a simulation; its fields, if it has any, are the truth that the answer is judged by. Metrics:
    ``rmse`` over the last answers, and ``staleness``, the seconds since the surrogate in service was published.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("rmse", "staleness")
    REQUIRED: ClassVar[tuple[str, ...]] = ("questions", "models")

    settings: SurrogatePredictorSettings
    questions: Input[Steps]
    models: Input[Surrogate]
    answers: Output[Steps]

    async def setup(self) -> None:
        """Start without a surrogate."""
        self._serving: _Serving | None = None
        self._has_model = asyncio.Event()
        self._errors, self._recording = SquaredError(self.settings.window), Pace(RECORD_EVERY)

    async def run(self) -> None:
        """Serve, and follow the surrogates, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow")
            group.create_task(self._serve(), name="serve")

    async def _follow(self) -> None:
        """Load every surrogate that comes, beside serving; one that comes while another is loaded replaces those before it."""
        while True:
            first = await self.models.receive()
            model = (self.models.newest() or first).payload
            if self._serving is None or model.published_at > self._serving.published_at:
                parameters = sum(int(np.size(array)) for array in model.state.values())
                served = await self.compute(_loaded, model, operation="load", parameters=parameters)
                self._serving = _Serving(served, model.version, model.published_at, parameters)
                self._has_model.set()
                self.metrics.event("swapped", json.dumps({"version": model.version}))
            self.models.done(first)

    async def _serve(self) -> None:
        self.questions.limit(False)  # who asks may be who feeds the trainer
        await self._has_model.wait()
        self.questions.limit(True)
        batch = self.settings.batch
        async for waiting in self.questions.batches(batch.max_size, batch.max_delay):
            serving = self._serving
            if serving is None:
                raise DataError("a surrogate was lost", where=self.name, remedy="this is a defect of Estran")
            asked = [inputs(question.position, question.times) for question in waiting.payloads]
            rows = np.concatenate(asked)
            fields = await self.compute(
                serving.served.predict, rows, operation="predict", size=len(rows), parameters=serving.parameters
            )
            parts = np.split(fields, np.cumsum([len(one) for one in asked])[:-1])
            for message, part in zip(waiting.messages, parts, strict=True):
                await self._answer(message, part, serving.version)
            self._record(serving)

    async def _answer(self, message: Message[Steps], fields: Fields, version: int) -> None:
        """Judge an answer, record it, and send it if anybody listens."""
        question = message.payload
        if question.fields.shape == fields.shape:
            self._errors.add(((fields - question.fields) ** 2).mean(axis=1), question.weight)
        elif question.fields.shape[1]:
            what = f"a truth of {question.fields.shape[1]} numbers met an answer of {fields.shape[1]}"
            raise DataError(what, where=self.name, remedy="ask about what the surrogate has learned")
        message.note(answer=ANSWERED, version=version)
        if self.answers.connected:
            said = Steps(
                question.simulation, question.low, question.high, question.values, question.first, question.total,
                fields.astype(np.float32), question.weight,
            )  # fmt: skip
            await self.answers.send(said, version=version, parent=message.story)

    def _record(self, serving: _Serving) -> None:
        now = self.clock.now()
        if self._recording.due(now):
            self.metrics.record("staleness", now - serving.published_at)
            if self._errors:
                self.metrics.record("rmse", self._errors.root)


def _loaded(model: Surrogate) -> Served:
    features = next(array.shape[0] for name, array in model.state.items() if name.endswith("member0.w0"))
    return Served(features, model.hidden, model.state)
