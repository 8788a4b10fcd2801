"""Replays what a command does from its model: serves and asks as the program would, on whatever clock, processor and network."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol, TypeVar

import numpy as np

from estran.errors import ServiceError
from estran.runtime.clock import Clock
from estran.runtime.rows import ExchangeRow
from estran.spec.costs import Call, CommandModel, Serving
from estran.spec.plan import Replica

IDLE_PERIOD: Final = 0.05
"""Seconds from one piece of idle processor time to the next."""
HANDSHAKE: Final = 0
"""Bytes of data in what opens a connection, each way."""
_SMALLEST: Final = 2.0**-53

T = TypeVar("T")


class Surroundings(Protocol):
    """What one replica sees of the world.

    Attributes
    ----------
    rng
        Its own; all of its luck comes from there.
    """

    @property
    def clock(self) -> Clock:
        """The run's clock."""
        ...

    @property
    def rng(self) -> np.random.Generator:
        """Where luck comes from."""
        ...

    async def compute(self, seconds: float) -> None:
        """Spend processor seconds of a core of speed 1.0, after what was asked for before."""
        ...

    def send(self, source: str, target: str, size: int, arrived: Callable[[], None]) -> None:
        """Send bytes from one host to another, and call back once the last one has arrived."""
        ...

    def record(self, row: ExchangeRow) -> None:
        """Keep a row."""
        ...


class Peers:
    """The replicas that answer, by service; one for a whole run."""

    def __init__(self) -> None:
        self._answering: defaultdict[str, list[_Desk]] = defaultdict(list)

    def join(self, desk: _Desk) -> None:
        """Answer from now on."""
        self._answering[desk.replica.service.name].append(desk)

    def of(self, service: str, caller: Replica) -> _Desk:
        """The replica that a caller turns to: the one on its own host, else one by index.

        Raises
        ------
        ServiceError
            If the service answers nobody.
        """
        found = sorted(self._answering[service], key=lambda desk: desk.replica.index)
        if not found:
            remedy = f"give {service} a model that says what it serves"
            raise ServiceError(f"asks {service}, which answers nothing", where=caller.name, remedy=remedy)
        near = [desk for desk in found if desk.replica.host == caller.host]
        return near[0] if near else found[caller.index % len(found)]


@dataclass(slots=True)
class _Exchange:
    """A request on its way, and what is known of it at the caller."""

    caller: Replica
    connection: str
    number: int
    opened: float | None
    size: int
    begun: float
    answered: asyncio.Future[int]
    """Bytes of the answer, once all have arrived."""


@dataclass(slots=True)
class _Desk:
    """Where requests to one replica arrive."""

    replica: Replica
    take: Callable[[_Exchange], None]


@dataclass(slots=True)
class _Line:
    """The connection that a caller keeps open for one of its calls, and how often it was used."""

    name: str = ""
    used: int = 0
    opened: float | None = None


