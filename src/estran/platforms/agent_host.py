"""A host as the conductor sees it, behind the control connection to its agent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from estran.errors import PlatformError, TransportError
from estran.platforms.answers import NO_SENSE, REMEDY, misheard, understood
from estran.platforms.base import Completed
from estran.runtime.control import Frame, Link

CHUNK = 1 << 20
GONE = "the host's agent has gone"


class Ended(TypedDict):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: bytes
    stderr: bytes


class AgentHost:
    """Implements `estran.platforms.base.Host` over a `Link` to an `estran.runtime.agent.Agent`.

    `serve` must run in a task of the owner for as long as the host is used.
    """

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self._link = link
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._news: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._gone: PlatformError | None = None
        self._misheard = False

    async def serve(self) -> None:
        """Read what the agent says until it has gone, or says what cannot be understood."""
        gone = PlatformError(GONE, where=self.name)
        try:
            async for frame in self._link.frames():
                if "reply" in frame:
                    self._settle(frame)
                else:
                    self._news.put_nowait(frame)
        except (*NO_SENSE, TransportError) as error:
            gone = PlatformError(misheard("its agent", error), where=self.name, remedy=REMEDY)
            self._misheard = True
        finally:
            self._gone = gone
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(PlatformError(gone.what, where=self.name, remedy=gone.remedy))
            self._news.put_nowait(None)

    def _settle(self, frame: Frame) -> None:
        waiting = self._waiting.get(frame["reply"])
        if waiting is None or waiting.done():
            return
        if (error := frame.get("error")) is not None:
            waiting.set_exception(PlatformError(str(error["what"]), where=self.name, remedy=error["remedy"]))
        else:
            waiting.set_result(frame["ok"])

    async def ask(self, do: str, *, answer: Any = Any, **details: Any) -> Any:
        """Send one request and return its answer.

        Parameters
        ----------
        answer
            The type that the answer has.

        Raises
        ------
        PlatformError
            If the agent refuses, goes before it answers, or answers something else.
        """
        if self._gone is not None:
            raise PlatformError(self._gone.what, where=self.name, remedy=self._gone.remedy)
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._link.write({"id": number, "do": do, **details})
            told = await waiting
        finally:
            del self._waiting[number]
        return understood(told, answer, self.name)

    async def run(self, argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        answer: Ended = await self.ask("run", answer=Ended, argv=list(argv), timeout=timeout)
        return Completed(tuple(argv), answer["returncode"], answer["stdout"], answer["stderr"])

    async def put(self, local: Path, remote: str) -> None:
        data, mode = await asyncio.to_thread(lambda: (local.read_bytes(), local.stat().st_mode & 0o777))
        for offset in range(0, max(len(data), 1), CHUNK):
            await self.ask("put", path=remote, data=data[offset : offset + CHUNK], first=offset == 0, mode=mode)

    async def get(self, remote: str, local: Path) -> None:
        local.parent.mkdir(parents=True, exist_ok=True)
        part = local.with_name(local.name + ".part")
        try:
            with part.open("wb") as file:
                while data := await self.ask("get", answer=bytes, path=remote, offset=file.tell(), size=CHUNK):
                    file.write(data)
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    async def start(self, service: Mapping[str, Any]) -> None:
        await self.ask("start", launch=service)

    async def stop(self, replica: str, *, grace: float = 2.0) -> None:
        await self.ask("stop", replica=replica, grace=grace)

    async def go(self, origin_ns: int) -> None:
        """Begin the run on this host, at that instant of its monotonic clock."""
        await self.ask("go", origin_ns=origin_ns)

    async def task(self, path: str, settings: Mapping[str, Any]) -> None:
        """Run ``module:function`` in the agent until it ends."""
        await self.ask("task", path=path, settings=settings)

    async def tell(self, replica: str, frame: Mapping[str, Any]) -> None:
        """Say something to a running component."""
        await self.ask("tell", replica=replica, frame=dict(frame))

    async def events(self) -> AsyncIterator[Frame]:
        while (frame := await self._news.get()) is not None:
            yield frame
        if self._misheard and self._gone is not None:
            raise self._gone

    async def close(self) -> None:
        """Let the agent end, with everything that it started."""
        with suppress(PlatformError):  # it has gone by itself, or goes before it answers
            await self.ask("exit")
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close this connection, and leave all else to the other end."""
        await self._link.close()
