"""One simulated host: implements `estran.platforms.base.Host` for the replicas that live on it."""

from __future__ import annotations

import asyncio
import importlib
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import Context
from pathlib import Path
from typing import Any, Protocol

from estran.errors import RequestError, ServiceError
from estran.platforms.base import Completed
from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.network import Traffic
from estran.platforms.simulated.processor import Processor
from estran.platforms.simulated.stability import Gauges
from estran.runtime.disturbances import Disturbances
from estran.runtime.launch import Launch
from estran.runtime.recorder import Recorder
from estran.runtime.rows import EventRow
from estran.runtime.supervised import BACKOFF


class Life(Protocol):
    """A replica, of whatever kind."""

    recorder: Recorder

    def start(self, group: asyncio.TaskGroup) -> None:
        """Get ready."""
        ...

    def go(self, origin_ns: int) -> None:
        """Begin at the run's origin."""
        ...

    async def stop(self) -> None:
        """End."""
        ...

    def kill(self) -> bool:
        """End at once; False if it had ended already."""
        ...

    def tell(self, frame: Mapping[str, Any]) -> None:
        """Say something to it."""
        ...


class Maker(Protocol):
    """Makes the replicas of a run."""

    def __call__(self, launch: Launch, host: SimulatedHost) -> Life: ...


