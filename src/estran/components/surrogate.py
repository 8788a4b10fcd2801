"""A surrogate: a neural network that learns a simulator's fields while it runs, and steers what is simulated next."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from estran.components.fields import Proposal, Steps, Surrogate
from estran.components.rolling import Pace
from estran.components.squared import SquaredError
from estran.components.surrogate_settings import SurrogateSettings, as_steering
from estran.learning.learner import NotFiniteError
from estran.learning.surrogates.committee import Committee
from estran.learning.surrogates.network import MlpFields
from estran.learning.surrogates.reservoir import Reservoir, Rows
from estran.learning.surrogates.steering import MOMENTS, LossRecord, Position, inputs, most_telling
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output

RECORD_EVERY: Final = 0.25
PENDING: Final = 64
"""Simulations that are asked for or running, as far as is known; those that fail are forgotten so."""


class SurrogateTrainer(Component):
    """Learns the steps of simulations from a reservoir, at a pace of its own, publishes what it knows, and proposes parameters.

    Steps are taken from ``steps`` and, in a stated share, from ``real``; those of ``heldout`` are never learned. Metrics: ``rmse``
    on the held-out steps; ``rmse_incoming`` and ``rmse_real`` on steps just before they are put into the reservoir, and ``gap``,
    the latter less the former; ``rmse_batches`` as they are learned; ``uses``, how often a step has been learned from;
    ``learned_simulations``; ``proposed`` parameters.
    """

    METRICS: ClassVar[tuple[str, ...]] = (
        "rmse", "rmse_incoming", "rmse_real", "gap", "rmse_batches", "uses", "learned_simulations", "proposed",
    )  # fmt: skip
    REQUIRED: ClassVar[tuple[str, ...]] = ("steps",)

    settings: SurrogateSettings
    steps: Input[Steps]
    real: Input[Steps]
    heldout: Input[Steps]
    models: Output[Surrogate]
    parameters: Output[Proposal]

    @classmethod
    def needs(cls, settings: SurrogateSettings) -> tuple[str, ...]:
        """Steering needs somebody to steer, and a share of real steps needs real steps."""
        more = {"parameters": as_steering(settings.steering).by != "none", "real": settings.reservoir.real > 0}
        return (*cls.REQUIRED, *(port for port, needed in more.items() if needed))

    async def setup(self) -> None:
        """Compile the network, so that the first batch does not wait for it."""
        MlpFields.warm()
        settings = self.settings
        self._steering = as_steering(settings.steering)
        self._committee: Committee | None = None
        self._simulated: Reservoir | None = None
        self._measured: Reservoir | None = None
        self._held: list[Steps] = []
        self._hard = LossRecord()
        self._taken, self._came = asyncio.Event(), asyncio.Event()
        self._errors = {name: SquaredError(settings.window) for name in ("incoming", "real", "batches")}
        self._begun: set[int] = set()
        self._pending: deque[Position] = deque(maxlen=PENDING)
        self._parameters = self._version = self._proposed = 0
        self._recording, self._publishing = Pace(RECORD_EVERY), Pace(settings.publish_every)
        self._draws = self.rng.spawn(1)[0]

    async def run(self) -> None:
        """Take in, learn and propose until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(self.steps, real=False), name="steps")
            group.create_task(self._take(self.real, real=True), name="real")
            group.create_task(self._hold(), name="heldout")
            group.create_task(self._train(), name="train")

    async def _take(self, port: Input[Steps], *, real: bool) -> None:
        """Put what comes into its reservoir; where that is full of what has not been learned yet, producers wait."""
        async for message in port:
            steps = message.payload
            if not np.isfinite(steps.fields).all():
                self.metrics.event("refused", json.dumps({"simulation": steps.simulation, "why": "a NaN or an infinity"}))
                continue
            reservoir = self._buffer(steps, real=real)
            await self._judge(steps, "real" if real else "incoming")
            for x, y in zip(inputs(steps.position, steps.times), steps.fields, strict=True):
                while not reservoir.room():
                    self._taken.clear()
                    await self._taken.wait()
                weight = steps.weight if self.settings.weighted else 1.0
                reservoir.put(x, y, self._draws, weight=weight, owner=steps.simulation)
            self._came.set()
            if not real:
                await self._notice(steps)

    def _buffer(self, steps: Steps, *, real: bool) -> Reservoir:
        found = self._measured if real else self._simulated
        if found is None:
            wanted = self.settings.reservoir
            width = len(steps.values) + 1, steps.fields.shape[1]
            # Real steps need not come in such numbers before they are of use.
            threshold = 1 if real else wanted.threshold
            found = Reservoir(*width, capacity=wanted.capacity, threshold=threshold, policy=wanted.policy)
            if real:
                self._measured = found
            else:
                self._simulated = found
        return found

    async def _judge(self, steps: Steps, name: str) -> None:
        """Test what is known on steps that have not been learned yet."""
        if self._version:
            squares = await self._squares(inputs(steps.position, steps.times), steps.fields)
            self._errors[name].add(squares, steps.weight if name == "incoming" else 1.0)

    async def _squares(self, x: NDArray[np.float64], fields: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Mean squared error of each row, shape (n,)."""
        answers = await self.compute(self._known().predict, x, operation="predict", size=len(x), parameters=self._parameters)
        return np.asarray(((answers - fields) ** 2).mean(axis=1))

    async def _hold(self) -> None:
        async for message in self.heldout:
            self._held.append(message.payload)

    async def _notice(self, steps: Steps) -> None:
        """Note a simulation that ends, or one that begins, and then propose the parameters of one to come."""
        if steps.first + len(steps) == steps.total:
            self._pending = deque((one for one in self._pending if not np.allclose(one, steps.position)), PENDING)
        if steps.simulation in self._begun:
            return
        if steps.first + len(steps) < steps.total and not any(np.allclose(one, steps.position) for one in self._pending):
            self._pending.append(steps.position)
        self._begun.add(steps.simulation)
        self._hard.begun(steps.simulation, steps.position)
        if self._steering.by != "none" and self._version and self.parameters.connected:
            position, why = await self._chosen(len(steps.values))
            self._proposed += 1
            self._pending.append(position)
            await self.parameters.send(Proposal(steps.low + position * (steps.high - steps.low), why))

    async def _chosen(self, dimensions: int) -> tuple[Position, str]:
        """A position to simulate, and why."""
        steering, draws = self._steering, self._draws
        if draws.random() >= steering.explore:
            if steering.by == "variance":
                candidates = draws.random((steering.candidates, dimensions))
                size = MOMENTS * len(candidates)
                telling: Position = await self.compute(
                    most_telling,
                    self._known(),
                    candidates,
                    list(self._pending),
                    operation="predict",
                    size=size,
                    parameters=self._parameters,
                )
                return telling, "variance"
            hard = self._hard.propose(draws, steering.spread)
            if hard is not None:
                return hard, "loss"
        return draws.random(dimensions), "exploration"

    async def _train(self) -> None:
        """Learn batch after batch."""
        async for rows in self._batches():
            committee = self._known()
            try:
                losses = await self.compute(
                    committee.learn, rows.x, rows.y, rows.weights,
                    operation="learn", size=len(rows), parameters=self._parameters,
                )  # fmt: skip
            except NotFiniteError as error:
                self._diverged(error)
            else:
                self._errors["batches"].add(losses * committee.scale**2)
                self._hard.learned(rows.owner, losses)
            if self._publishing.due(self.clock.now()):
                await self._publish(committee)
            if self._recording.due(self.clock.now()):
                self._record()

    def _diverged(self, error: NotFiniteError) -> None:
        """Say so; what is in service stays."""
        self.metrics.event("diverged", error.what)
        self.log.warning("what was learned is of no use: %s", error.what)

    async def _batches(self) -> AsyncIterator[Rows]:
        """What is learned next, as soon as there is enough of it."""
        batch, rate = self.settings.batch, self.settings.rate
        real = round(batch * self.settings.reservoir.real)
        due = self.clock.now()
        while True:
            while not (self._simulated is not None and self._simulated.ready(batch)):
                self._came.clear()
                await self._came.wait()
            self._committee = self._committee or self._created(self._simulated)
            measured = self._measured is not None and real > 0 and self._measured.ready(real)
            parts = [self._simulated.draw(batch - real if measured else batch, self._draws)]
            if measured and self._measured is not None:
                parts.append(self._measured.draw(real, self._draws))
            self._taken.set()
            yield parts[0] if len(parts) == 1 else _together(parts)
            # Where all is computed in place, others of this process want their turn.
            await asyncio.sleep(0)
            if rate is not None:
                due = max(due + 1 / rate, self.clock.now())
                await self.clock.sleep(due - self.clock.now())

    def _created(self, reservoir: Reservoir) -> Committee:
        """A committee that knows nothing, scaled to what is in the reservoir."""
        network, fields = self.settings.network, reservoir.fields()
        spread = float(fields.std())
        made = Committee(
            reservoir.features, reservoir.outputs, self.rng,
            centre=fields.mean(axis=0), scale=spread if spread > 0 else 1.0,
            members=network.members, hidden=network.hidden, learning_rate=network.learning_rate, average=network.average,
        )  # fmt: skip
        self._parameters = sum(array.size for array in made.state().values())
        return made

    def _known(self) -> Committee:
        if self._committee is None:
            raise RuntimeError("nothing has been learned yet")
        return self._committee

    async def _publish(self, committee: Committee) -> None:
        """Take what has been learned into service, test it, and send it."""
        try:
            await self.compute(committee.serve, operation="load", parameters=self._parameters)
        except NotFiniteError as error:
            self._diverged(error)
            return
        self._version += 1
        if self._held:
            await self._test()
        if not self.models.connected:
            return
        state = await self.compute(committee.state, operation="snapshot", parameters=self._parameters)
        hidden = self.settings.network.hidden
        model = Surrogate(self._version, hidden, dict(state), len(self._begun), self.clock.now())
        self.metrics.event("published", json.dumps({"version": self._version, "simulations": len(self._begun)}))
        await self.models.send(model, version=self._version)

    async def _test(self) -> None:
        """Record the error on all held-out steps."""
        total = SquaredError(sum(map(len, self._held)))
        held = list(self._held)
        x = np.concatenate([inputs(steps.position, steps.times) for steps in held])
        squares = await self._squares(x, np.concatenate([steps.fields for steps in held]))
        for steps, part in zip(held, np.split(squares, np.cumsum([len(steps) for steps in held])[:-1]), strict=True):
            total.add(part, steps.weight)
        self.metrics.record("rmse", total.root)

    def _record(self) -> None:
        incoming, real, batches = (self._errors[name] for name in ("incoming", "real", "batches"))
        self.metrics.record("learned_simulations", len(self._begun))
        if self._simulated is not None and self._simulated.produced:
            self.metrics.record("uses", self._simulated.drawn / self._simulated.produced)
        for name, error in (("rmse_batches", batches), ("rmse_incoming", incoming), ("rmse_real", real)):
            if error:
                self.metrics.record(name, error.root)
        if incoming and real:
            self.metrics.record("gap", real.root - incoming.root)
        if self.parameters.connected:
            self.metrics.record("proposed", self._proposed)


def _together(parts: list[Rows]) -> Rows:
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "weights", "owner")))
