"""Serving policies: which version answers, and what becomes of a new one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from estran.components.serving.settings import Serving
from estran.components.serving.versions import Computes, Version
from estran.learning.learner import Features, Labels, LearnerError
from estran.learning.trials import Trial, scores
from estran.runtime.component import Component


@dataclass(frozen=True, eq=False)
class Answer:
    """Class probabilities, shape (n, classes), and which version they are of: the one with most say, where several have it."""

    odds: NDArray[np.float64]
    by: Version
    each: tuple[tuple[Version, NDArray[np.float64]], ...] = ()
    """What each version said that was asked."""
    probability: float = 1.0
    """With which it was drawn."""


class Policy(Protocol):
    """Chooses among versions of a model. One task at a time may wait for `answer` or `judge`."""

    judges: bool
    """Whether `judge` is to be called: where all is said by `answer` it is not."""

    @property
    def current(self) -> Version | None:
        """The version in service, once there is one."""
        ...

    def offer(self, version: Version) -> None:
        """Take a new version in."""
        ...

    async def answer(self, x: Features, classes: int) -> Answer:
        """Answer rows.

        Raises
        ------
        LearnerError
            If the version in service cannot, and there is none to go back to.
        """
        ...

    async def judge(self, x: Features, y: Labels, classes: int, answer: Answer | None) -> None:
        """Learn what was true of rows; ``answer`` is what `answer` gave for them, if it was asked."""
        ...


class Events:
    """Records what becomes of versions."""

    def __init__(self, owner: Component) -> None:
        self._owner = owner

    def tell(self, event: str, version: Version, **more: object) -> None:
        """Record one, now."""
        self._owner.metrics.event(event, json.dumps({"version": version.number, **more}))

    def refused(self, version: int, error: Exception) -> None:
        """Record that a model cannot be used, and why."""
        self._owner.metrics.event("refused", json.dumps({"version": version, "why": str(error)}))
        self._owner.log.warning("version %d is refused, the last good one serves on: %s", version, error)


class Swap:
    """The newest version answers; the one before is kept until it has."""

    judges = False

    def __init__(self, compute: Computes, events: Events) -> None:
        self._compute, self._events = compute, events
        self._current: Version | None = None
        self._proven: Version | None = None

    @property
    def current(self) -> Version | None:
        return self._current

    def offer(self, version: Version) -> None:
        self._current = version
        self._events.tell("swapped", version)

    async def answer(self, x: Features, classes: int) -> Answer:
        version = _needed(self._current)
        try:
            odds = await version.answer(self._compute, x, classes)
        except LearnerError as error:
            if self._proven is None or self._proven is version:
                raise
            # If the rows are at fault rather than the model, this raises, too.
            version, odds = self._proven, await self._proven.answer(self._compute, x, classes)
            self._back(error)
        self._proven = version
        return Answer(odds, version)

    async def judge(self, x: Features, y: Labels, classes: int, answer: Answer | None) -> None: ...

    def _back(self, error: LearnerError) -> None:
        if self._current is not None and self._current is not self._proven:
            self._events.refused(self._current.number, error)
        self._current = self._proven
        if self._proven is not None:
            self._events.tell("swapped", self._proven)


def _needed(version: Version | None) -> Version:
    if version is None:
        raise RuntimeError("a policy was asked before it had a version")
    return version


@dataclass(eq=False)
class _Running:
    """A trial that goes on."""

    newcomer: Version
    trial: Trial
    ends: float


class Tried:
    """Each new version is tried against the one in office: unseen (*shadow*), or in service while that looks on (*champion*).

    While one is tried, only the newest of those that come waits for its own trial.
    """

    judges = True

    def __init__(self, settings: Serving, compute: Computes, events: Events, now: Callable[[], float]) -> None:
        self._settings, self._compute, self._events, self._now = settings, compute, events, now
        self._challenging = settings.kind == "champion"
        self._office: Version | None = None
        self._running: _Running | None = None
        self._next: Version | None = None

    @property
    def current(self) -> Version | None:
        return self._running.newcomer if self._running is not None and self._challenging else self._office

    def offer(self, version: Version) -> None:
        if self._office is None:
            self._office = version
            self._events.tell("swapped", version)
        elif self._running is not None:
            self._next = version
        else:
            self._try(version)

    async def answer(self, x: Features, classes: int) -> Answer:
        version = _needed(self.current)
        try:
            odds = await version.answer(self._compute, x, classes)
        except LearnerError as error:
            if self._running is None or self._running.newcomer is not version:
                raise
            version = _needed(self._office)
            odds = await version.answer(self._compute, x, classes)
            self._refuse(error)
        return Answer(odds, version)

    async def judge(self, x: Features, y: Labels, classes: int, answer: Answer | None) -> None:
        running = self._running
        if running is None:
            return
        office = _needed(self._office)
        known = {} if answer is None else {answer.by: answer.odds}
        theirs = known[office] if office in known else await office.answer(self._compute, x, classes)
        newcomer = running.newcomer
        try:
            mine = known[newcomer] if newcomer in known else await newcomer.answer(self._compute, x, classes)
        except LearnerError as error:
            self._refuse(error)
            return
        by = self._settings.score
        running.trial.add(scores(mine, y, by), scores(theirs, y, by))
        verdict = running.trial.verdict(over=self._now() >= running.ends)
        if verdict is not None:
            self._end(running, passed=verdict == "not worse")

    def _try(self, version: Version) -> None:
        wanted = self._settings
        ends = float("inf") if wanted.time is None else self._now() + wanted.time
        self._running = _Running(version, Trial(wanted.samples, wanted.tolerance), ends)
        if self._challenging:
            self._events.tell("swapped", version)

    def _end(self, running: _Running, *, passed: bool) -> None:
        newcomer, office = running.trial.means
        told = {"rows": running.trial.rows, "score": round(newcomer, 6), "rival": round(office, 6)}
        if passed:
            self._events.tell("promoted", running.newcomer, **told)
            self._office = running.newcomer
        else:
            self._events.tell("rolled-back" if self._challenging else "dropped", running.newcomer, **told)
        self._over(swapped=passed != self._challenging)

    def _refuse(self, error: LearnerError) -> None:
        if self._running is not None:
            self._events.refused(self._running.newcomer.number, error)
            self._over(swapped=self._challenging)

    def _over(self, *, swapped: bool) -> None:
        """The trial has ended; the version that waits is tried next."""
        self._running = None
        if swapped:
            self._events.tell("swapped", _needed(self._office))
        if self._next is not None:
            waiting, self._next = self._next, None
            self._try(waiting)