async def replay(model: CommandModel, replica: Replica, peers: Peers, surroundings: Surroundings) -> None:
    """Be a command until cancelled.

    Requests are served side by side and queue at the processor only. Calls made while serving share its processor time evenly
    between them: so much before each, and the rest after the last; those that do not wait for each other are all waited for before
    the answer leaves. Every exchange is recorded at both sides, as observation records it, with each burst at one moment.

    Raises
    ------
    ServiceError
        If a service that it asks answers nothing.
    """
    async with asyncio.TaskGroup() as group:
        player = _Player(model, replica, peers, surroundings, group)
        if model.serves is not None:
            peers.join(_Desk(replica, player.take))
        await asyncio.sleep(0)  # until all who answer have joined
        for call in model.calls:
            group.create_task(player.loop(call) if call.waits else player.stream(call))
        if model.idle:
            group.create_task(player.idle())
        await asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class _Player:
    model: CommandModel
    replica: Replica
    peers: Peers
    world: Surroundings
    group: asyncio.TaskGroup
    _context: Context = field(default_factory=copy_context)
    """What arrives is handled as this replica's doing, whoever sent it."""
    _connections: count[int] = field(default_factory=count)
    _idle_lines: defaultdict[int, list[_Line]] = field(default_factory=lambda: defaultdict(list))

    def _luck(self) -> float:
        return float(self.world.rng.uniform(_SMALLEST, 1.0))

    def _size(self, mean: float, factor: float) -> int:
        return max(1, round(mean * factor))

    async def idle(self) -> None:
        """What the program uses whatever comes."""
        due = self.world.clock.now()
        while True:
            due += IDLE_PERIOD
            await self.world.clock.sleep(due - self.world.clock.now())
            await self.world.compute(self.model.idle * IDLE_PERIOD)

    async def loop(self, call: Call) -> None:
        """Ask, wait for the answer, pause."""
        await self.world.clock.sleep(call.pause.draw(1, self._luck()) * self._luck())
        while True:
            await self._ask(call)
            await self.world.clock.sleep(call.pause.draw(1, self._luck()))

    async def stream(self, call: Call) -> None:
        """Ask when it is time, whatever became of the last request."""
        clock = self.world.clock
        due = clock.now() + call.pause.draw(1, self._luck()) * self._luck()
        while True:
            await clock.sleep(due - clock.now())
            self.group.create_task(self._ask(call))
            due += call.pause.draw(1, self._luck())

    async def _ask(self, call: Call) -> None:
        """One exchange, from the processor time that it costs to its answer."""
        size = self._size(call.size.bytes, call.size.spread.factor(self._luck()))
        cost, fresh = call.cost.draw(1, self._luck()), self._luck() <= call.connects
        if cost:
            await self.world.compute(cost)
        desk = self.peers.of(call.to, self.replica)
        lines = self._idle_lines[id(call)]
        line = lines.pop() if lines else self._line(desk)
        if fresh:
            line = self._line(desk)
            line.opened = self.world.clock.now()
            await self._there_and_back(desk)
        exchange = _Exchange(
            self.replica, line.name, line.used, line.opened, size, self.world.clock.now(),
            asyncio.get_running_loop().create_future(),
        )  # fmt: skip
        line.used += 1
        self.world.send(self.replica.host, desk.replica.host, size, lambda: desk.take(exchange))
        try:
            await exchange.answered
        finally:
            self._record_asked(exchange, desk)
        lines.append(line)

    def _line(self, desk: _Desk) -> _Line:
        return _Line(f"{self.replica.name}#{next(self._connections)}>{desk.replica.name}")

    async def _there_and_back(self, desk: _Desk) -> None:
        """The round trip that opens a connection."""
        here, there = self.replica.host, desk.replica.host
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.world.send(
            here, there, HANDSHAKE, lambda: self.world.send(there, here, HANDSHAKE, lambda: _settle(done, None))
        )  # fmt: skip
        await done

    def take(self, exchange: _Exchange) -> None:
        """A request has arrived."""
        assert self.model.serves is not None
        self.group.create_task(self._serve(self.model.serves, exchange), context=self._context)

    async def _serve(self, serving: Serving, exchange: _Exchange) -> None:
        clock, arrived = self.world.clock, self.world.clock.now()
        cost, wait = serving.cost.draw(1, self._luck()), serving.wait.draw(1, self._luck())
        size = self._size(serving.answer.bytes, serving.answer.spread.factor(self._luck()))
        calls = [call for call in serving.calls for _ in range(int(call.count) + (self._luck() <= call.count % 1))]
        part = cost / (len(calls) + 1)
        async with asyncio.TaskGroup() as asking:
            for call in calls:
                await self.world.compute(part)
                if call.pause.mean():
                    await clock.sleep(call.pause.draw(1, self._luck()))
                if call.waits:
                    await self._ask(call)
                else:
                    asking.create_task(self._ask(call))
        await self.world.compute(part)
        if wait:
            await clock.sleep(wait)
        self._record_served(exchange, arrived, size)
        answered = exchange.answered
        self.world.send(self.replica.host, exchange.caller.host, size, lambda: _settle(answered, size))

    def _record_asked(self, exchange: _Exchange, desk: _Desk) -> None:
        answered = exchange.answered.done() and not exchange.answered.cancelled()
        size, now = (exchange.answered.result(), self.world.clock.now()) if answered else (0, None)
        self.world.record(ExchangeRow(
            exchange.begun, self.replica.host, self.replica.name, "client", desk.replica.host, _port(desk.replica),
            exchange.connection, exchange.number, exchange.opened, exchange.size, exchange.begun, exchange.begun, size, now, now,
        ))  # fmt: skip

    def _record_served(self, exchange: _Exchange, arrived: float, size: int) -> None:
        now = self.world.clock.now()
        self.world.record(ExchangeRow(
            arrived, self.replica.host, self.replica.name, "server", exchange.caller.host, _port(self.replica),
            exchange.connection, exchange.number, exchange.opened, exchange.size, arrived, arrived, size, now, now,
        ))  # fmt: skip


def _port(replica: Replica) -> int:
    """The port on which a service is known to answer, 0 if none is declared."""
    service = replica.service
    return service.ready.port or next(iter(service.ports), 0)


def _settle(future: asyncio.Future[T], value: T) -> None:
    """The caller may have gone meanwhile."""
    if not future.done():
        future.set_result(value)
