"""The server's side of an aggregation: who is there, what each was asked, and which answers count. It is told the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.aggregation.policy import Policy
from estran.learning.aggregation.states import change, distance, misfit, moved
from estran.learning.learner import State, StateError


@dataclass(frozen=True, eq=False)
class Reply:
    """What a worker says to the server.

    Attributes
    ----------
    worker
        Its name.
    born
        When this life of it began: a worker that was restarted has a later one.
    order
        Number of the order that it answers; 0 to say that it is there and idle.
    state
        What it learned, from the order's model on; empty if it learned nothing.
    rows
        How many it learned from.
    failed
        Why it could not learn; empty if it could.
    """

    worker: str
    born: float
    order: int
    state: State
    rows: int = 0
    failed: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """A reply that counts: what was added to which model.

    Attributes
    ----------
    base
        Version of the model that the worker began with.
    state
        What it came to.
    change
        What it added.
    """

    base: int
    state: State
    change: Mapping[str, NDArray[np.float64]]
    rows: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One new model.

    Attributes
    ----------
    staleness
        How many versions old the model was that each answer began with.
    began
        When the round, the first answer's order or the buffer began; seconds of the run's clock.
    """

    version: int
    staleness: tuple[int, ...]
    rows: int
    began: float


@dataclass(slots=True)
class Peer:
    """A worker as the server sees it: at work on ``order``, 0 if it is idle, since a time; ``clock`` counts its answers."""

    born: float
    order: int = 0
    base: int = 0
    state: State | None = None
    since: float = 0.0
    clock: int = 0
    suspected: bool = False


class Server:
    """What all policies share; subclasses say who is asked when, and what becomes of answers.

    The first orders go out when ``expected`` workers are there, or a deadline after the first one came. `orders` is to be called
    after every `hear` and `expire`, and `expire` at the time that `due` says.

    Parameters
    ----------
    policy
        Its settings.
    state, version
        The model to begin with.
    expected
        How many workers there may be.
    rng
        Source of all draws.

    Attributes
    ----------
    state, version
        The model in force.
    rows
        Learned from in all.
    refused
        Answers that did not count, by reason.
    outcomes
        What became of answers, since they were last taken out by `drain`.
    due
        When `expire` is to be called; None for never.
    """

    def __init__(self, policy: Policy, state: State, expected: int, rng: np.random.Generator, version: int = 0) -> None:
        self.policy, self.state, self.version = policy, dict(state), version
        self.rows = 0
        self.refused: Counter[str] = Counter()
        self.outcomes: list[Outcome] = []
        self.due: float | None = None
        self.peers: dict[str, Peer] = {}
        self.rng = rng
        self._expected, self._started = expected, False
        self._number = 0
        self._pending: set[str] = set()

    def hear(self, reply: Reply, now: float) -> None:
        """Take in what a worker says."""
        peer = self.peers.get(reply.worker)
        if peer is not None and reply.born < peer.born:
            self.refused["former life"] += 1
            return
        if peer is None or reply.born > peer.born:
            peer = self.peers[reply.worker] = Peer(reply.born, clock=self._slowest())
        peer.suspected = False
        if reply.order == 0 or reply.order != peer.order:
            if reply.order:
                self.refused["late"] += 1
            self._idle(reply.worker, now)
            return
        answer = self._checked(reply, peer)
        peer.order = 0
        self._answered(reply.worker, answer, now)

    def expire(self, now: float) -> None:
        """Wait no longer for those that are due."""
        if not self._started:
            self._start(now)
        else:
            self._expired(now)

    def orders(self, now: float) -> tuple[int, tuple[str, ...]]:
        """Number of the next order, and who is to be sent the model in force with it: nobody, perhaps."""
        chosen = tuple(sorted(self._pending))
        self._pending.clear()
        if chosen:
            self._number += 1
        for name in chosen:
            peer = self.peers[name]
            peer.order, peer.base, peer.state, peer.since = self._number, self.version, self.state, now
        return self._number, chosen

    def drain(self) -> list[Outcome]:
        """Take out the outcomes."""
        found, self.outcomes = self.outcomes, []
        return found

    def present(self) -> list[str]:
        """Workers that are there, in the order of their names."""
        return sorted(name for name, peer in self.peers.items() if not peer.suspected)

    def ask(self, names: Iterable[str]) -> None:
        """Have the model in force sent to workers."""
        self._pending.update(names)

    def suspect(self, names: Iterable[str]) -> None:
        """Count on workers no longer, until they are heard of again."""
        for name in names:
            peer = self.peers[name]
            peer.suspected, peer.order = True, 0

    def advance(
        self,
        changes: list[Mapping[str, NDArray[np.float64]]],
        weights: list[float],
        answers: list[Answer],
        began: float,
    ) -> None:
        """Make a new model, or leave things as they are if it would not be finite."""
        try:
            state: dict[str, NDArray[Any]] = moved(self.state, changes, weights)
        except StateError:
            self.refused["overflow"] += len(answers)
            return
        staleness = tuple(self.version - answer.base for answer in answers)
        rows = sum(answer.rows for answer in answers)
        self.state, self.version, self.rows = state, self.version + 1, self.rows + rows
        self.outcomes.append(Outcome(self.version, staleness, rows, began))

    def _checked(self, reply: Reply, peer: Peer) -> Answer | None:
        """The reply as an answer, or None if it does not count."""
        base = peer.state
        if base is None or reply.failed:
            self.refused["failed"] += 1
            return None
        if misfit(base, reply.state) is not None:
            self.refused["unfit"] += 1
            return None
        if self.policy.largest is not None and not distance(base, reply.state) <= self.policy.largest:
            self.refused["too large"] += 1
            return None
        return Answer(peer.base, reply.state, change(base, reply.state), reply.rows)

    def _idle(self, name: str, now: float) -> None:
        if self._started:
            if self.peers[name].order == 0:
                self._freed(name, now)
        elif len(self.peers) >= self._expected:
            self._start(now)
        elif self.due is None:
            self.due = now + self.policy.deadline

    def _start(self, now: float) -> None:
        self._started, self.due = True, None
        self._begin(now)

    def _slowest(self) -> int:
        """The lowest clock of those that are there."""
        return min((self.peers[name].clock for name in self.present()), default=0)

    def _begin(self, now: float) -> None:
        """Send the first orders."""
        raise NotImplementedError

    def _freed(self, name: str, now: float) -> None:
        """A worker has come, or come back, and is idle."""
        raise NotImplementedError

    def _answered(self, name: str, answer: Answer | None, now: float) -> None:
        """A worker has done what it was asked, or failed to (None)."""
        raise NotImplementedError

    def _expired(self, now: float) -> None:
        """A deadline has passed."""
        raise NotImplementedError
