"""One replica under supervision: started, read, restarted by its policy; its every death is noticed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from estran.errors import TransportError
from estran.runtime.clock import RealClock
from estran.runtime.control import Link
from estran.runtime.disturbances import Disturbances
from estran.runtime.launch import Launch
from estran.runtime.process import NOT_STARTED, Child, Enclosure, fork
from estran.runtime.recorder import Recorder
from estran.runtime.tree import signal_tree
from estran.runtime.yielding import Place
from estran.units import show

BACKOFF = 0.2
TAIL_LINES = 20
POLL_PERIOD = 0.02
READ_TIMEOUT = 1.0
"""Seconds that are spent on reading what an ended process has printed; a child of it may hold its output open for ever."""
END_TIMEOUT = READ_TIMEOUT + 1.0
MEMORY_PERIOD = 0.25
OUTPUT_BUDGET = 256 * 1024
"""Bytes that a replica may print between two flushes; one that prints faster waits, as it would for a slow terminal."""
LINE_COST = 128
"""Bytes that recording a line costs beside its text."""


class Supervised:
    """One replica under supervision, over all its incarnations.

    It is *starting*, then *ready*, then *ended* (for good); a restart leads back to starting.
    """

    def __init__(
        self,
        launch: Launch,
        enclosure: Enclosure | None,
        say: Callable[[Mapping[str, Any]], None],
        clock: RealClock,
        place: Place | None = None,
    ) -> None:
        self.launch = launch
        self._enclosure = enclosure
        self._place = place
        self._say = say
        self._clock = clock
        self._recorder = Recorder(self._emit, clock, host=launch.host, replica=launch.replica)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._printed = 0
        self._stopping = False
        self._crashed = False
        self._up = asyncio.Event()
        self._up.set()
        self.frozen = False
        self._origin_ns: int | None = None
        self._child: Child | None = None
        self._link: Link | None = None
        self._failure: dict[str, Any] | None = None
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._disturbances = Disturbances()

    @property
    def pid(self) -> int | None:
        """Of the running process, None when there is none."""
        return self._child.pid if self._child else None

    async def run(self) -> None:
        """Run the replica, and again as its policy says, until it has ended for good."""
        restarts = 0
        while True:
            status = await self._incarnation()
            if self._crashed:
                self._ended(status, restarts)
                self._over.clear()
                await self._up.wait()
                self._crashed = False
                if self._stopping:
                    self._over.set()
                    return
                continue  # what its restart policy counts is its own failures only
            policy = self.launch.restart
            again = not self._stopping and (policy == "always" or (policy == "on-failure" and status != 0))
            if not again or restarts >= self.launch.max_restarts:
                self._ended(status, restarts)
                return
            restarts += 1
            self._event("restarted", f"attempt {restarts} of {self.launch.max_restarts} after exit status {status}")
            what = self._cause(status)
            self._say({"say": "restarting", "replica": self.launch.replica, "status": status, "attempt": restarts, "what": what})
            await asyncio.sleep(BACKOFF * 2 ** min(restarts - 1, 5))
            await self._up.wait()
            if self._stopping:
                self._ended(status, restarts)
                return

    def kill(self, fault: str) -> None:
        """Kill all its processes, as a fault asks; its restart policy says what follows."""
        if self._child is not None:
            self._failure = {"what": f"was killed by the fault {fault}", "remedy": None}
            signal_tree(self._child.pid, signal.SIGKILL)

    def crash(self, fault: str) -> None:
        """Kill all its processes, as a fault of its host asks, and start none until it is revived."""
        self._up.clear()
        if self._child is not None:
            self._crashed = True
            self.kill(fault)

    async def gone(self) -> None:
        """Return when it has no process."""
        while self._child is not None:
            await asyncio.sleep(POLL_PERIOD)

    def revive(self) -> None:
        """Start it again, after a crash; one that had ended before stays so."""
        self._up.set()

    def freeze(self, on: bool) -> None:
        """Stop all its processes, or let them go on; those of a later incarnation run."""
        self.frozen = on
        if self._enclosure is not None:
            self._enclosure.freeze(on)
        elif self._child is not None:
            signal_tree(self._child.pid, signal.SIGSTOP if on else signal.SIGCONT)

    def go(self, origin_ns: int) -> None:
        """Let a component that waits for the start begin; later incarnations begin at once."""
        self._origin_ns = origin_ns
        if self._link is not None:
            self._link.write({"say": "go", "origin_ns": origin_ns})

    def tell(self, frame: Mapping[str, Any]) -> None:
        """Say something to the running component, if there is one; of a fault each life that begins before its end is told, too."""
        self._disturbances.note(frame)
        if self._link is not None and self._ready.is_set():
            self._link.write(frame)

    def flush(self) -> None:
        """Hand on the lines that it has printed."""
        self._printed = 0
        self._recorder.flush()

    async def stop(self, grace: float) -> None:
        """Ask the replica to end; kill what has not ended after ``grace`` seconds."""
        self._stopping = True
        self._up.set()
        child = self._child
        if child is None:
            return
        if self._link is not None:
            self._link.write({"say": "stop"})
        else:
            child.signal(signal.SIGTERM)
        deadline = asyncio.get_running_loop().time() + grace
        while self._child is child and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_PERIOD)
        if self._child is child:
            child.signal(signal.SIGKILL)
        with suppress(TimeoutError):  # so that its end has been told before the agent's connection goes
            async with asyncio.timeout(END_TIMEOUT):
                await self._over.wait()

    async def _incarnation(self) -> int:
        if self.frozen:
            self.freeze(False)
        self._failure = None
        self._ready.clear()
        killed_before = self._oom_kills()
        child = self._child = fork(self.launch, self._enclosure, self._place)
        self._event("started", f"pid {child.pid}")
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(self._read_output(channel, fd)) for channel, fd in child.output.items()]
            watchers = [
                group.create_task(self._watch_ready(child)),
                group.create_task(self._watch_memory(child, killed_before)),
            ]
            if child.control is not None:
                readers.append(group.create_task(self._read_control(child.control)))
            status = await child.wait()
            if self._place is not None:
                self._place.leave()
            child.signal(signal.SIGKILL)
            self._child = None
            for watcher in watchers:
                watcher.cancel()
            if self._oom_kills() > killed_before:
                self._failure = self._exceeded()
            _, unread = await asyncio.wait(readers, timeout=READ_TIMEOUT)
            for reader in unread:
                reader.cancel()
        self._link = None
        child.close()
        return status

    async def _read_output(self, channel: str, fd: int) -> None:
        reader = asyncio.StreamReader(limit=2**20)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(fd, "rb"))
        wanted = re.compile(self.launch.ready.output) if self.launch.ready.output else None
        try:
            while line := await _line(reader):
                text = line.decode(errors="replace").rstrip("\n")
                self._tail.append(text)
                self._recorder.line(channel, text)
                if wanted and wanted.search(text):
                    self._become_ready()
                self._printed += len(line) + LINE_COST
                while self._printed > OUTPUT_BUDGET:
                    await asyncio.sleep(POLL_PERIOD)
        finally:
            transport.close()

    async def _read_control(self, end: Any) -> None:
        self._link = link = await Link.over(end)
        try:
            async for frame in link.frames():
                if frame.get("say") == "ready":
                    self._become_ready()
                elif frame.get("say") == "failed":
                    self._failure = {"what": str(frame.get("what")), "remedy": frame.get("remedy")}
                else:
                    _check_rows(frame)
                    if frame["table"] == "logs":
                        self._tail.extend(str(row[4]) for row in frame["rows"])
                    self._say(frame)
        except (TransportError, LookupError, TypeError) as error:  # a component has written where only Estran does
            self._failure = {"what": f"failed: {error}", "remedy": "do not write to descriptors that the component did not open"}
            if self._child is not None:
                self._child.signal(signal.SIGKILL)
        finally:
            await link.close()

    async def _watch_ready(self, child: Child) -> None:
        ready = self.launch.ready
        try:
            async with asyncio.timeout(ready.timeout):
                if not await child.became():
                    return  # its end follows, and says why
                if not self._told:
                    await asyncio.sleep(POLL_PERIOD)  # what fails at once is not ready
                    self._become_ready()
                while not self._ready.is_set():
                    if await self._looks_ready():
                        self._become_ready()
                    await asyncio.sleep(POLL_PERIOD)
        except TimeoutError:
            self._failure = {
                "what": f"was not ready after {ready.timeout:g}s ({self._awaited()})",
                "remedy": "see its log; raise `ready: {timeout: …}` if it only needs longer",
            }
            child.signal(signal.SIGKILL)

    async def _watch_memory(self, child: Child, killed_before: int) -> None:
        """End the whole service when the memory limit has killed any process of it: half a service is none."""
        while self._enclosure is not None:
            await asyncio.sleep(MEMORY_PERIOD)
            if self._oom_kills() > killed_before:
                child.signal(signal.SIGKILL)
                return

    def _oom_kills(self) -> int:
        return 0 if self._enclosure is None else self._enclosure.oom_kills()

    def _exceeded(self) -> dict[str, Any]:
        limit = self._enclosure.memory if self._enclosure is not None else None
        size = "" if limit is None else f" ({show(limit, 'size')} for all services of {self.launch.host})"
        return {
            "what": f"was killed for exceeding the memory of its device{size}",
            "remedy": "give its layer a device with more memory, or let the service use less",
        }

    async def _looks_ready(self) -> bool:
        ready = self.launch.ready
        if ready.file is not None:
            return Path(self.launch.folder, ready.file).exists()  # noqa: ASYNC240 - a stat of a local file
        if ready.port is not None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(self.launch.env.get("ESTRAN_ADDRESS", "127.0.0.1"), ready.port)
                writer.close()
                return True
        return False

    @property
    def _told(self) -> bool:
        """Whether it is told when the replica is ready; else a command is once it runs."""
        ready = self.launch.ready
        return self.launch.command is None or bool(ready.port or ready.output or ready.file)

    def _awaited(self) -> str:
        ready = self.launch.ready
        if not self._told:
            return "its program was not executed"
        if self.launch.component is not None:
            return "its setup() did not return, or a stream's other end never came"
        if ready.port is not None:
            return f"nothing listens on port {ready.port}"
        return f"no file {ready.file}" if ready.file else f"no line of output matches {ready.output!r}"

    def _become_ready(self) -> None:
        if self._ready.is_set():
            return
        self._ready.set()
        self._event("ready", "")
        self._say({"say": "ready", "replica": self.launch.replica})
        if self._link is not None:
            for frame in self._disturbances.frames():
                self._link.write(frame)
        if self._origin_ns is not None:
            self.go(self._origin_ns)

    def _ended(self, status: int, restarts: int) -> None:
        failed = status != 0 and not self._stopping
        reason = self._failure or {}
        self._event("ended", f"status {status}")
        self._say({
            "say": "ended", "replica": self.launch.replica, "status": status, "failed": failed or bool(reason),
            "restarts": restarts, "what": self._cause(status), "remedy": reason.get("remedy"), "tail": list(self._tail),
        })  # fmt: skip
        self._over.set()

    def _cause(self, status: int) -> str:
        """Why an incarnation ended, in words."""
        if self._failure is not None:
            return str(self._failure["what"])
        if status == NOT_STARTED and self.launch.command is not None and self._tail:
            return f"could not be started: {self._tail[-1]}"
        return f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"

    def _event(self, event: str, detail: str) -> None:
        self._recorder.event(event, detail)
        self._recorder.flush()

    def _emit(self, table: str, rows: Any) -> None:
        self._say({"say": "rows", "origin_ns": self._clock.origin_ns, "table": table, "rows": rows})


def _check_rows(frame: Mapping[str, Any]) -> None:
    rows = frame.get("rows")
    known = frame.get("say") == "rows" and isinstance(frame.get("table"), str) and isinstance(frame.get("origin_ns"), int)
    if not (known and isinstance(rows, list) and all(isinstance(row, list) for row in rows)):
        raise TransportError("a control frame says what no service has to say")


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return f"signal {number} ({signal.Signals(number).name})"
    return f"signal {number}"  # a real-time signal has no name


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(error.consumed)
