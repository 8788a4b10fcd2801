"""Split learning: a network's lower layers beside the samples, its upper ones elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estran.components.messages import Activations, Gradients, Model, Samples
from estran.components.rolling import Rolling
from estran.components.worker import Held
from estran.errors import DataError
from estran.learning import registry
from estran.learning.aggregation.split import Stack, Values, divided, loss_gradient
from estran.learning.aggregation.states import change, misfit, moved
from estran.learning.learner import Labels, NotFiniteError
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output
from estran.units import Duration

_NOTHING = np.zeros((0, 0))


@dataclass(frozen=True)
class FrontSettings:
    """How a front waits.

    Attributes
    ----------
    most
        Rows that it holds; more wait in the stream.
    remind
        After so long without an answer it begins anew.
    """

    most: int = 10_000
    remind: Duration = 5.0

    def __post_init__(self) -> None:
        if self.most < 1 or self.remind <= 0:
            raise SettingsError("most or remind is not positive", where="split-front", remedy="give more than 0")


class Front(Component):
    """Sends what the layers below the cut make of its samples, and learns from the gradients that come back.

    Metrics: ``waiting``, seconds from sending a batch to its gradient; ``learned`` rows; ``refused`` steps that diverged.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("waiting", "learned", "refused")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "activations", "gradients")

    settings: FrontSettings
    samples: Input[Samples]
    gradients: Input[Gradients]
    activations: Output[Activations]

    async def setup(self) -> None:
        """Begin without weights: the back sends them."""
        self._held = Held(self.settings.most)
        self._learned = self._refused = self._number = 0

    async def run(self) -> None:
        """Learn until cancelled."""
        self._born = self.clock.now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gather(), name="gather")
            group.create_task(self._work(), name="work")

    async def _gather(self) -> None:
        async for message in self.samples:
            self._held.add(message.payload)
            await self._held.room()

    async def _work(self) -> None:
        await self._held.reach(1)
        while True:
            first = await self._begun()
            order: Gradients | None = first
            stack = Stack(first.front, top=False)
            while order is not None:
                order, stack = await self._batch(order, stack)

    async def _begun(self) -> Gradients:
        """The weights to begin with, asked for until they come."""
        while True:
            await self.activations.send(self._sent(0.0, 0, _NOTHING, np.zeros(0, np.int64), {}))
            while (answer := await self._answer()) is not None:
                if answer.number == 0:
                    return answer

    async def _batch(self, order: Gradients, stack: Stack) -> tuple[Gradients | None, Stack]:
        """Learn one batch; None instead of the next order where the back no longer answers."""
        x, y = await self._held.take(order.batch)
        self._number += 1
        front = dict(stack.weights) if self._number % order.gather == 0 else {}
        size = sum(int(array.size) for array in stack.weights.values())
        values = await self.compute(stack.forward, x, operation="predict", size=len(x), parameters=size)
        await self.activations.send(self._sent(order.server, self._number, values[-1], y, front))
        sent = self.clock.now()
        while (answer := await self._answer()) is not None and answer.number not in (0, self._number):
            pass
        if answer is None:
            return None, stack
        self.metrics.record("waiting", self.clock.now() - sent)
        if answer.front:
            stack = Stack(answer.front, top=False)
        if answer.number and len(answer.values):
            try:
                stack, _ = await self.compute(
                    stack.stepped, values, answer.values, answer.rate, operation="learn", size=len(x), parameters=size
                )
                self._learned += len(x)
            except NotFiniteError as error:
                self._refused += 1
                self.metrics.record("refused", self._refused)
                self.log.warning("a batch was left out: %s", error.what)
        self.metrics.record("learned", self._learned)
        return answer, stack

    async def _answer(self) -> Gradients | None:
        """What the back says to this life of the front, or None if it says nothing for long."""
        while True:
            try:
                async with asyncio.timeout(self.settings.remind):
                    message = await self.gradients.receive()
            except TimeoutError:
                return None
            newest = self.gradients.newest() or message
            self.gradients.done(message)
            if newest.payload.born == self._born:
                return newest.payload

    def _sent(self, server: float, number: int, values: Values, y: Labels, front: dict[str, NDArray[Any]]) -> Activations:
        return Activations(self._born, server, number, self._held.features, self._held.classes, values, y, front)


@dataclass(frozen=True)
class BackSettings:
    """Which network is cut where.

    Attributes
    ----------
    learner
        The whole network: ``mlp``, with its settings.
    cut
        How many layers are in front: from 1 to the number of hidden ones.
    batch
        Rows that are sent up together.
    gather
        Batches of each front between two in which its weights are sent up: the mean of all fronts goes down, and is published.
    window
        Answers over which the metric ``prequential_accuracy`` is taken.
    """

    learner: str | dict[str, dict[str, Any] | None] = "mlp"
    cut: int = 1
    batch: int = 32
    gather: int = 16
    window: int = 200

    def __post_init__(self) -> None:
        name, settings = registry.read(self.learner)
        if name != "mlp" or settings.get("optimizer", "sgd") != "sgd":
            raise SettingsError(
                f"{name} cannot be cut", where="split-back", remedy="give {mlp: {hidden: [64]}}, with optimizer sgd"
            )
        hidden = getattr(registry.create(self.learner, 1, 2, np.random.default_rng(0)), "hidden", ())
        if not 1 <= self.cut <= len(hidden):
            remedy = f"give a layer from 1 to {len(hidden)}" if hidden else "give it a hidden layer"
            raise SettingsError(f"cut is {self.cut} of {len(hidden)} hidden layers", where="split-back", remedy=remedy)
        for setting in ("batch", "gather", "window"):
            if getattr(self, setting) < 1:
                raise SettingsError(f"{setting} is {getattr(self, setting)}", where="split-back", remedy="give 1 or more")


