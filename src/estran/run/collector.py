"""What comes in from the hosts while a run goes on: rows into the store, states into the record, failures to the conductor."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from estran.errors import EstranError, PlatformError
from estran.observe.rows import COLUMNS
from estran.platforms.agent_host import GONE
from estran.platforms.base import Host
from estran.run.record import Progress, ReplicaError

FLUSH_PERIOD = 0.25


class Store(Protocol):
    """Where rows end up."""

    def add(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None: ...

    def flush(self) -> None: ...


class Live(Protocol):
    """Who keeps the newest figures."""

    def update(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None: ...


class Provenance(Protocol):
    """Who writes down what led to what."""

    def take(self, rows: Sequence[Sequence[Any]]) -> None: ...

    def flush(self) -> None: ...


class Collector:
    """Follows all hosts of a run.

    Rows that were written before the run began carry another origin of the clock; they are kept until the origin is known and
    then moved to it, so that their times are negative.
    """

    def __init__(
        self,
        replicas: Mapping[str, str],
        sources: Iterable[str],
        store: Store,
        live: Live,
        progress: Progress,
        provenance: Provenance,
    ) -> None:
        self.states = dict.fromkeys(replicas, "starting")
        self._starting = set(replicas)
        self.failure: asyncio.Future[EstranError] = asyncio.get_running_loop().create_future()
        self.all_ready = asyncio.Event()
        self.sources_ended = asyncio.Event()
        self._hosts = dict(replicas)
        self._sources = set(sources)
        self._store = store
        self._live = live
        self._progress = progress
        self._provenance = provenance
        self._early: list[tuple[str, Mapping[str, Any]]] = []
        self._origin_ns: int | None = None
        self.warnings: list[str] = []
        self._closing = False
        self._broken_hosts: set[str] = set()
        self._broken: set[str] = set()

    def expect(self, hosts: Collection[str], replicas: Collection[str]) -> None:
        """Hosts and replicas that are broken on purpose may go, until they are ready again; that is no failure of the run."""
        self._broken_hosts.update(hosts)
        self._broken.update(replicas)

    def begin(self, origin_ns: int) -> None:
        """The run's origin is known."""
        self._origin_ns = origin_ns
        early, self._early = self._early, []
        for host, frame in early:
            self._take(host, frame)
        for replica, state in self.states.items():
            if state == "ready":
                self._become(replica, "running")

    def closing(self) -> None:
        """From now on replicas may end, and agents go."""
        self._closing = True

    async def follow(self, host: Host) -> None:
        """Take in all that a host's agent says, until it has gone."""
        try:
            async for frame in host.events():
                try:
                    self._take(host.name, frame)
                except EstranError as error:
                    self.fail(error)
        except EstranError as error:  # why it has gone
            if not self._closing and host.name not in self._broken_hosts:
                self.fail(error)
        if not self._closing and host.name not in self._broken_hosts:
            self.fail(PlatformError(GONE, where=host.name, remedy="see the kernel's log for an out-of-memory kill"))

    async def flush_periodically(self) -> None:
        """Commit to the store until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_PERIOD)
            try:
                self._store.flush()
                self._provenance.flush()
            except EstranError as error:
                self.fail(error)

    def take(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take rows that no agent has sent; their times are of the run's clock."""
        self._store.add(table, rows)
        self._live.update(table, rows)

    def fail(self, error: EstranError) -> None:
        """Tell the conductor that the run has failed; the first failure counts."""
        if not self.failure.done():
            self.failure.set_result(error)

    def _take(self, host: str, frame: Mapping[str, Any]) -> None:
        try:
            self._heard(host, frame)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"its agent says what cannot be understood: {type(error).__name__}: {error}"
            self.fail(PlatformError(what, where=host, remedy="see whether something else than Estran runs there"))

    def _heard(self, host: str, frame: Mapping[str, Any]) -> None:
        say = frame["say"]
        if say == "rows":
            if self._origin_ns is None:
                self._early.append((host, frame))
            else:
                self._take_rows(frame["origin_ns"] - self._origin_ns, frame["table"], frame["rows"])
        elif say == "ready":
            self._broken.discard(frame["replica"])
            self._become(frame["replica"], "ready" if self._origin_ns is None else "running")
        elif say == "restarting":
            self._become(frame["replica"], "restarting")
            if frame["replica"] not in self._broken:
                self.warnings.append(f"{frame['replica']} on {host} was restarted: {frame['what']}")
        elif say == "ended":
            self._ended(host, frame)
        elif say == "task-failed":
            self.fail(PlatformError(f"{frame['task']} failed: {frame['what']}", where=host))

    def _take_rows(self, later_ns: int, table: str, rows: list[Any]) -> None:
        width = len(COLUMNS[table])
        if not all(len(row) == width for row in rows):
            raise ValueError(f"rows of {table} have {width} columns")
        if later_ns and table != "messages":
            rows = [(row[0] + later_ns * 1e-9, *row[1:]) for row in rows]
        self._store.add(table, rows)
        self._live.update(table, rows)
        if table == "events":
            self._provenance.take(rows)

    def _ended(self, host: str, frame: Mapping[str, Any]) -> None:
        replica = frame["replica"]
        if replica in self._broken and not self._closing:
            self._become(replica, "down")
            return
        self._become(replica, "failed" if frame["failed"] else "ended")
        if frame["failed"] and self._closing:
            self.warnings.append(f"{replica} on {host} {frame['what']}, when it was asked to end")
        elif self._closing and frame["status"] == -signal.SIGKILL:
            self.warnings.append(f"{replica} on {host} did not end when it was asked to, and was killed")
        elif frame["failed"]:
            self.fail(ReplicaError(frame["what"], host=host, replica=replica, remedy=frame["remedy"], tail=list(frame["tail"])))
        elif replica in self._sources:
            self._sources.discard(replica)
            if not self._sources:
                self.sources_ended.set()

    def _become(self, replica: str, state: str) -> None:
        self.states[replica] = state
        self._progress.service(replica, state)
        self._starting.discard(replica)
        if not self._starting:
            self.all_ready.set()
