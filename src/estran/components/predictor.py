"""A predictor: answers samples with the newest model that has reached it, or by another serving policy."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.components.answering import answer
from estran.components.batching import BatchSettings, split, stacked
from estran.components.messages import Model, ModelRequest, Predictions, Samples
from estran.components.rolling import Pace, Rolling
from estran.components.serving.admission import Admission
from estran.components.serving.ensemble import Ensemble
from estran.components.serving.policies import Answer, Events, Policy, Swap, Tried
from estran.components.serving.settings import Kind, Serving, Shedding, serving_choice
from estran.components.serving.versions import Intake, numbers
from estran.errors import EstranError
from estran.learning import registry
from estran.learning.learner import Features
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output
from estran.units import Duration, Fraction

RECORD_EVERY = 0.25
UNUSABLE: Final = (EstranError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError)
"""What loading a model may raise that is none: garbage of the right type can make a learner do anything."""


@dataclass(frozen=True)
class PredictorSettings:
    """How a predictor answers.

    Attributes
    ----------
    batch
        How waiting messages are taken together.
    before_model
        What happens until the first model has come: ``wait``, so that samples queue up here without holding
        back who sends them, up to 64 MB of each channel; or ``answer_prior``: every class is
        equally likely, the answer is class 0, and its version 0.
    window
        Answers over which the metric ``accuracy`` is taken.
    serving
        ``swap``, ``shadow``, ``champion``, ``ensemble``, or `Serving` for the details.
    shed
        Which requests are refused; none if not given.
    threshold
        Confidence below which a sample is sent on by ``deferred`` instead of being answered.
    pull
        Time from one request for a model to the next, where the trainer sends on request.
    """

    batch: BatchSettings = field(default_factory=BatchSettings)
    before_model: Literal["wait", "answer_prior"] = "wait"
    window: int = 200
    serving: Kind | Serving = "swap"
    shed: Shedding | None = None
    threshold: Fraction | None = None
    pull: Duration | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise SettingsError(f"window is {self.window}", where="predictor", remedy="give 1 or more")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise SettingsError(f"threshold is {self.threshold}", where="predictor", remedy="give a share up to 1, like 80%")
        if self.pull is not None and self.pull <= 0:
            raise SettingsError(f"pull is {self.pull}", where="predictor", remedy="give a time above 0, like 1s")


class Predictor(Component):
    """Answers samples in batches of what waits. By default it swaps to the newest model between two batches.

    Every answer is recorded with truth and model version. With ``labelled`` connected, policies that need the truth learn it from
    there, when it comes; else with each sample. Metrics: ``accuracy`` over the last answers; ``staleness``, the seconds since the
    model in service was published; ``shed`` and ``deferred``, the shares of requests that were refused and sent on.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "staleness", "shed", "deferred")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "models")

    settings: PredictorSettings
    samples: Input[Samples]
    models: Input[Model]
    labelled: Input[Samples]
    predictions: Output[Predictions]
    deferred: Output[Samples]
    requests: Output[ModelRequest]

    @classmethod
    def needs(cls, settings: PredictorSettings) -> tuple[str, ...]:
        """What is sent on, or asked for, needs a stream, too."""
        more = {"deferred": settings.threshold is not None, "requests": settings.pull is not None}
        return (*cls.REQUIRED, *(port for port, needed in more.items() if needed))

    async def setup(self) -> None:
        """Start without a model, but ready for one."""
        # Which learner's models will come is not known; the libraries that most need take a second on a slow device.
        registry.warm("mlp")
        self._has_model = asyncio.Event()
        self._recent, self._recording = Rolling(self.settings.window), Pace(RECORD_EVERY)
        self._events, self._intake = Events(self), Intake(self.rng)
        self._policy = self._chosen(serving_choice(self.settings.serving))
        self._admission = Admission(self.settings.shed, self, self.samples, self.predictions)
        # A learner answers one call at a time.
        self._answering = asyncio.Lock()
        self._newest, self._lacked = (-np.inf, 0), -np.inf

    async def run(self) -> None:
        """Serve, and follow the models, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow")
            group.create_task(self._serve(), name="serve")
            if self.labelled.connected and self._policy.judges:
                group.create_task(self._judge_labelled(), name="judge")
            elif self.labelled.connected:
                group.create_task(self._pass_over_labelled(), name="pass over")
            if self.settings.pull is not None:
                group.create_task(self._pull(self.settings.pull), name="pull")

    def _chosen(self, serving: Serving) -> Policy:
        if serving.kind == "swap":
            return Swap(self.compute, self._events)
        if serving.kind == "ensemble":
            registry.warm(serving.by)
            return Ensemble(serving, self.compute, self._events, self.rng)
        return Tried(serving, self.compute, self._events, self.clock.now)

    async def _follow(self) -> None:
        """Load every model that comes, beside serving; one that comes while another is loaded replaces those before it."""
        while True:
            first = await self.models.receive()
            waiting = [first, *self.models.take_waiting()]
            for message in waiting:
                self._intake.note(message)
            for message in waiting[1:]:
                self.models.done(message)
            await self._take_in(waiting[-1])
            self.models.done(first)

    async def _take_in(self, message: Message[Model]) -> None:
        model = message.payload
        if model.published_at <= self._newest[0]:
            return
        if self._intake.lacks(message):
            await self._lack(model)
            return
        try:
            version = await self.compute(self._intake.loaded, message, operation="load", parameters=numbers(model.state))
        except UNUSABLE as error:
            self._events.refused(model.version, error)
            return
        self._newest = (model.published_at, model.version)
        self._policy.offer(version)
        self._has_model.set()

    async def _lack(self, model: Model) -> None:
        """Ask for a full model, once for each that is missing, if there is a way to."""
        if model.base is None or model.base == self._lacked:
            return
        self._lacked = model.base
        self.metrics.event("lacking", json.dumps({"version": model.version}))
        if self.requests.connected:
            await self.requests.send(ModelRequest(self._newest[1], full=True))

    async def _first_model(self, waiting: Input[Samples]) -> None:
        """Wait for a model, and hold nobody back meanwhile: a source that waits would not feed the trainer that is to make it."""
        waiting.limit(False)
        await self._has_model.wait()
        waiting.limit(True)

    async def _pull(self, every: float) -> None:
        while True:
            await self.requests.send(ModelRequest(self._newest[1]))
            await self.clock.sleep(every)

    async def _serve(self) -> None:
        if self.settings.before_model == "wait":
            await self._first_model(self.samples)
        batch = self.settings.batch
        async for messages in self._admission.batches(batch.max_size, batch.max_delay):
            parts = [message.payload for message in messages]
            x, y = stacked(parts)
            async with self._answering:
                answered = await self._answered(x, parts[0].classes)
                odds = np.full((len(x), parts[0].classes), 1 / parts[0].classes) if answered is None else answered.odds
                await self._tell(messages, odds, answered.by.number if answered else 0)
                if answered is not None and self._policy.judges and not self.labelled.connected:
                    # They are answered; what follows does not delay them.
                    for message in messages:
                        self.samples.done(message)
                    await self._policy.judge(x, y, parts[0].classes, answered)

    async def _answered(self, x: Features, classes: int) -> Answer | None:
        """What the policy says; None before there is a model."""
        return await self._policy.answer(x, classes) if self._has_model.is_set() else None

    async def _tell(self, messages: list[Message[Samples]], odds: NDArray[np.float64], version: int) -> None:
        """Send answers, or send on what nobody here is sure of."""
        threshold, now = self.settings.threshold, self.clock.now()
        for message, part in zip(messages, split(odds, [message.payload for message in messages]), strict=True):
            unsure = threshold is not None and float(part.max(axis=1).min()) < threshold
            if threshold is not None:
                self.metrics.record("deferred", float(unsure))
            if unsure:
                message.note(version=version)
                await self.deferred.send(message.payload, version=version, parent=message.story)
            else:
                await answer(message, part, version, self.predictions)
                self._recent.add(part.argmax(axis=1) == message.payload.y)
        if self._recording.due(now):
            self.metrics.record("accuracy", self._recent.mean)
            current = self._policy.current
            if current is not None:
                self.metrics.record("staleness", now - current.published_at)

    async def _judge_labelled(self) -> None:
        """Let the policy learn what was true, when that comes."""
        await self._first_model(self.labelled)
        batch = self.settings.batch
        async for waiting in self.labelled.batches(batch.max_size, batch.max_delay):
            x, y = stacked(waiting.payloads)
            async with self._answering:
                await self._policy.judge(x, y, waiting.payloads[0].classes, None)

    async def _pass_over_labelled(self) -> None:
        async for _ in self.labelled:
            pass