class Back(Component):
    """Learns the layers from the cut on, from what fronts send up, and publishes the whole network.

    Each batch is a step of the back, whichever front it is from. Metrics: ``prequential_accuracy`` over the last answers,
    ``learned`` rows, ``refused`` batches that diverged or did not fit.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("prequential_accuracy", "learned", "refused")
    REQUIRED: ClassVar[tuple[str, ...]] = ("activations", "gradients")

    settings: BackSettings
    activations: Input[Activations]
    gradients: Output[Gradients]
    models: Output[Model]

    async def setup(self) -> None:
        """Wait for the first front to say how wide its rows are."""
        self._stack: Stack | None = None
        self._fronts: dict[str, Mapping[str, NDArray[Any]]] = {}
        self._learned = self._refused = self._version = 0
        self._recent = Rolling(self.settings.window)

    async def run(self) -> None:
        """Learn until cancelled."""
        self._born = self.clock.now()
        async for message in self.activations:
            await self._take(message, message.payload)

    async def _take(self, message: Message[Activations], sent: Activations) -> None:
        origin = message.story.origin
        if self._stack is None:
            self._create(sent)
        elif (sent.features, sent.classes) != (self._features, self._classes):
            raise DataError(
                f"{origin} has rows of {sent.features} features and {sent.classes} classes, "
                f"others of {self._features} and {self._classes}",
                where=self.name,
                remedy="let the sources of all fronts send the same data",
            )
        if sent.number == 0 or sent.server != self._born:
            await self._reply(origin, sent.born, 0, _NOTHING, self._mean())
            return
        mean = await self._gathered(origin, sent) if sent.front else {}
        await self._reply(origin, sent.born, sent.number, await self._learn(sent), mean)

    def _create(self, first: Activations) -> None:
        self._features, self._classes = first.features, first.classes
        learner = registry.create(self.settings.learner, first.features, first.classes, self.rng)
        self._rate = float(getattr(learner, "learning_rate", 0.0))
        self._front, above = divided(learner.state(), self.settings.cut)
        self._stack = Stack(above, top=True)
        self._size = sum(int(array.size) for array in above.values())

    async def _learn(self, sent: Activations) -> Values:
        """Take a step; the gradient for the front, empty if there was none."""
        stack = self._stack
        if stack is None or sent.values.ndim != 2 or sent.values.shape[1] != self._front[f"b{self.settings.cut - 1}"].size:
            self._refuse("it does not fit")
            return _NOTHING
        try:
            found = await self.compute(
                _step, stack, sent.values, sent.labels, self._rate, operation="learn", size=len(sent.labels), parameters=self._size
            )
        except NotFiniteError as error:
            self._refuse(error.what)
            return _NOTHING
        self._stack, gradient, answers = found
        self._recent.add(answers == sent.labels)
        self._learned += len(sent.labels)
        self.metrics.record("prequential_accuracy", self._recent.mean)
        self.metrics.record("learned", self._learned)
        return gradient

    async def _gathered(self, origin: str, sent: Activations) -> dict[str, NDArray[Any]]:
        """Take in a front's weights and publish the network of now; the mean of all fronts' newest."""
        if misfit(self._front, sent.front) is not None:
            self._refuse("its weights do not fit")
            return self._mean()
        self._fronts[origin] = sent.front
        mean = self._mean()
        if self.models.connected and self._stack is not None and self._learned:
            self._version += 1
            name, settings = registry.read(self.settings.learner)
            state = {**mean, **self._stack.weights}
            model = Model(
                self._version, {name: settings}, self._features, self._classes, state, self._learned, self.clock.now()
            )  # fmt: skip
            self.metrics.event("published", json.dumps({"version": self._version, "samples": self._learned}))
            await self.models.send(model, version=self._version)
        return mean

    def _mean(self) -> dict[str, NDArray[Any]]:
        fronts = [self._fronts[name] for name in sorted(self._fronts)] or [self._front]
        return moved(fronts[0], [change(fronts[0], front) for front in fronts], [1 / len(fronts)] * len(fronts))

    async def _reply(self, origin: str, born: float, number: int, values: Values, front: dict[str, NDArray[Any]]) -> None:
        settings = self.settings
        answer = Gradients(born, self._born, number, values, front, self._rate, settings.batch, settings.gather)
        await self.gradients.send(answer, to=(origin,))

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self.metrics.record("refused", self._refused)
        self.log.warning("a batch was left out: %s", why)


def _step(stack: Stack, values: Values, labels: Labels, rate: float) -> tuple[Stack, Values, Labels]:
    """The stack after a step, the gradient by what came in, and the answers before it."""
    with np.errstate(over="ignore", invalid="ignore"):
        inside = stack.forward(values)
        gradient = loss_gradient(inside[-1], labels)
    after, below = stack.stepped(inside, gradient, rate)
    return after, below, inside[-1].argmax(axis=1)