class SimulatedHost:
    """A device of the model.

    Parameters
    ----------
    replicas, processors
        Names of its replicas, in the order of the plan, and what they compute with.
    sever
        Told which replica begins anew, so that nothing of its former life is left.
    idle_cpu
        Processor seconds per second that its services use whatever comes.
    gauges
        Watch whether its replicas keep up.
    flush_period
        Seconds of virtual time from one hand-over of rows to the next.
    """

    def __init__(
        self,
        name: str,
        make: Maker,
        sever: Callable[[str], None],
        replicas: Sequence[str],
        processors: Sequence[Processor],
        idle_cpu: float,
        traffic: Traffic,
        gauges: Gauges,
        flush_period: float,
    ) -> None:
        self.name = name
        self._make = make
        self._sever = sever
        self._processors = processors
        self._idle_cpu = idle_cpu
        self._traffic = traffic
        self._gauges = gauges
        self._flush_period = flush_period
        self._clock = VirtualClock(asyncio.get_running_loop(), 0)
        self._names = list(replicas)
        self._lives: dict[str, Life] = {}
        self._launches: dict[str, Launch] = {}
        self._restarts: Counter[str] = Counter()
        self._down: set[str] = set()
        self._ready: set[str] = set()
        self._disturbances: defaultdict[str, Disturbances] = defaultdict(Disturbances)
        self._stopped: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._news: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        self._closing = asyncio.Event()
        self._group: asyncio.TaskGroup

    def say(self, frame: Mapping[str, Any]) -> None:
        """Tell the conductor; a replica that has ended is started again if its policy says so."""
        if frame["say"] == "ready":
            self._ready.add(frame["replica"])
            for told in self._disturbances[frame["replica"]].frames():
                asyncio.get_running_loop().call_soon(self._lives[frame["replica"]].tell, told, context=Context())
        elif frame["say"] == "ended":
            self._ready.discard(frame["replica"])
        self._news.put_nowait(self._again(frame) if frame["say"] == "ended" else frame)

    def _again(self, frame: Mapping[str, Any]) -> Mapping[str, Any]:
        name, status = frame["replica"], frame["status"]
        launch = self._launches[name]
        again = launch.restart == "always" or (launch.restart == "on-failure" and status != 0)
        if not again or self._restarts[name] >= launch.max_restarts or name in self._down | self._stopped:
            return {**frame, "restarts": self._restarts[name]}
        self._restarts[name] += 1
        attempt = self._restarts[name]
        pause = BACKOFF * 2 ** min(attempt - 1, 5)
        asyncio.get_running_loop().call_later(pause, self._start_again, name, context=Context())
        told = f"attempt {attempt} of {launch.max_restarts} after exit status {status}"
        self.emit("events", [EventRow(self._clock.now(), self.name, name, "restarted", told)])
        return {"say": "restarting", "replica": name, "status": status, "attempt": attempt, "what": frame["what"]}

    def kill(self, replica: str, *, down: bool) -> bool:
        """End a replica at once; it is started again by its policy, unless it is to stay ``down``. False if it did not run."""
        if down:
            self._down.add(replica)
        life = self._lives[replica]
        return life.kill()

    def raise_again(self, replica: str) -> None:
        """Start a replica that was kept down."""
        self._down.discard(replica)
        self._start_again(replica)

    async def end(self, replica: str) -> None:
        """End a replica in order, as `stop` does, but not for good."""
        await self._lives[replica].stop()

    def keep_down(self, replica: str) -> None:
        """Do not start a replica again when it ends."""
        self._down.add(replica)

    def _start_again(self, name: str) -> None:
        if name in self._down | self._stopped or self._closing.is_set():
            return
        self._sever(name)
        life = self._lives[name] = self._make(self._launches[name], self)
        life.start(self._group)
        life.go(self._clock.origin_ns)

    def emit(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Hand rows to the conductor."""
        if table == "messages":
            self._gauges.take(rows)
        self.say({"say": "rows", "origin_ns": self._clock.origin_ns, "table": table, "rows": rows})

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            flushing = self._group.create_task(self._flush_periodically())
            await self._closing.wait()
            for task in (flushing, *self._tasks):
                task.cancel()
        self._flush()
        self._news.put_nowait(None)

    async def start(self, launch: Mapping[str, Any]) -> None:
        read = Launch.read(launch)
        if read.replica in self._lives:
            raise ServiceError(f"{read.replica} is already running", where=self.name)
        self._launches[read.replica] = read
        life = self._lives[read.replica] = self._make(read, self)
        self._lives = dict(sorted(self._lives.items(), key=lambda named: self._names.index(named[0])))  # whoever came first
        life.start(self._group)

    async def go(self, origin_ns: int) -> None:
        self._flush()
        self._clock.origin_ns = origin_ns
        for life in self._lives.values():
            life.go(origin_ns)

    async def stop(self, replica: str, *, grace: float = 2.0) -> None:
        if replica not in self._lives:
            raise RequestError(f"no replica {replica!r} was started here", where=self.name)
        self._stopped.add(replica)
        await self._lives[replica].stop()

    async def tell(self, replica: str, frame: Mapping[str, Any]) -> None:
        self._disturbances[replica].note(frame)
        if replica in self._ready:
            self._lives[replica].tell(frame)

    async def task(self, path: str, settings: Mapping[str, Any]) -> None:
        """Run ``module:function(emit, clock, settings, read)``; ``read`` gives this host's counters."""
        module, _, name = path.partition(":")
        function = getattr(importlib.import_module(module), name)
        self._tasks.append(self._group.create_task(function(self.emit, self._clock, settings, self.read), name=path))

    def read(self) -> Iterator[tuple[str, float]]:
        """The host's counters, now."""
        yield "cpu_seconds", sum(processor.used for processor in self._processors) + self._idle_cpu * max(self._clock.now(), 0.0)
        yield "rx_bytes", float(self._traffic.received)
        yield "tx_bytes", float(self._traffic.sent)

    async def run(self, argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        raise RequestError("a simulated host runs no programs", where=self.name)

    async def put(self, local: Path, remote: str) -> None:
        Path(remote).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, remote)

    async def get(self, remote: str, local: Path) -> None:
        local.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(remote, local)

    async def events(self) -> AsyncIterator[Mapping[str, Any]]:
        while (frame := await self._news.get()) is not None:
            yield frame

    async def close(self) -> None:
        self._closing.set()

    async def _flush_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._flush_period)
            self._flush()

    def _flush(self) -> None:
        now = self._clock.now()
        for name, life in self._lives.items():
            life.recorder.flush()
            self._gauges.look(name, now)
