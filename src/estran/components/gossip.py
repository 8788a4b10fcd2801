"""Gossip: peers that learn from their own samples and average their models two by two, without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from estran.components.messages import Exchange, Model, Samples
from estran.components.publishing import PublishSettings
from estran.components.rolling import Pace, Rolling
from estran.components.worker import Held
from estran.errors import DataError
from estran.learning import registry
from estran.learning.aggregation.states import change, check_averageable, distance, misfit, moved
from estran.learning.learner import Features, Labels, Learner, LearnerError, State
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component, generator
from estran.runtime.ports import Input, Output


@dataclass(frozen=True)
class GossipSettings:
    """What a peer learns with, and how often it turns to another.

    Attributes
    ----------
    learner
        What all peers learn with: a name, or one name with its settings.
    steps
        Local steps, each of ``batch`` rows, between two offers.
    batch
        Rows of a step.
    most
        Rows that it holds; more wait in the stream.
    publish
        When it publishes its own model.
    window
        Answers over which the metric ``prequential_accuracy`` is taken.
    """

    learner: str | dict[str, dict[str, Any] | None] = "mlp"
    steps: int = 1
    batch: int = 32
    most: int = 10_000
    publish: PublishSettings = field(default_factory=lambda: PublishSettings(every=1.0))
    window: int = 200

    def __post_init__(self) -> None:
        check_averageable(self.learner)
        for name in ("steps", "batch", "most", "window"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}", where="gossip", remedy="give 1 or more")


class Gossip(Component):
    """Learns online, and every so often averages its model with that of a peer, drawn from those that its streams lead to.

    Who gets an offer sends back its own model, and both take the mean of the other's and their own. Nobody waits for an answer, and
    one who owes an answer is not asked again. Metrics: ``prequential_accuracy`` over the last answers, ``learned`` rows,
    ``exchanges``, the ``disagreement`` of each (the distance of the two models before), ``refused`` models and steps that were
    not finite.

    Notes
    -----
    Boyd, Ghosh, Prabhakar, Shah, *Randomized gossip algorithms*, IEEE Trans. Information Theory 52:2508, 2006, for averaging;
    Lian et al., *Asynchronous decentralized parallel stochastic gradient descent*, ICML 2018, for learning in between.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("prequential_accuracy", "learned", "exchanges", "disagreement", "refused")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "offers", "peers")

    settings: GossipSettings
    samples: Input[Samples]
    peers: Input[Exchange]
    offers: Output[Exchange]
    models: Output[Model]

    async def setup(self) -> None:
        """Compile the learner, so that the first batch does not wait for it."""
        registry.warm(self.settings.learner)
        self._learner: Learner | None = None
        self._held = Held(self.settings.most)
        self._turn = asyncio.Lock()
        self._owing: dict[str, float] = {}
        self._learned = self._version = self._published_rows = self._exchanges = self._refused = 0
        self._recent = Rolling(self.settings.window)
        self._publishing = Pace(self.settings.publish.every)

    async def run(self) -> None:
        """Learn and exchange until cancelled."""
        self._born = self.clock.now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gather(), name="gather")
            group.create_task(self._learn(), name="learn")
            group.create_task(self._listen(), name="listen")

    async def _gather(self) -> None:
        async for message in self.samples:
            self._held.add(message.payload)
            await self._held.room()

    async def _learn(self) -> None:
        await self._held.reach(1)
        async with self._turn:
            self._begin(self._held.features, self._held.classes)
        while True:
            for _ in range(self.settings.steps):
                x, y = await self._held.take(self.settings.batch)
                async with self._turn:
                    await self._step(x, y)
            await self._offer()
            if self.models.connected and self._publish_due():
                await self._publish()

    async def _listen(self) -> None:
        async for message in self.peers:
            said, origin = message.payload, message.story.origin
            async with self._turn:
                learner = self._begin(said.features, said.classes)
                if not said.answer:
                    if said.born > self._owing.get(origin, said.born):
                        del self._owing[origin]  # what it owed, a former life of it did
                    await self._answer(learner, said, origin)
                elif said.born == self._born:
                    self._owing.pop(origin, None)
                    if said.state:
                        await self._merge(learner, said.state, origin)

    def _begin(self, features: int, classes: int) -> Learner:
        """The learner; it begins as everybody's does."""
        if self._learner is None:
            alike = generator(self._surroundings.seed, "gossip", 0)
            self._learner = registry.create(self.settings.learner, features, classes, alike)
            self._features, self._classes = features, classes
            self._parameters = registry.parameters(self._learner)
        elif (features, classes) != (self._features, self._classes):
            raise DataError(
                f"a peer has rows of {features} features and {classes} classes, this one of {self._features} and {self._classes}",
                where=self.name,
                remedy="let the sources of all peers send the same data",
            )
        return self._learner

    async def _step(self, x: Features, y: Labels) -> None:
        learner = self._begin(x.shape[1], self._held.classes)
        odds = await self.compute(learner.predict_proba, x, operation="predict", size=len(x), parameters=self._parameters)
        self._recent.add(odds.argmax(axis=1) == y)
        try:
            await self.compute(learner.learn_many, x, y, operation="learn", size=len(x), parameters=self._parameters)
        except LearnerError as error:
            self._refuse(error.what)
        self._learned += len(x)
        self.metrics.record("prequential_accuracy", self._recent.mean)
        self.metrics.record("learned", self._learned)

    async def _offer(self) -> None:
        """Send the model to a peer, drawn from those that owe no answer; to nobody, if all do."""
        free = [peer for peer in self.offers.peers if peer != self.name and peer not in self._owing]
        if not free:
            return
        chosen = free[int(self.rng.integers(len(free)))]
        self._owing[chosen] = self.clock.now()
        async with self._turn:
            learner = self._begin(self._held.features, self._held.classes)
            state = await self.compute(learner.state, operation="snapshot", parameters=self._parameters)
        await self.offers.send(Exchange(self._born, False, self._features, self._classes, dict(state)), to=(chosen,))

    async def _answer(self, learner: Learner, offer: Exchange, origin: str) -> None:
        own = dict(await self.compute(learner.state, operation="snapshot", parameters=self._parameters))
        taken = await self._merge(learner, offer.state, origin)
        answer = Exchange(offer.born, True, self._features, self._classes, own if taken else {})
        await self.offers.send(answer, to=(origin,))

    async def _merge(self, learner: Learner, other: State, origin: str) -> bool:
        """Take the mean of another's model and the own one; whether it could be done."""
        own = learner.state()
        wrong = misfit(own, other)
        if wrong is not None:
            self._refuse(f"the model of {origin} does not fit: {wrong}")
            return False
        try:
            await self.compute(_averaged, learner, other, operation="aggregate", parameters=self._parameters)
        except LearnerError as error:
            self._refuse(error.what)
            return False
        self._exchanges += 1
        self.metrics.record("disagreement", distance(own, other))
        self.metrics.record("exchanges", self._exchanges)
        return True

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self.metrics.record("refused", self._refused)
        self.log.warning("refused: %s", why)

    def _publish_due(self) -> bool:
        updates = self.settings.publish.updates
        by_rows = updates is not None and (self._version == 0 or self._learned - self._published_rows >= updates)
        return self._publishing.due(self.clock.now()) or by_rows

    async def _publish(self) -> None:
        async with self._turn:
            state = self._begin(self._held.features, self._held.classes).state()
        name, settings = registry.read(self.settings.learner)
        self._version += 1
        self._published_rows = self._learned
        now = self.clock.now()
        model = Model(self._version, {name: settings}, self._features, self._classes, dict(state), self._learned, now)
        self.metrics.event("published", json.dumps({"version": self._version, "samples": self._learned}))
        await self.models.send(model, version=self._version)


def _averaged(learner: Learner, other: State) -> None:
    own = learner.state()
    learner.load(moved(own, [change(own, other)], [0.5]))
