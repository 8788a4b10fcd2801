"""The buffers of several workers as one: rows of all of them are asked for ahead of need, and nobody is waited for in vain."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from estran.components.messages import Recall
from estran.learning.rehearsal import union
from estran.learning.rehearsal.buffer import Buffer, Memories
from estran.runtime.clock import Clock
from estran.runtime.waiting import Waiters

Send = Callable[[Recall, str], Awaitable[object]]

REST: Final = 10
"""A peer that let an answer be waited for in vain is not asked again for so many times the patience: a slow one costs a tenth."""


@dataclass(eq=False)
class _Peer:
    """What is known of another worker.

    Attributes
    ----------
    size, born
        As it said last.
    silent
        It owes an answer that was given up, and nothing was heard of it since.
    rests
        Until then it is not asked.
    told
        The size that it was told last.
    """

    name: str
    size: int = 0
    born: float = -1.0
    silent: bool = False
    rests: float = 0.0
    told: int = -1
    outbox: deque[Recall] = field(default_factory=deque)
    changed: Waiters = field(default_factory=Waiters)


@dataclass(eq=False)
class _Fetch:
    """Representatives of a step on their way: parts by whose they are, one for each draw; and who owes how many rows."""

    parts: dict[str, Sequence[Memories]] = field(default_factory=dict)
    owing: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Tally:
    """What happened since the tally was begun.

    Attributes
    ----------
    waited
        Seconds in which a step waited for rows.
    rows, remote
        Rows that were rehearsed, and how many of them were others'.
    """

    waited: float = 0.0
    rows: int = 0
    remote: int = 0


class Recalling:
    """Draws uniformly from the union of the own buffer and those of peers.

    How many rows are whose is drawn by the sizes that are known when they are asked for: the own one as it is, others' as they
    said last; everybody tells a new size at once, and with each message. A draw is thus exactly uniform while no buffer grows
    faster than its size travels, and in any case once all are full. Each draws its own rows uniformly.

    Parameters
    ----------
    name
        The own replica.
    peers
        Names of the others.
    buffer
        The own one.
    representatives, draws
        Rows of a draw, r, and how many draws a step needs.
    ahead
        When rows are there, or on their way, for no more steps than these besides the next one, more are asked for.
    together
        For how many steps one question asks; each is drawn for itself.
    patience
        Seconds for which a step waits for rows. It then goes on with those that are there; who owes some is left out until it is
        heard of again, and for `REST` times the patience at least.
    born
        When this life began.

    Attributes
    ----------
    missing
        Rows that were asked for and never came in time.

    Notes
    -----
    Bouvier, Nicolae, Chaugier, Costan, Foster, Antoniu, *Efficient data-parallel continual learning with asynchronous
    distributed rehearsal buffers*, CCGrid 2024.
    """

    def __init__(
        self,
        name: str,
        peers: Iterable[str],
        buffer: Buffer,
        representatives: int,
        draws: int,
        *,
        ahead: int,
        together: int,
        patience: float,
        born: float,
        clock: Clock,
        rng: np.random.Generator,
        send: Send,
    ) -> None:
        self.missing = 0
        self.tally = Tally()
        self._name, self._buffer, self._representatives, self._draws = name, buffer, representatives, draws
        self._ahead, self._together, self._patience, self._born = ahead, together, patience, born
        self._clock, self._rng, self._send = clock, rng, send
        self._peers = {peer: _Peer(peer) for peer in sorted(peers) if peer != name}
        self._fetches: deque[_Fetch] = deque()
        self._open: dict[int, list[_Fetch]] = {}
        self._number = 0
        self._arrived = Waiters()

    async def talk(self) -> None:
        """Send what is to be sent, until cancelled. Each peer has a task of its own: one that is full holds up nobody else."""
        async with asyncio.TaskGroup() as group:
            for peer in self._peers.values():
                group.create_task(self._talk_to(peer), name=f"talk to {peer.name}")

    def grown(self) -> None:
        """Tell everybody the size of the own buffer, if it is new to them."""
        for peer in self._peers.values():
            peer.changed.wake()

    def hear(self, said: Recall, origin: str) -> None:
        """Take in what a peer says; an answer to a question of this one too. The buffer must be at rest."""
        peer = self._peers.get(origin)
        if peer is None:
            return
        if said.born > peer.born:
            if peer.born >= 0:
                self._forgive(peer)  # what it owed, a former life of it did
            peer.born, peer.rests = said.born, 0.0
        peer.size, peer.silent = said.size, False
        if said.wanted:
            self._answer(peer, said)
        elif said.number and said.asker == self._born:
            self._fill(peer, said)

    async def take(self) -> Sequence[Memories]:
        """Representatives for the next step, one part for each draw; asks for more, and waits for at most the patience."""
        while len(self._fetches) <= self._ahead and self._ask():
            pass
        if not self._fetches:
            return [self._own(0) for _ in range(self._draws)]
        fetch = self._fetches.popleft()
        began = self._clock.now()
        await self._complete(fetch)
        self.tally.waited += self._clock.now() - began
        found = [Memories.joined([fetch.parts[name][draw] for name in sorted(fetch.parts)]) for draw in range(self._draws)]
        rows = sum(len(part) for part in found)
        self.tally.rows += rows
        self.tally.remote += rows - sum(len(part) for part in fetch.parts[self._name])
        return found

    def _ask(self) -> bool:
        """Ask for representatives; False if nobody has any."""
        now = self._clock.now()
        asked = [peer for peer in self._peers.values() if not peer.silent and now >= peer.rests]
        sizes = [len(self._buffer), *(peer.size for peer in asked)]
        if not sum(sizes):
            return False
        steps, draws = self._together, self._draws
        drawn = union.shares(sizes, self._representatives, self._rng, times=steps * draws)
        fetches = [_Fetch() for _ in range(steps)]
        _deal(fetches, self._name, [self._own(int(share)) for share in drawn[:, 0]])
        self._number += 1
        for peer, wanted in zip(asked, drawn[:, 1:].T.tolist(), strict=True):
            if any(wanted):
                for step, fetch in enumerate(fetches):
                    if owed := sum(wanted[step * draws : (step + 1) * draws]):
                        fetch.owing[peer.name] = owed
                self._post(peer, Recall(self._born, len(self._buffer), self._born, self._number, wanted=tuple(wanted)))
        self._fetches.extend(fetches)
        self._open[self._number] = fetches
        self._close(self._number)
        return True

    def _own(self, count: int) -> Memories:
        return self._buffer.memories(self._buffer.draw(count))

    async def _complete(self, fetch: _Fetch) -> None:
        """Return when all rows are there, or the patience is at its end."""
        try:
            async with asyncio.timeout(self._patience):
                while fetch.owing:
                    await self._arrived.wait()
        except TimeoutError:
            for name in list(fetch.owing):
                peer = self._peers[name]
                peer.silent, peer.rests = True, self._clock.now() + REST * self._patience
                self._forgive(peer)

    def _forgive(self, peer: _Peer) -> None:
        """Wait for nothing more of a peer: whoever is dead costs one wait, not one for each question that is open."""
        for number, fetches in list(self._open.items()):
            self.missing += sum(fetch.owing.pop(peer.name, 0) for fetch in fetches)
            self._close(number)
        self._arrived.wake()

    def _fill(self, peer: _Peer, said: Recall) -> None:
        fetches = self._open.get(said.number, [])
        if not any(peer.name in fetch.owing for fetch in fetches):
            return  # too late
        _deal(fetches, peer.name, _parts(said))
        self.missing += sum(fetch.owing.pop(peer.name, 0) for fetch in fetches) - len(said.y)
        self._close(said.number)
        self._arrived.wake()

    def _close(self, number: int) -> None:
        """Forget a question that nobody owes anything to."""
        if not any(fetch.owing for fetch in self._open[number]):
            del self._open[number]

    def _answer(self, peer: _Peer, said: Recall) -> None:
        slots = [self._buffer.draw(count) for count in said.wanted]
        rows = self._buffer.memories(np.concatenate(slots))
        given, size = tuple(len(part) for part in slots), len(self._buffer)
        self._post(peer, Recall(self._born, size, said.asker, said.number, given=given, x=rows.x, y=rows.y, scores=rows.scores))

    def _post(self, peer: _Peer, recall: Recall) -> None:
        peer.outbox.append(recall)
        peer.changed.wake()

    async def _talk_to(self, peer: _Peer) -> None:
        while True:
            while not peer.outbox and peer.told == len(self._buffer):
                await peer.changed.wait()
            recall = peer.outbox.popleft() if peer.outbox else Recall(self._born, len(self._buffer))
            peer.told = recall.size
            await self._send(recall, peer.name)


def _parts(said: Recall) -> list[Memories]:
    """The rows of each draw."""
    ends = np.cumsum(said.given).tolist()
    places = [slice(end - count, end) for end, count in zip(ends, said.given, strict=True)]
    return [Memories(said.x[place], said.y[place], said.scores[place]) for place in places]


def _deal(fetches: Sequence[_Fetch], owner: str, parts: Sequence[Memories]) -> None:
    """Give each step its draws, which come one step after another."""
    draws = len(parts) // len(fetches)
    for step, fetch in enumerate(fetches):
        fetch.parts[owner] = parts[step * draws : (step + 1) * draws]
