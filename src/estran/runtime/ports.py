"""A component's ends of its streams: typed inputs and outputs over any transport."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from estran.errors import ServiceError
from estran.runtime.clock import Clock
from estran.runtime.message import Message, Story
from estran.runtime.recorder import Recorder
from estran.runtime.rows import MessageRow
from estran.runtime.transport import Delivered, Receiver, Sender
from estran.runtime.waiting import Waiters
from estran.runtime.wire import decode, encode

P = TypeVar("P")


class Toll(Protocol):
    """What taking up messages costs, where time is simulated."""

    def charge(self, messages: int) -> None:
        """Charge for so many."""
        ...

    def owed(self) -> bool:
        """Whether the time that it takes has not passed yet."""
        ...

    async def paid(self) -> None:
        """Return once it has."""
        ...


@dataclass(slots=True)
class Batch(Generic[P]):
    """Messages that were waiting together, oldest first."""

    messages: list[Message[P]]

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def payloads(self) -> list[P]:
        return [message.payload for message in self.messages]


@dataclass(slots=True)
class _Waiting:
    """A frame that has arrived and is not yet taken."""

    source: _Source
    frame: Delivered


@dataclass(slots=True)
class _Source:
    """One channel into an input. ``conflate``: only its newest frame is of interest; ``blocks``: a full one holds back."""

    stream: str
    origin: str
    receiver: Receiver
    conflate: bool
    blocks: bool
    slot: _Waiting | None = field(default=None)


class Input(Generic[P]):
    """Where messages of type ``P`` arrive, from all producers, in order per producer.

    A message is *started* when the component takes it and *done* when it asks for the next one (or leaves the loop body of a
    batch); only then is it acknowledged to its producer and recorded.
    """

    def __init__(
        self, name: str, payload: type[P], clock: Clock, recorder: Recorder, replica: str, toll: Toll | None = None
    ) -> None:
        self.name = name
        self.connected = False
        self._toll = toll
        self._payload = payload
        self._clock = clock
        self._recorder = recorder
        self._replica = replica
        self._sources: list[_Source] = []
        self._waiting: deque[_Waiting] = deque()
        self._arrived = Waiters()
        self._owners: dict[int, _Source] = {}

    def attach(self, stream: str, origin: str, receiver: Receiver, *, conflate: bool, blocks: bool = True) -> None:
        """Connect one more producer's channel; `pump` must run for its messages to arrive."""
        self._sources.append(_Source(stream, origin, receiver, conflate, blocks))
        self.connected = True

    def limit(self, limited: bool) -> None:
        """Whether producers are held back by ``capacity`` messages that wait here, as at first, or by their bytes alone.

        Who cannot go on before something comes by another input lifts the limit: what holds the producers back may be what that
        something is made of. Where a full stream drops messages it still does.
        """
        for source in self._sources:
            if source.blocks:
                source.receiver.limit(limited)

    async def pump(self) -> None:
        """Move frames from the channels to this input until cancelled."""
        for source in self._sources:
            source.receiver.notify(partial(self._drain, source))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for source in self._sources:
                source.receiver.notify(None)

    def _drain(self, source: _Source) -> None:
        while (frame := source.receiver.receive_nowait()) is not None:
            self._accept(source, frame)
        self._arrived.wake()

    def _accept(self, source: _Source, frame: Delivered) -> None:
        if source.conflate and source.slot is not None:
            source.receiver.done(source.slot.frame.seq)
            source.slot.frame = frame
            return
        waiting = _Waiting(source, frame)
        source.slot = waiting if source.conflate else None
        self._waiting.append(waiting)

    async def receive(self) -> Message[P]:
        """Take the next message, waiting for one; hand it back with `done` when processed."""
        while not self._waiting:
            await self._arrived.wait()
        message = self._take(self._clock.now())
        if self._toll is not None:
            self._toll.charge(1)
        return message

    @property
    def waiting(self) -> int:
        """How many messages have arrived and are not yet taken."""
        return len(self._waiting)

    def take_waiting(self) -> list[Message[P]]:
        """All messages that have arrived, oldest first; each is to be handed back with `done`."""
        return self._take_some(len(self._waiting), self._take)

    def take_newest(self, count: int) -> list[Message[P]]:
        """So many of the newest messages that have arrived, oldest first; each is to be handed back with `done`."""
        return self._take_some(count, self._take_last)[::-1]

    def newest(self) -> Message[P] | None:
        """The newest message that has arrived, marked done at once, or None. Older ones are passed over and marked done."""
        found: Message[P] | None = None
        while self._waiting:
            found = self._take(self._clock.now())
            self.done(found)
        return found

    def done(self, message: Message[P]) -> None:
        """Say that a received message has been processed, now."""
        source = self._owners.pop(id(message), None)
        if source is None:
            return
        story = message.story
        source.receiver.done(story.seq)
        version = story.version if message.version is None else message.version
        self._recorder.message(
            MessageRow(
                story.trace, story.stream, story.origin, story.seq, self._replica, story.created, story.sent, story.received,
                message.started, self._clock.now(), story.bytes, version, message.truth, message.answer,
            )
        )  # fmt: skip

    async def __aiter__(self) -> AsyncIterator[Message[P]]:
        while True:
            message = await self.receive()
            yield message
            if self._toll is not None and self._toll.owed():
                await self._toll.paid()
            self.done(message)

    async def batches(self, max_size: int = 32, max_delay: float = 0.0) -> AsyncIterator[Batch[P]]:
        """Yield what is waiting, up to ``max_size`` messages, as soon as there is one.

        Parameters
        ----------
        max_size
            Messages per batch at the most.
        max_delay
            Seconds to linger for a fuller batch after its first message; 0 drains without waiting.
        """
        while True:
            while not self._waiting:
                await self._arrived.wait()
            if max_delay > 0:
                await self._linger(max_size, max_delay)
            now = self._clock.now()
            batch = Batch([self._take(now) for _ in range(min(max_size, len(self._waiting)))])
            if self._toll is not None:
                self._toll.charge(len(batch))
            yield batch
            if self._toll is not None and self._toll.owed():
                await self._toll.paid()
            for message in batch.messages:
                self.done(message)

    async def _linger(self, max_size: int, max_delay: float) -> None:
        deadline = self._clock.now() + max_delay
        while len(self._waiting) < max_size and (left := deadline - self._clock.now()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take_some(self, count: int, take: Callable[[float], Message[P]]) -> list[Message[P]]:
        now = self._clock.now()
        taken = [take(now) for _ in range(min(count, len(self._waiting)))]
        if self._toll is not None and taken:
            self._toll.charge(len(taken))
        return taken

    def _take(self, now: float) -> Message[P]:
        return self._opened(self._waiting.popleft(), now)

    def _take_last(self, now: float) -> Message[P]:
        return self._opened(self._waiting.pop(), now)

    def _opened(self, waiting: _Waiting, now: float) -> Message[P]:
        source, frame = waiting.source, waiting.frame
        source.slot = None
        payload, story = decode(frame.data, self._payload)
        story.stream, story.origin, story.seq = source.stream, source.origin, frame.seq
        story.received, story.bytes = frame.received, len(frame.data)
        message = Message(payload, story, started=now)
        self._owners[id(message)] = source
        return message


class Output(Generic[P]):
    """Where a component sends messages of type ``P``.

    Examples
    --------
    ``await self.models.send(model, version=3)`` starts a new trace; ``await self.predictions.send(p, parent=message.story)``
    continues the trace of what it answers.
    """

    def __init__(self, name: str, payload: type[P], clock: Clock, replica: str, toll: Toll | None = None) -> None:
        self.name = name
        self._toll = toll
        self._payload = payload
        self._clock = clock
        self._replica = replica
        self._groups: list[tuple[Sequence[Sender], bool]] = []
        self._channels: list[tuple[str, Sender]] = []
        self._count = 0

    @property
    def connected(self) -> bool:
        """Whether any stream leaves from here."""
        return bool(self._groups)

    @property
    def senders(self) -> tuple[Sender, ...]:
        """The ends of all channels from here."""
        return tuple(sender for senders, _ in self._groups for sender in senders)

    @property
    def peers(self) -> tuple[str, ...]:
        """Replicas that a stream leads to from here, by name."""
        return tuple(sorted({peer for peer, _ in self._channels}))

    def attach(self, senders: Sequence[Sender], *, rotate: bool, peers: Sequence[str] = ()) -> None:
        """Connect the channels to one consumer service: every one gets each message, or they take turns.

        Parameters
        ----------
        peers
            The replica at the end of each channel; only those that are named can be sent to by name.
        """
        self._groups.append((senders, rotate))
        self._channels.extend(zip(peers, senders, strict=True) if peers else ())

    async def send(
        self, payload: P, *, version: int | None = None, parent: Story | None = None, to: Collection[str] | None = None
    ) -> Story:
        """Send to every connected consumer; waits while an acknowledged one is full.

        Parameters
        ----------
        version
            Version of the model that the payload is, or was made with.
        parent
            The story of the message that this one answers; None starts a new trace here and now.
        to
            Names of the replicas that it is for; everybody's, by turns where a stream rotates, if not given.

        Raises
        ------
        ServiceError
            If the payload is not of the type that the output declares, or no stream leads to one that it is for.
        """
        if is_dataclass(self._payload) and not isinstance(payload, self._payload):
            raise ServiceError(
                f"output {self.name} carries {self._payload.__name__}, not {type(payload).__name__}", where=self._replica
            )
        if self._toll is not None and self._toll.owed():
            await self._toll.paid()
        now = self._clock.now()
        # A component whose clock goes ahead may say that what it sends is yet to come.
        trace, created = (parent.trace, min(parent.created, now)) if parent else (f"{self._replica}:{self.name}:{self._count}", now)
        story = Story(trace=trace, created=created, sent=now, version=version)
        if self._groups:
            frame = encode(payload, story)
            if to is not None:
                for sender in self._addressed(to):
                    await sender.send(frame)
            for senders, rotate in self._groups if to is None else ():
                chosen = (senders[self._count % len(senders)],) if rotate else senders
                for sender in chosen:
                    await sender.send(frame)
        self._count += 1
        return story

    def _addressed(self, names: Collection[str]) -> list[Sender]:
        for name in names:
            if name not in self.peers:
                remedy = "give the stream `routing: all` (which `delivery: latest` has by default)"
                raise ServiceError(f"no stream leads from output {self.name} to {name}", where=self._replica, remedy=remedy)
        return [sender for peer, sender in self._channels if peer in names]

    async def renewed(self) -> AsyncIterator[str]:
        """Yield the name of each replica that a stream leads to from here, whenever it has begun anew without what was sent before.

        By `latest` it has the newest message, and nothing else; what an acknowledged stream carried is not repeated if a former
        life has processed it.
        """
        begun: asyncio.Queue[str] = asyncio.Queue()
        for peer, sender in self._channels:
            sender.on_renewal(partial(begun.put_nowait, peer))
        while True:
            yield await begun.get()

    async def drain(self) -> None:
        """Return when everything sent has been processed (or, by ``latest``, received)."""
        async with asyncio.TaskGroup() as group:
            for senders, _ in self._groups:
                for sender in senders:
                    group.create_task(sender.drain())
