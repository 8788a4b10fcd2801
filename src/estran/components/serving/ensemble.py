"""Several versions share the say, by Hedge or Exp3."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estran.components.serving.policies import Answer, Events
from estran.components.serving.settings import Serving
from estran.components.serving.versions import Computes, Version
from estran.learning.learner import Features, Labels, LearnerError
from estran.learning.mixing import Mixture
from estran.learning.trials import scores


class Ensemble:
    """The last versions answer together (*Hedge*: the mix of what they say), or in turns drawn by chance (*Exp3*)."""

    judges = True

    def __init__(self, settings: Serving, compute: Computes, events: Events, rng: np.random.Generator) -> None:
        self._settings, self._compute, self._events = settings, compute, events
        self._mixture = Mixture(settings.by, settings.versions, rng)
        self._versions: list[Version] = []

    @property
    def current(self) -> Version | None:
        """The version with most say, of several the newest."""
        if not self._versions:
            return None
        shares = self._mixture.shares()
        return self._versions[len(shares) - 1 - int(np.argmax(shares[::-1]))]

    def offer(self, version: Version) -> None:
        leaves = self._mixture.join()
        if leaves is not None:
            self._events.tell("dropped", self._versions.pop(leaves))
        self._versions.append(version)
        self._events.tell("swapped", version)

    async def answer(self, x: Features, classes: int) -> Answer:
        if not self._mixture.hedging:
            return await self._drawn(x, classes)
        each = await self._each(x, classes)
        # Versions may have come and gone while these computed: the mix is of those that answered and are still there.
        shares = dict(zip(self._versions, self._mixture.shares().tolist(), strict=True))
        weights = np.array([shares.get(version, 0.0) for version, _ in each])
        weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(each), 1 / len(each))
        odds = np.tensordot(weights, np.array([said for _, said in each]), axes=1)
        leading = each[len(each) - 1 - int(np.argmax(weights[::-1]))][0]
        return Answer(odds, leading, tuple(each))

    async def judge(self, x: Features, y: Labels, classes: int, answer: Answer | None) -> None:
        told = await self.answer(x, classes) if answer is None else answer
        by = self._settings.score
        if not self._mixture.hedging:
            if told.by in self._versions:
                reward = float(scores(told.odds, y, by).mean())
                self._mixture.learn_reward(self._versions.index(told.by), min(1.0, reward), told.probability)
            return
        known = {version: 1.0 - scores(odds, y, by) for version, odds in told.each}
        if not known.keys() & set(self._versions):
            return
        # Who came in the meantime is judged as the mix is on the whole.
        rest = np.asarray(np.mean(list(known.values()), axis=0))
        losses = np.stack([known.get(version, rest) for version in self._versions], axis=1)
        self._mixture.learn_losses(np.clip(losses, 0.0, 1.0))

    async def _each(self, x: Features, classes: int) -> list[tuple[Version, NDArray[np.float64]]]:
        """What each version says; those that cannot have to leave, unless none can."""
        found: list[tuple[Version, NDArray[np.float64]]] = []
        failed: list[tuple[Version, LearnerError]] = []
        for version in tuple(self._versions):
            try:
                found.append((version, await version.answer(self._compute, x, classes)))
            except LearnerError as error:
                failed.append((version, error))
        if not found:
            raise failed[-1][1]
        for version, why in failed:
            self._refuse(version, why)
        return found

    async def _drawn(self, x: Features, classes: int) -> Answer:
        index, probability = self._mixture.choose()
        version = self._versions[index]
        try:
            odds = await version.answer(self._compute, x, classes)
        except LearnerError as error:
            if len(self._versions) == 1:
                raise
            self._refuse(version, error)
            return await self._drawn(x, classes)
        return Answer(odds, version, probability=probability)

    def _refuse(self, version: Version, error: LearnerError) -> None:
        if version in self._versions and len(self._versions) > 1:
            index = self._versions.index(version)
            self._mixture.leave(index)
            self._events.refused(self._versions.pop(index).number, error)
