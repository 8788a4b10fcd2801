"""A trainer whose replicas are one process group of torch.distributed: each has its own samples, all have the same model."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from estran.components.messages import Meeting, Samples
from estran.components.process_group import Backend, GroupError, ProcessGroup
from estran.components.trainer import Trainer, TrainerSettings
from estran.errors import DataError
from estran.learning import registry
from estran.learning.learner import Features, Labels, Learner
from estran.learning.mistakes import SettingsError
from estran.runtime.ports import Batch, Input, Output
from estran.runtime.waiting import Waiters
from estran.units import Duration

if TYPE_CHECKING:
    from estran.learning.pytorch import TorchLearner


@dataclass(frozen=True)
class DdpSettings(TrainerSettings):
    """How the replicas learn, publish and hold together; beside what a trainer's settings are.

    Attributes
    ----------
    learner
        A module of PyTorch, as ``module:Class`` with its settings.
    backend
        ``gloo`` on processors; ``nccl`` on graphics cards, with ``device: cuda`` among the learner's settings.
    port
        On the first replica's host, by which they find each other; any free one if 0.
    timeout
        After so long without its part of a round a replica counts as gone.
    patience
        So long a group waits for those who are missing before it begins without them, and a round for a replica's next samples
        before that one takes part without any.
    """

    learner: str | dict[str, dict[str, Any] | None] = field()
    backend: Backend = "gloo"
    port: int = 0
    timeout: Duration = 10.0
    patience: Duration = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if ":" not in registry.read(self.learner)[0]:
            what = f"it learns with a module of PyTorch, not with {registry.read(self.learner)[0]}"
            raise SettingsError(what, where="ddp-trainer", remedy="write learner: {module:Class: {…}}")
        if self.timeout <= self.patience or self.patience <= 0:
            what = f"timeout is {self.timeout:g}s and patience {self.patience:g}s"
            raise SettingsError(what, where="ddp-trainer", remedy="give more than 0, timeout more than patience")


class DdpTrainer(Trainer):
    """Learns from the samples of all replicas together, in rounds: an all-reduce adds up their gradients, for one step.

    So the model is that of one trainer that had all rows of a round in one chunk. The first replica invites the others by the
    stream ``meetings``, and publishes. A group that loses a member is formed anew of those that are there, with the model of who
    has learned most, and one that is restarted is taken in after the round. Metrics, beside a trainer's (``learned`` counts the
    rows of all): ``members`` of the group, ``round_seconds``. Events: ``formed``, ``round-failed``.

    Notes
    -----
    Li et al., *PyTorch distributed: experiences on accelerating data parallel training*, VLDB 2020. Gradients are weighed by rows
    here, since replicas of a stream do not have equally many.
    """

    METRICS: ClassVar[tuple[str, ...]] = (*Trainer.METRICS, "members", "round_seconds")
    REQUIRED: ClassVar[tuple[str, ...]] = ("samples", "meetings", "peers")
    UNSIMULATED: ClassVar[tuple[str, str] | None] = (
        "a ddp-trainer's processes talk by torch.distributed, which simulated time cannot see",
        "use --on emulate; or simulate workers and an aggregator with policy: synchronous, whose step is the same",
    )

    settings: DdpSettings
    peers: Input[Meeting]
    meetings: Output[Meeting]

    async def setup(self) -> None:
        """Import torch and make a step of some optimizer, which imports more, so that the first batch does not wait for it."""
        await super().setup()
        from torch import distributed, nn

        from estran.learning.pytorch import TorchLearner

        TorchLearner(nn.Linear(1, 2), 1, 2, seed=0).learn_many(np.zeros((1, 1)), np.zeros(1, np.int64))
        if not distributed.is_available() or not distributed.is_backend_available(self.settings.backend):
            what = f"this build of PyTorch has no {self.settings.backend}"
            raise SettingsError(what, where=self.name, remedy="choose backend: gloo, or install another build")
        self._others = [peer for peer in self.meetings.peers if peer != self.name]
        self._first = f"{self._surroundings.service}-0"
        self._address = os.environ["ESTRAN_ADDRESS"]
        self._batches: asyncio.Queue[Batch[Samples]] = asyncio.Queue(1)
        self._like: Samples | None = None
        self._there: dict[str, Meeting] = {}
        self._invitation: Meeting | None = None
        self._current = (0.0, 0)
        self._changed = Waiters()
        self._group: ProcessGroup | None = None

    async def _learn(self) -> None:
        self._born = self.clock.now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gather(), name="gather")
            group.create_task(self._listen(), name="listen")
            group.create_task(self._hold_together(), name="rounds")

    async def _gather(self) -> None:
        batch = self.settings.batch
        async for waiting in self.samples.batches(batch.max_size, batch.max_delay):
            self._like = self._like or waiting.payloads[0]
            self._changed.wake()
            await self._batches.put(waiting)
            await self._batches.join()

    async def _listen(self) -> None:
        async for message in self.peers:
            said = message.payload
            if said.members:
                self._invitation = said
            else:
                self._there[message.story.origin] = said
            self._changed.wake()

    async def _hold_together(self) -> None:
        """One group after another, for ever."""
        while True:
            try:
                async with ProcessGroup(self.settings.backend, self._address, self.settings.timeout) as group:
                    members = await (self._invite(group) if self.index == 0 else self._accept(group))
                    self.metrics.record("members", len(members))
                    self.metrics.event("formed", json.dumps({"number": self._current[1], "members": members}))
                    await self._rounds(group)
            except GroupError as error:
                self.log.warning("%s", error.what)
                self.metrics.event("round-failed", json.dumps({"number": self._current[1], "why": error.what}))

    async def _invite(self, group: ProcessGroup) -> list[str]:
        """Wait for the others and for a row of one's own, and form a group of those that are there."""
        await self._until(lambda: self._like is not None, None)
        await self._until(lambda: len(self._there) == len(self._others), self.settings.patience)
        like, there, self._there = self._like, self._there, {}
        assert like is not None
        best = max(there.values(), key=lambda one: one.learned, default=None)
        if best is not None and best.learned > self._learned:
            self._take(best)
        self._made(like.x.shape[1], like.classes)
        members = [self.name, *sorted(there)]
        self._current = (self._born, self._current[1] + 1)
        if there:
            port = await group.invite(self.settings.port)
            await self.meetings.send(self._said(members, port), to=sorted(there))
            await group.join(self._address, port, 0, len(members))
        return members

    async def _accept(self, group: ProcessGroup) -> list[str]:
        """Say that this one is there, until it is invited."""
        here = self._said([], 0)
        while (found := self._invited()) is None:
            await self.meetings.send(here, to=(self._first,))
            await self._until(lambda: self._invited() is not None, self.settings.timeout)
        self._current = found.born, found.number
        self._take(found)
        await group.join(found.address, found.port, found.members.index(self.name), len(found.members))
        return found.members

    def _invited(self) -> Meeting | None:
        """The newest invitation, if it is not one to a group that is over."""
        found = self._invitation
        return found if found is not None and (found.born, found.number) > self._current else None

    async def _until(self, condition: Callable[[], bool], seconds: float | None) -> None:
        """Wait until something holds, at the most for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._changed.wait()

    def _said(self, members: list[str], port: int) -> Meeting:
        """What this one says to the others: that it is there, or an invitation."""
        learner, number = cast("TorchLearner | None", self._learner), self._current[1]
        if learner is None:
            return Meeting(self._born, number, members, self._address, port, 0, 0, 0, {})
        known = learner.features, learner.classes, dict(learner.state())
        return Meeting(self._born, number, members, self._address, port, self._learned, *known)

    async def _rounds(self, group: ProcessGroup) -> None:
        """Learn, until a newcomer is to be taken in."""
        self._group, self._wanted = group, False
        while not self._wanted:
            begun = self.clock.now()
            waiting = await self._next()
            try:
                async with self._learning:
                    await (self._take_part() if waiting is None else self._learn_from(waiting))
            finally:
                if waiting is not None:
                    self._batches.task_done()
            self.metrics.record("round_seconds", self.clock.now() - begun)

    async def _next(self) -> Batch[Samples] | None:
        """The next samples, or None if there are none for long."""
        try:
            async with asyncio.timeout(self.settings.patience):
                return await self._batches.get()
        except TimeoutError:
            return None

    async def _take_part(self) -> None:
        """Make a round with the others' samples alone."""
        learner, like = cast("TorchLearner", self._learner), self._like
        learned = await self._teach(learner, np.empty((0, learner.features)), np.empty(0, np.int64))
        self._learned += learned
        if like is not None:
            await self._publish(learner, like, learned, [])

    async def _teach(self, learner: Learner, rows: Features, labels: Labels) -> int:
        """Make a step together; what each of them says is the gradient, its rows, and whether newcomers wait to be taken in."""
        module = cast("TorchLearner", learner)
        assert self._group is not None
        own = await self.compute(module.gradient, rows, labels, operation="learn", size=len(rows), parameters=self._parameters)
        said = own.new_zeros(len(own) + 1)
        said[:-1], said[-1] = own, bool(self._there)
        total = await self._group.sum(said)
        self._wanted = bool(total[-1])
        return await self.compute(module.follow, total[:-1], operation="step", parameters=self._parameters)

    async def _publish(self, learner: Learner, like: Samples, learned: int, wrong: list[bool]) -> None:
        if self.index == 0:
            await super()._publish(learner, like, learned, wrong)

    def _take(self, meeting: Meeting) -> None:
        """Know what another's model knows."""
        self._made(meeting.features, meeting.classes).load(meeting.state)
        self._learned = meeting.learned

    def _made(self, features: int, classes: int) -> TorchLearner:
        """The learner, which all make by the same settings."""
        from estran.learning.pytorch import TorchLearner

        learner = self._learner
        if not isinstance(learner, TorchLearner):
            learner = registry.create(self.settings.learner, features, classes, self.rng)
            if not isinstance(learner, TorchLearner):
                what = f"{type(learner).__name__} is no module of PyTorch"
                raise SettingsError(what, where=self.name, remedy="write learner: {module:Class: {…}} of a torch.nn.Module")
            self._learner, self._parameters = learner, registry.parameters(learner)
        if (features, classes) != (learner.features, learner.classes):
            what = f"others have rows of {features} features and {classes} classes, not those of this learner"
            raise DataError(what, where=self.name, remedy="let the sources of all replicas send the same data")
        return learner
