"""Observes one host's commands from outside, inside the host's agent: their processor time, and what crosses their sockets."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from estran.errors import EstranError
from estran.observe.counters import CgroupCounters, ProcessCounters, Source
from estran.observe.exchanges import Connection, Endpoint, Exchange, Reassembler
from estran.observe.owners import Owners
from estran.observe.packets import Capture
from estran.observe.sampler import Emit, Trace
from estran.runtime.clock import Clock
from estran.runtime.rows import EventRow, ExchangeRow, MetricRow

BATCH: Final = 0.05
"""Seconds for which packets are left to gather. What is new on a quiet host is looked at at once."""
BATCH_SHARED: Final = 0.004
"""The same where several replicas share a host: whose a connection is can be told only while it is there."""

_LOOPBACK_NETWORK: Final = 127


@dataclass(frozen=True, slots=True)
class ObserverSettings:
    """What to observe, as plain data.

    Attributes
    ----------
    replicas
        The command replicas of this host, each with the folders of its control groups (none: its processes are summed).
    addresses
        The hosts by address.
    listening
        TCP ports on which services are known to listen, by host.
    passed_over
        TCP ports that are none of the commands': those of streams.
    alone
        Whether nothing but the commands uses the network here; otherwise only what is certainly theirs is told.
    unobservable
        Why what crosses sockets cannot be seen here, if so.
    period
        Seconds between readings of processor time.
    """

    host: str
    replicas: Mapping[str, tuple[str, ...]]
    addresses: Mapping[str, str] = field(default_factory=dict)
    listening: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    passed_over: tuple[int, ...] = ()
    alone: bool = True
    unobservable: str | None = None
    period: float = 0.1


async def run(emit: Emit, clock: Clock, settings: Mapping[str, Any]) -> None:
    """`observe` with its settings as plain data: what an agent starts by name."""
    await observe(emit, clock, msgspec.convert(dict(settings), ObserverSettings))


async def observe(emit: Emit, clock: Clock, settings: ObserverSettings) -> None:
    """Observe a host's commands until cancelled.

    Where packets cannot be seen, an event ``unobserved`` says why, and processor time is recorded all the same.

    Parameters
    ----------
    emit
        Takes ``("exchanges", rows)``, ``("metrics", rows)`` of ``process_cpu`` per replica, and ``("events", rows)``.

    Raises
    ------
    EstranError
        If the processor time of a replica cannot be read.
    """
    owners = Owners(list(settings.replicas), alone=settings.alone)
    with ExitStack() as stack:
        meters = stack.enter_context(closing(_Meters(settings, owners)))
        stack.callback(lambda: emit("metrics", meters.last()))
        watcher = _watcher(emit, clock, settings, owners)
        if watcher is not None:
            stack.enter_context(closing(watcher))
        due = clock.now()
        while True:
            if clock.now() >= due:
                emit("metrics", meters.read(clock.now()))
                if watcher is not None:
                    watcher.expire()
                due += settings.period * max(1, 1 + int((clock.now() - due) / settings.period))
            if watcher is None:
                await clock.sleep(due - clock.now())
            else:
                await watcher.gather(due - clock.now())


class _Meters:
    """Processor time of each command replica."""

    def __init__(self, settings: ObserverSettings, owners: Owners) -> None:
        self._host = settings.host
        self._traces = {replica: Trace(settings.host, replica) for replica in settings.replicas}
        self._sources = {replica: _counters(replica, folders, owners) for replica, folders in settings.replicas.items()}

    def read(self, now: float) -> list[MetricRow]:
        """Rows of what has changed."""
        try:
            found = {replica: _seconds(source) for replica, source in self._sources.items()}
        except OSError as error:
            raise EstranError(f"cannot read the processor time of commands: {error.strerror}", where=self._host) from error
        return [row for replica, used in found.items() for row in self._traces[replica].rows(now, [("process_cpu", used)])]

    def last(self) -> list[MetricRow]:
        """The end of what has not changed."""
        return [row for trace in self._traces.values() for row in trace.last()]

    def close(self) -> None:
        """Close what is open."""
        for source in self._sources.values():
            source.close()


def _counters(replica: str, folders: Iterable[str], owners: Owners) -> Source:
    known = list(folders)
    return CgroupCounters(known) if known else ProcessCounters(find=partial(owners.processes, replica))


def _seconds(source: Source) -> float:
    return next(value for metric, value in source.read() if metric == "cpu_seconds")


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _watcher(emit: Emit, clock: Clock, settings: ObserverSettings, owners: Owners) -> _Watcher | None:
    """What looks at packets, or None where they cannot be seen."""
    why = settings.unobservable
    if why is None:
        try:
            return _Watcher(emit, clock, settings, owners, Capture(settings.passed_over))
        except OSError as error:
            why = f"{settings.host}: the kernel lets no packets be seen ({error.strerror})"
    emit("events", [EventRow(clock.now(), settings.host, "", "unobserved", why)])
    return None


class _Watcher:
    """Reads packets in batches and turns exchanges into rows of this host's sides."""

    def __init__(self, emit: Emit, clock: Clock, settings: ObserverSettings, owners: Owners, capture: Capture) -> None:
        self._emit = emit
        self._clock = clock
        self._settings = settings
        self._owners = owners
        self._capture = capture
        self._hosts = {int(ipaddress.IPv4Address(address)): host for address, host in settings.addresses.items()}
        known = {(address, port) for address, host in self._hosts.items() for port in settings.listening.get(host, ())}
        self._reassembler = Reassembler(known.__contains__)
        self._clients: dict[Endpoint, str] = {}
        self._servers: dict[int, str] = {}
        self._packets = 0
        self._batch = BATCH if owners.only is not None else BATCH_SHARED

    async def gather(self, longest: float) -> None:
        """Wait for packets, though not for long; take those that are there, and let some time pass."""
        if self._capture.pending or await self._readable(longest):
            self._take()
            await self._clock.sleep(self._batch)

    def expire(self) -> None:
        """Tell what silence has ended."""
        self._tell(self._reassembler.expire(self._clock.now()))

    def close(self) -> None:
        """Tell what is under way, as far as it came."""
        self._take()
        self._tell(self._reassembler.finish())
        self._capture.close()
        detail = msgspec.json.encode({"packets": self._packets, "lost": self._capture.lost}).decode()
        self._emit("events", [EventRow(self._clock.now(), self._settings.host, "", "observed", detail)])

    async def _readable(self, longest: float) -> bool:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._capture, _settle, waiting)
        try:
            return bool((await asyncio.wait([waiting], timeout=max(longest, 0.0)))[0])
        finally:
            loop.remove_reader(self._capture)

    def _take(self) -> None:
        packets = self._capture.read(self._clock.now())
        self._packets += len(packets)
        ended, opened = self._reassembler.take(packets)
        self._recognise(opened)
        self._tell(ended)

    def _recognise(self, opened: Iterable[Connection]) -> None:
        """Look up whose the new connections are, while they are there."""
        clients = {each.client[1]: each.client for each in opened if self._here(each.client)}
        owners = self._owners.of_ports(clients.keys(), listening=False)
        self._clients.update((endpoint, owners.get(port, "")) for port, endpoint in clients.items())
        unknown = {each.server[1] for each in opened if self._here(each.server)} - self._servers.keys()
        self._servers.update(self._owners.of_ports(unknown, listening=True))

    def _tell(self, exchanges: Iterable[Exchange]) -> None:
        rows = [row for exchange in exchanges for row in self._rows(exchange) if row.replica or self._settings.alone]
        if rows:
            self._emit("exchanges", rows)

    def _rows(self, exchange: Exchange) -> Iterable[ExchangeRow]:
        client, server = exchange.client, exchange.server
        if self._here(client):
            yield self._row(exchange, self._clients.get(client, ""), "client", server)
        if self._here(server):
            yield self._row(exchange, self._servers.get(server[1], ""), "server", client)

    def _row(self, exchange: Exchange, replica: str, side: str, peer: Endpoint) -> ExchangeRow:
        begun = exchange.answer_first if exchange.request_first is None else exchange.request_first
        assert begun is not None  # an exchange has bytes
        name = f"{self._name(exchange.client)}:{exchange.client[1]}>{self._name(exchange.server)}:{exchange.server[1]}"
        return ExchangeRow(
            begun, self._settings.host, replica, side, self._name(peer), exchange.server[1],
            f"{name}#{exchange.connection}" if exchange.connection else name, *exchange[3:],
        )  # fmt: skip

    def _here(self, endpoint: Endpoint) -> bool:
        return self._name(endpoint) == self._settings.host

    def _name(self, endpoint: Endpoint) -> str:
        address = endpoint[0]
        if address >> 24 == _LOOPBACK_NETWORK:
            return self._settings.host
        return self._hosts.get(address) or str(ipaddress.IPv4Address(address))
