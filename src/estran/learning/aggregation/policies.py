"""Whom each policy asks when, and what it makes of the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.aggregation.policy import ROUNDS, Policy
from estran.learning.aggregation.server import Answer, Server
from estran.learning.aggregation.states import change, fading
from estran.learning.learner import State


class Rounds(Server):
    """All who take part in a round begin with one model; the weighted mean of theirs is the next one.

    A round closes when all who take part have answered; or at its deadline, if enough have (`Policy.quorum`), else it is given
    up. Those that let a deadline pass are left out until they are heard of again, unless that would leave nobody. Sums are taken
    in the order of the workers' names, so that it does not matter who answers first.

    Notes
    -----
    McMahan et al., *Communication-efficient learning of deep networks from decentralized data*, AISTATS 2017, algorithm 1; with the
    server's step of Reddi et al., *Adaptive federated optimization*, ICLR 2021. With all workers and one step it is synchronous
    data-parallel training; with several, Stich, *Local SGD converges fast and communicates little*, ICLR 2019.
    """

    _asked: int = 0
    _began: float = 0.0
    _missing: frozenset[str] = frozenset()

    def _begin(self, now: float) -> None:
        present = self.present()
        self._answers: dict[str, Answer] = {}
        self._asked = max(1, int(self.policy.share * len(present))) if present else 0
        drawn = self.rng.choice(len(present), self._asked, replace=False) if self._asked < len(present) else range(len(present))
        self._missing = frozenset(present[place] for place in drawn)
        self._began, self.due = now, now + self.policy.deadline if present else None
        self.ask(self._missing)

    def _freed(self, name: str, now: float) -> None:
        if not self._asked:
            self._begin(now)
        elif name in self._missing:
            # A participant's new life: what it was asked before is lost.
            self.ask([name])

    def _answered(self, name: str, answer: Answer | None, now: float) -> None:
        self._missing -= {name}
        if answer is not None:
            self._answers[name] = answer
        if not self._missing:
            self._close(now)

    def _expired(self, now: float) -> None:
        if not self._answers and self._missing == set(self.present()):
            # There is nobody else to go on with: all may be slow.
            self.due = now + self.policy.deadline
            return
        self.suspect(self._missing)
        if len(self._answers) >= math.ceil(self.policy.needed * self._asked):
            self._close(now)
        else:
            self.refused["round given up"] += len(self._answers)
            self._begin(now)

    def _close(self, now: float) -> None:
        answers = [self._answers[name] for name in sorted(self._answers)]
        shares = np.array([answer.rows if self.policy.by_rows else 1 for answer in answers], dtype=float)
        if shares.sum() > 0:
            weights = self.policy.step * shares / shares.sum()
            self.advance([answer.change for answer in answers], weights.tolist(), answers, self._began)
        self._begin(now)


class Bounded(Server):
    """Changes are added as they come, each over the number of workers; who is too far ahead of the slowest waits.

    With a bound of 0 it is `Rounds` with all workers, weighing alike.

    Notes
    -----
    Ho et al., *More effective distributed ML via a stale synchronous parallel parameter server*, NIPS 2013. There the changes are
    added whole; the mean keeps the learning rate of one worker right for many, and ``rate`` is what they are multiplied by.
    """

    def _begin(self, now: float) -> None:
        self._release(now)

    def _freed(self, name: str, now: float) -> None:
        peer = self.peers[name]
        others = [self.peers[other].clock for other in self.present() if other != name]
        peer.clock = max(peer.clock, min(others, default=peer.clock))
        self._release(now)

    def _answered(self, name: str, answer: Answer | None, now: float) -> None:
        self.peers[name].clock += 1
        if answer is not None:
            self.advance([answer.change], [self.policy.step / len(self.present())], [answer], self.peers[name].since)
        self._release(now)

    def _expired(self, now: float) -> None:
        late = [name for name, since in self._working().items() if since + self.policy.deadline <= now]
        if late == self.present():
            # There is nobody else to go on with: all may be slow.
            for name in late:
                self.peers[name].since = now
        else:
            self.suspect(late)
        self._release(now)

    def _release(self, now: float) -> None:
        bound = self.policy.bound or 0
        slowest = self._slowest()
        self.ask(name for name in self.present() if not self.peers[name].order and self.peers[name].clock - slowest <= bound)
        begun = [*self._working().values(), *([now] if self._pending else [])]
        self.due = min(begun) + self.policy.deadline if begun else None

    def _working(self) -> dict[str, float]:
        return {name: self.peers[name].since for name in self.present() if self.peers[name].order}


class Flowing(Server):
    """Nobody waits: whoever has answered gets the model in force, and goes on.

    `asynchronous` mixes in each answer, ``w + α (1 + τ)^-a (wᵢ - w)``. `fedbuff` gathers K changes, and adds their mean,
    ``w + η / K Σ (1 + τᵢ)^-a Δᵢ``.

    Notes
    -----
    Xie, Koyejo, Gupta, *Asynchronous federated optimization*, OPT 2020, algorithm 1; Nguyen et al., *Federated learning with
    buffered asynchronous aggregation*, AISTATS 2022, algorithm 1.
    """

    _since: float = 0.0

    def __init__(self, policy: Policy, state: State, expected: int, rng: np.random.Generator, version: int = 0) -> None:
        super().__init__(policy, state, expected, rng, version)
        self._gathered: list[tuple[Answer, float]] = []

    def _begin(self, now: float) -> None:
        self._since = now
        self.ask(self.present())

    def _freed(self, name: str, now: float) -> None:
        self.ask([name])

    def _answered(self, name: str, answer: Answer | None, now: float) -> None:
        if answer is not None:
            self._take(answer, self.peers[name].since, now)
        self.ask([name])

    def _expired(self, now: float) -> None:
        """Nobody is waited for."""

    def _take(self, answer: Answer, since: float, now: float) -> None:
        policy, staleness = self.policy, self.version - answer.base
        if policy.bound is not None and staleness > policy.bound:
            self.refused["stale"] += 1
            return
        weight = policy.step * fading(staleness, policy.fading)
        if policy.kind == "asynchronous":
            self.advance([change(self.state, answer.state)], [weight], [answer], since)
            return
        self._gathered.append((answer, weight))
        if len(self._gathered) >= policy.gathered:
            answers = [answer for answer, _ in self._gathered]
            changes: list[Mapping[str, NDArray[np.float64]]] = [answer.change for answer in answers]
            self.advance(changes, [weight / len(answers) for _, weight in self._gathered], answers, self._since)
            self._gathered.clear()
            self._since = now


_SERVERS: Final[Mapping[str, type[Server]]] = {
    **dict.fromkeys(ROUNDS, Rounds),
    "ssp": Bounded,
    "asynchronous": Flowing,
    "fedbuff": Flowing,
}


def serve(policy: Policy, state: State, expected: int, rng: np.random.Generator, version: int = 0) -> Server:
    """Make the server of a policy; parameters as `Server` has them."""
    return _SERVERS[policy.kind](policy, state, expected, rng, version)
