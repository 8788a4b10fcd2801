"""Load shedding: which requests are not answered, and how that is told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import numpy as np

from estran.components.messages import Predictions, Samples
from estran.components.serving.settings import Shedding
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output

_FORGETTING = 0.8


class Admission:
    """Lets requests through to a predictor in batches, and answers ``shed`` to the others.

    Parameters
    ----------
    rule
        Which are refused; None for none.
    owner
        Whose clock and metrics are used: ``shed`` is 1 for each request that was refused and 0 for each other.
    samples, predictions
        Where requests come from, and where answers go.
    """

    def __init__(self, rule: Shedding | None, owner: Component, samples: Input[Samples], predictions: Output[Predictions]) -> None:
        self._rule, self._owner, self._samples, self._predictions = rule, owner, samples, predictions
        self._takes = 0.0
        """Seconds from taking a batch to having answered it, as the last ones tell."""
        self._told: deque[Message[Samples]] = deque()

    async def batches(self, max_size: int, max_delay: float) -> AsyncIterator[list[Message[Samples]]]:
        """Yield messages to be answered together."""
        async for batch in self._samples.batches(max_size, max_delay):
            if self._rule is None:
                yield batch.messages
                continue
            admitted = await self._admitted(self._rule, batch.messages)
            if admitted:
                begun = self._owner.clock.now()
                yield admitted
                took = self._owner.clock.now() - begun
                self._takes = took if self._takes == 0 else _FORGETTING * self._takes + (1 - _FORGETTING) * took
            self._hand_back(batch.messages)

    async def _admitted(self, rule: Shedding, batch: list[Message[Samples]]) -> list[Message[Samples]]:
        """Those of a batch that are to be answered; the others are told, and so are those that wait and are too many."""
        excess = 0 if rule.queue is None else max(0, len(batch) + self._samples.waiting - rule.queue)
        if rule.drop == "newest":
            from_queue = self._samples.take_newest(excess)
            self._told.extend(from_queue)
            kept = len(batch) - (excess - len(from_queue))
            refused, batch = [*batch[kept:], *from_queue], batch[:kept]
        else:
            refused, batch = batch[:excess], batch[excess:]
        for message in refused:
            await self._shed(message, "queue")
        if rule.deadline is None:
            admitted = batch
        else:
            latest = self._owner.clock.now() + (self._takes if rule.foresee else 0.0) - rule.deadline
            admitted = [message for message in batch if message.story.created >= latest]
            for message in batch:
                if message.story.created < latest:
                    await self._shed(message, "late")
        for _ in admitted:
            self._owner.metrics.record("shed", 0.0)
        return admitted

    async def _shed(self, message: Message[Samples], why: str) -> None:
        self._owner.metrics.record("shed", 1.0)
        if self._predictions.connected:
            samples, rows = message.payload, len(message.payload)
            nothing = np.zeros(rows, dtype=np.float32)
            said = Predictions(np.full(rows, -1), samples.y, nothing, 0, samples.index, why)
            await self._predictions.send(said, parent=message.story)

    def _hand_back(self, batch: list[Message[Samples]]) -> None:
        """Hand back what was refused out of turn, once all that came before it has been."""
        if not self._told:
            return
        for message in batch:
            self._samples.done(message)
        last = batch[-1].story.received
        while self._told and (not self._samples.waiting or self._told[0].story.received < last):
            self._samples.done(self._told.popleft())
