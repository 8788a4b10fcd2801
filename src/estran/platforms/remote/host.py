"""A host as the controller sees it, behind the connection to its envoy."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import Completed
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.pipe import Pipe
from estran.platforms.remote.remedies import LOST, remedy_of

PIECE: Final = 1 << 18
SMALL: Final = 1 << 15
"""A file of so many bytes is sent sooner than asked for."""

HEARTBEAT: Final = 5.0

OnOutput = Callable[[str, bytes], None]
"""Told the channel (``stdout``, ``stderr``) and the bytes of a command's output as they come."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """A host's monotonic clock less the controller's, in nanoseconds, and by how much that may be wrong.

    The error cannot exceed half of the round trip of the exchange it is from (Cristian, 1989), and reaches that only if all of the
    trip's time was spent one way.
    """

    offset_ns: int
    bound_ns: int
    round_trips_ns: tuple[int, ...] = ()


class RemoteHost:
    """One host with an envoy on it.

    `serve` must run in a task of the owner for as long as the host is used.

    Parameters
    ----------
    heartbeat
        Seconds between two signs of life; three that are not answered mean that the connection is lost.
    """

    def __init__(self, name: str, link: FrameLink, *, heartbeat: float = HEARTBEAT) -> None:
        self.name = name
        self.facts: Mapping[str, Any] = {}
        self._link = link
        self._heartbeat = heartbeat
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[tuple[Any, bytes]]] = {}
        self._outputs: dict[int, OnOutput] = {}
        self._pieces: dict[int, asyncio.Queue[bytes]] = {}
        self._pipes: dict[int, Pipe] = {}
        self._here: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._news: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        self.gone: str | None = None
        """How the connection was lost, if it was."""

    async def serve(self) -> None:
        """Read what the envoy says until it has gone."""
        beating = asyncio.create_task(self._beat(), name=f"heartbeat of {self.name}")
        try:
            async for head, data in self._link.frames():
                self._hear(head, data)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            self._lost(f"its envoy says what cannot be understood ({type(error).__name__}: {error})")
        finally:
            beating.cancel()
            self._lost("the connection to its envoy has ended")

    async def arrived(self) -> None:
        """Wait until the envoy has told its facts.

        Raises
        ------
        PlatformError
            If the connection ends before.
        """
        await self._here

    def _lost(self, how: str) -> None:
        if self.gone is not None:
            return
        self.gone = how
        futures: list[asyncio.Future[Any]] = [self._here, *self._waiting.values()]
        for waiting in futures:
            if not waiting.done():
                waiting.set_exception(self._error(how))
        if self._here.done():
            self._here.exception()  # else its loss is complained of, although nobody waits for it
        for pipe in self._pipes.values():
            pipe.shut(None)
        self._news.put_nowait(None)
        self._over.set()

    async def lost(self) -> str:
        """Wait until the connection is lost, and say how."""
        await self._over.wait()
        return self.gone or ""

    def _error(self, what: str) -> PlatformError:
        return PlatformError(what, where=self.name, remedy=LOST)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            try:
                async with asyncio.timeout(3 * self._heartbeat):
                    await self.ask("clock")
            except TimeoutError:
                self._lost(f"does not answer any more (for {3 * self._heartbeat:g}s)")
                self._link.close()
                return
            except PlatformError:
                return

    def _hear(self, head: dict[str, Any], data: bytes) -> None:
        if "reply" in head:
            self._settle(head, data)
            return
        said, of = head["say"], head.get("of", -1)
        if said == "output" and of in self._outputs:
            self._outputs[of](head["channel"], data)
        elif said == "piece" and of in self._pieces:
            self._pieces[of].put_nowait(data)
        elif said == "pipe" and of in self._pipes:
            self._pipes[of].feed(data)
        elif said == "taken" and of in self._pipes:
            self._pipes[of].taken(head["count"])
        elif said == "shut" and of in self._pipes:
            status = head["status"]  # before the pop: what cannot be understood must still find whom to tell of the loss
            self._pipes.pop(of).shut(status)
        elif said == "here":
            self.facts = head["facts"]
            if not self._here.done():
                self._here.set_result(None)
        elif said == "ended":
            self._news.put_nowait(head)

    def _settle(self, head: dict[str, Any], data: bytes) -> None:
        error = head.get("error")
        told = head["ok"] if error is None else None  # before the pop, as above
        waiting = self._waiting.pop(head["reply"], None)
        if waiting is None or waiting.done():
            return
        if error is not None:
            waiting.set_exception(PlatformError(str(error), where=self.name, remedy=remedy_of(str(error))))
        else:
            waiting.set_result((told, data))

    def _asked(self, do: str, data: bytes, details: Mapping[str, Any]) -> tuple[int, asyncio.Future[tuple[Any, bytes]]]:
        if self.gone is not None:
            raise self._error(self.gone)
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._link.write({"id": number, "do": do, **details}, data)
        return number, waiting

    async def ask(self, do: str, data: bytes = b"", **details: Any) -> tuple[Any, bytes]:
        """Send one request; return its answer, and the bytes with it.

        Raises
        ------
        PlatformError
            If the envoy refuses, or goes before it answers.
        """
        _, waiting = self._asked(do, data, details)
        await self._link.drained()
        return await waiting

    # Commands and services

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> Completed:
        """Run a command to its end.

        Parameters
        ----------
        env
            Added to the environment of the envoy.
        on_output
            Told the output as it comes, which is then not in what is returned.

        Raises
        ------
        PlatformError
            If it cannot be started, does not end in time, or the host goes.
        """
        details = {"argv": list(argv), "cwd": cwd, "env": dict(env or {}), "timeout": timeout, "stream": on_output is not None}
        number, waiting = self._asked("run", stdin, details)
        if on_output is not None:
            self._outputs[number] = on_output
        try:
            ended, output = await waiting
        finally:
            self._outputs.pop(number, None)
        cut = ended["sizes"][0]
        return Completed(tuple(argv), ended["returncode"], output[:cut], output[cut:])

    async def start(
        self, name: str, argv: Sequence[str], *, log: str, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> int:
        """Start a process in the background, return its pid; its end is an event, its output goes into a file on the host."""
        pid, _ = await self.ask("start", name=name, argv=list(argv), cwd=cwd, env=dict(env or {}), log=log)
        return int(pid)

    async def stop(self, name: str, *, grace: float = 2.0) -> int | None:
        """End what was started by that name, and say with which status it ended; None if it does not run."""
        status, _ = await self.ask("stop", name=name, grace=grace)
        return None if status is None else int(status)

    async def open(
        self, argv: Sequence[str], *, cwd: str | None = None, env: Mapping[str, str] | None = None, log: str | None = None
    ) -> Pipe:
        """Start a process whose standard input and output are in the controller's hands."""
        number, waiting = self._asked("open", b"", {"argv": list(argv), "cwd": cwd, "env": dict(env or {}), "log": log})
        pipe = self._pipes[number] = Pipe(number, self._link)
        try:
            await waiting
        except PlatformError:
            self._pipes.pop(number, None)
            raise
        return pipe

    async def undo(self, argv: Sequence[str]) -> None:
        """Have a command run when the envoy leaves, however that comes about; the last comes first."""
        await self.ask("undo", argv=list(argv))

    async def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """What happens on the host (``{say: ended, name, status}``), until it goes."""
        while (frame := await self._news.get()) is not None:
            yield frame

    # Files

    async def put(self, local: Path, remote: str, *, mode: int | None = None) -> str:
        """Copy a file to the host, return its SHA-256; nothing is sent if the same is there.

        Raises
        ------
        PlatformError
            If it cannot be written there, whole.
        """
        data, own = await asyncio.to_thread(lambda: (local.read_bytes(), local.stat().st_mode & 0o777))
        return await self.put_bytes(data, remote, mode=own if mode is None else mode)

    async def put_bytes(self, data: bytes, remote: str, *, mode: int | None = None) -> str:
        """Write a file on the host, return its SHA-256; see `put`."""
        sha256 = hashlib.sha256(data).hexdigest()
        if len(data) > SMALL:
            same, _ = await self.ask("have", path=remote, sha256=sha256, mode=mode)
            if same:
                return sha256
        if self.gone is not None:
            raise self._error(self.gone)
        number = next(self._numbers)
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)] or [b""]
        for piece in pieces[:-1]:
            self._link.write({"id": None, "do": "piece", "of": number, "path": remote}, piece)
            await self._link.drained()
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._link.write({"id": number, "do": "put", "path": remote, "sha256": sha256, "mode": mode}, pieces[-1])
        await waiting
        return sha256

    async def get(self, remote: str, local: Path) -> str:
        """Copy a file from the host, return its SHA-256; there is a local file only if all of it came.

        Raises
        ------
        PlatformError
            If it cannot be read, or did not arrive as it was read.
        """
        local.parent.mkdir(parents=True, exist_ok=True)
        part = local.with_name(local.name + ".part")
        number, waiting = self._asked("get", b"", {"path": remote})
        pieces = self._pieces[number] = asyncio.Queue()
        digest = hashlib.sha256()
        try:
            with part.open("wb") as file:
                async for piece in _until(pieces, waiting):
                    digest.update(piece)
                    file.write(piece)
            told, _ = await waiting
            if digest.hexdigest() != told["sha256"]:
                raise PlatformError(f"{remote} arrived with other bytes than were sent", where=self.name)
            part.chmod(told["mode"])
            part.replace(local)
        finally:
            self._pieces.pop(number, None)
            part.unlink(missing_ok=True)
        return digest.hexdigest()

    # Functions and clocks

    async def load(self, module: str, source: str) -> None:
        """Teach the envoy a module, which may use its Python's standard library, from 3.8 on."""
        await self.ask("load", source.encode(), module=module)

    async def call(self, function: str, *, data: bytes = b"", **details: Any) -> Any:
        """Call ``module.function(envoy, data, **details)`` of a loaded module in a thread of the envoy; return what it does."""
        found, _ = await self.ask("call", data, function=function, details=details)
        return found

    async def clock_offset(self, exchanges: int = 32) -> ClockOffset:
        """Compare clocks over some exchanges, of which the quickest counts."""
        best: ClockOffset | None = None
        trips = []
        for _ in range(exchanges):
            sent = time.monotonic_ns()
            told, _ = await self.ask("clock")
            came = time.monotonic_ns()
            trips.append(came - sent)
            found = ClockOffset(told["monotonic_ns"] - (sent + came) // 2, (came - sent + 1) // 2)
            best = found if best is None or found.bound_ns < best.bound_ns else best
        if best is None:
            raise ValueError("at least one exchange is needed")
        return ClockOffset(best.offset_ns, best.bound_ns, tuple(trips))

    async def close(self) -> None:
        """Let the envoy leave, with everything that it started."""
        if self.gone is None:
            with suppress(PlatformError):  # it may go by itself meanwhile
                await self.ask("exit")
        self._link.close()


async def _until(pieces: asyncio.Queue[bytes], over: asyncio.Future[Any]) -> AsyncIterator[bytes]:
    """All pieces that come before the future is done."""
    while not over.done() or not pieces.empty():
        if not pieces.empty():
            yield pieces.get_nowait()
            continue
        getting = asyncio.ensure_future(pieces.get())
        await asyncio.wait({getting, over}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            yield getting.result()
        else:
            getting.cancel()
