"""A host as the controller sees it, behind the connection to its envoy."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.answers import NO_SENSE, misheard, understood
from estran.platforms.base import Completed
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.pipe import Pipe
from estran.platforms.remote.remedies import LOST, remedy_of
from estran.platforms.remote.told import Clocks, Count, Ended, Facts, Sent

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
                if self.gone is not None:  # a host that was given up for lost may speak again; nobody here listens any more
                    break
                self._hear(head, data)
        except (*NO_SENSE, PlatformError) as error:
            self._lost(misheard("its envoy", error))
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
                waiting.exception()  # else the loss is complained of where nobody waits any more
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
            self._pipes[of].taken(understood(head["count"], Count, self.name))
        elif said == "shut" and of in self._pipes:
            status = understood(head["status"], int | None, self.name)  # before the pop: who waits must still be found if it fails
            self._pipes.pop(of).shut(status)
        elif said == "here" and not self._here.done():
            self.facts = understood(head["facts"], Facts, self.name)
            self._here.set_result(None)
        elif said == "ended":
            self._news.put_nowait(head)

    def _settle(self, head: dict[str, Any], data: bytes) -> None:
        error = head.get("error")
        told = head["ok"] if error is None else None
        waiting = self._waiting.get(head["reply"])
        if waiting is None or waiting.done():
            return
        if error is not None:
            waiting.set_exception(PlatformError(str(error), where=self.name, remedy=remedy_of(str(error))))
        else:
            waiting.set_result((told, data))

    @contextmanager
    def _expecting(self) -> Iterator[tuple[int, asyncio.Future[tuple[Any, bytes]]]]:
        """The number of a request and what its answer will be, which is not waited for any more when the context is left."""
        if self.gone is not None:
            raise self._error(self.gone)
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            yield number, waiting
        finally:
            del self._waiting[number]

    async def ask(self, do: str, data: bytes = b"", *, answer: Any = Any, **details: Any) -> tuple[Any, bytes]:
        """Send one request; return its answer, and the bytes with it.

        Parameters
        ----------
        answer
            The type that the answer has.

        Raises
        ------
        PlatformError
            If the envoy refuses, goes before it answers, or answers something else.
        """
        with self._expecting() as (number, waiting):
            self._link.write({"id": number, "do": do, **details}, data)
            await self._link.drained()
            told, came = await waiting
        return understood(told, answer, self.name), came

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
        with self._expecting() as (number, waiting):
            if on_output is not None:
                self._outputs[number] = on_output
            self._link.write({"id": number, "do": "run", **details}, stdin)
            try:
                told, output = await waiting
            finally:
                self._outputs.pop(number, None)
        ended: Ended = understood(told, Ended, self.name)
        cut = ended["sizes"][0]
        return Completed(tuple(argv), ended["returncode"], output[:cut], output[cut:])

    async def start(
        self, name: str, argv: Sequence[str], *, log: str, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> int:
        """Start a process in the background, return its pid; its end is an event, its output goes into a file on the host."""
        pid, _ = await self.ask("start", answer=int, name=name, argv=list(argv), cwd=cwd, env=dict(env or {}), log=log)
        found: int = pid
        return found

    async def stop(self, name: str, *, grace: float = 2.0) -> int | None:
        """End what was started by that name, and say with which status it ended; None if it does not run."""
        status, _ = await self.ask("stop", answer=int | None, name=name, grace=grace)
        found: int | None = status
        return found

    async def open(
        self, argv: Sequence[str], *, cwd: str | None = None, env: Mapping[str, str] | None = None, log: str | None = None
    ) -> Pipe:
        """Start a process whose standard input and output are in the controller's hands."""
        with self._expecting() as (number, waiting):
            pipe = self._pipes[number] = Pipe(number, self._link)
            details = {"argv": list(argv), "cwd": cwd, "env": dict(env or {}), "log": log}
            self._link.write({"id": number, "do": "open", **details})
            try:
                await waiting
            except BaseException:
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
            same, _ = await self.ask("have", answer=bool, path=remote, sha256=sha256, mode=mode)
            if same:
                return sha256
        with self._expecting() as (number, waiting):  # from the first piece on: the host may go before the last one
            pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)] or [b""]
            for piece in pieces[:-1]:
                self._link.write({"id": None, "do": "piece", "of": number, "path": remote}, piece)
                await self._link.drained()
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
        digest = hashlib.sha256()
        try:
            with self._expecting() as (number, waiting), part.open("wb") as file:
                try:
                    pieces = self._pieces[number] = asyncio.Queue()
                    self._link.write({"id": number, "do": "get", "path": remote})
                    async for piece in _until(pieces, waiting):
                        digest.update(piece)
                        file.write(piece)
                    answer, _ = await waiting
                finally:
                    self._pieces.pop(number, None)
            told: Sent = understood(answer, Sent, self.name)
            if digest.hexdigest() != told["sha256"]:
                raise PlatformError(f"{remote} arrived with other bytes than were sent", where=self.name)
            part.chmod(told["mode"])
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest()

    # Functions and clocks

    async def load(self, module: str, source: str) -> None:
        """Teach the envoy a module, which may use its Python's standard library, from 3.8 on."""
        await self.ask("load", source.encode(), module=module)

    async def call(self, function: str, *, data: bytes = b"", answer: Any = Any, **details: Any) -> Any:
        """Call ``module.function(envoy, data, **details)`` of a loaded module in a thread of the envoy; return what it does.

        Raises
        ------
        PlatformError
            As `ask` does.
        """
        found, _ = await self.ask("call", data, answer=answer, function=function, details=details)
        return found

    async def clock_offset(self, exchanges: int = 32) -> ClockOffset:
        """Compare clocks over some exchanges, of which the quickest counts."""
        best: ClockOffset | None = None
        trips = []
        for _ in range(exchanges):
            sent = time.monotonic_ns()
            told, _ = await self.ask("clock", answer=Clocks)
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
