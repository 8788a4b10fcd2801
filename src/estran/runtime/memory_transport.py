"""A network inside one process, as good or as bad as a test wants it, under the same delivery protocols as the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Literal, TypeAlias

import numpy as np

from estran.runtime.channels import Channels
from estran.runtime.clock import Clock
from estran.runtime.lane import Arrival, Datagram
from estran.runtime.transport import ChannelSpec, Receiver, Sender

Side: TypeAlias = Literal["producer", "consumer"]
_OTHER: Mapping[Side, Side] = {"producer": "consumer", "consumer": "producer"}

CONNECT_PERIOD = 0.01


class MemoryNetwork:
    """Where the transports of one process meet.

    Parameters
    ----------
    rng
        Decides who is lost, repeated and late; needed if anything is to be.
    delay, jitter
        Seconds each datagram takes, and at most how much more; with jitter datagrams overtake each other.
    loss, duplication
        Probabilities.
    rate
        Bytes per second of each direction of each channel; None is unlimited.
    """

    def __init__(
        self,
        rng: np.random.Generator | None = None,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
        rate: float | None = None,
    ) -> None:
        self.delay, self.jitter, self.loss, self.duplication, self.rate = delay, jitter, loss, duplication, rate
        self.connected = True
        self._rng = rng
        self._epochs = count(1)
        self._lanes: dict[tuple[str, Side], MemoryLane] = {}
        self._busy: dict[tuple[str, Side], float] = {}

    def transport(self, clock: Clock) -> MemoryTransport:
        """A new incarnation of some replica's transport; one that opens the same channels again has been restarted."""
        return MemoryTransport(self, clock, next(self._epochs))

    def cut(self) -> None:
        """Lose everything, what is under way included, until `restore`."""
        self.connected = False

    def restore(self) -> None:
        """Carry again what is put from now on."""
        self.connected = True

    def attach(self, lane: MemoryLane) -> None:
        """Make a lane reachable, in place of any former one at the same end."""
        self._lanes[lane.key, lane.side] = lane
        other = self._lanes.get((lane.key, _OTHER[lane.side]))
        if other is not None:
            asyncio.get_running_loop().call_soon(other.hint)

    def reachable(self, key: str) -> bool:
        """Whether the consumer's end of a channel is there."""
        return (key, "consumer") in self._lanes

    def detach(self, lane: MemoryLane) -> None:
        """Forget a lane, unless another has taken its place."""
        if self._lanes.get((lane.key, lane.side)) is lane:
            del self._lanes[lane.key, lane.side]

    def carry(self, lane: MemoryLane, datagram: Datagram) -> None:
        """Take a datagram to the other end, or not."""
        if not self.connected or self._happens(self.loss):
            return
        data = bytes(datagram)
        end = lane.key, _OTHER[lane.side]
        for _ in range(2 if self._happens(self.duplication) else 1):
            self._schedule(end, data)

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._rng is not None and self._rng.random() < probability

    def _schedule(self, end: tuple[str, Side], data: bytes) -> None:
        loop = asyncio.get_running_loop()
        wait = self.delay
        if self.jitter and self._rng is not None:
            wait += self._rng.random() * self.jitter
        if self.rate is not None:
            # A queue that empties at the link's rate.
            self._busy[end] = max(self._busy.get(end, 0.0), loop.time()) + len(data) / self.rate
            wait += self._busy[end] - loop.time()
        if wait > 0:
            loop.call_later(wait, self._arrive, end, data)
        else:
            loop.call_soon(self._arrive, end, data)

    def _arrive(self, end: tuple[str, Side], data: bytes) -> None:
        lane = self._lanes.get(end)
        if lane is not None and self.connected:
            lane.arrive(data)


class MemoryLane:
    """One end of a channel on a `MemoryNetwork`."""

    backlog = 0

    def __init__(self, network: MemoryNetwork, clock: Clock, key: str, side: Side) -> None:
        self.key = key
        self.side: Side = side
        self._network = network
        self._clock = clock
        self._arrived: Callable[[Sequence[Arrival]], None] | None = None
        self._room: Callable[[], None] | None = None

    def put(self, datagram: Datagram) -> None:
        """Give it to the network."""
        if self._arrived is not None:
            self._network.carry(self, datagram)

    def flying(self, size: int) -> None:
        """Nothing depends on it here."""

    def listen(self, arrived: Callable[[Sequence[Arrival]], None], room: Callable[[], None]) -> None:
        """Become reachable."""
        self._arrived, self._room = arrived, room
        self._network.attach(self)

    def arrive(self, data: bytes) -> None:
        """Pass one datagram up."""
        if self._arrived is not None:
            self._arrived([(data, self._clock.now())])

    def hint(self) -> None:
        """Say that the other end has appeared."""
        if self._room is not None:
            self._room()

    def close(self) -> None:
        """Become unreachable."""
        self._arrived = self._room = None
        self._network.detach(self)


class MemoryTransport:
    """A replica's transport on a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, clock: Clock, epoch: int) -> None:
        self._network = network
        self._clock = clock
        self._channels = Channels(clock, epoch)
        self._sent_on: set[str] = set()

    async def __aenter__(self) -> MemoryTransport:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Stop as a killed process does."""
        self._channels.close()

    async def sender(self, channel: ChannelSpec) -> Sender:
        """Open the producer's end."""
        self._sent_on.add(channel.key)
        return self._channels.sender(channel, MemoryLane(self._network, self._clock, channel.key, "producer"))

    async def receiver(self, channel: ChannelSpec) -> Receiver:
        """Open the consumer's end."""
        return self._channels.receiver(channel, MemoryLane(self._network, self._clock, channel.key, "consumer"))

    async def connected(self) -> None:
        """Wait for the consumers' ends, whether the network is cut or not."""
        while not all(self._network.reachable(key) for key in self._sent_on):
            await self._clock.sleep(CONNECT_PERIOD)

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters per channel."""
        return self._channels.stats()
