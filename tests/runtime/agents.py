"""A real agent in a process of its own, and the conductor's end of it."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from estran.platforms.agent_host import AgentHost
from estran.runtime.control import Link
from estran.runtime.launch import Launch, Readiness

AGENT = """
import asyncio, socket, sys, time
from estran.runtime.agent import Agent
from estran.runtime.control import Link
async def serve():
    link = await Link.over(socket.socket(fileno=int(sys.argv[1])))
    await Agent("host-0", link, time.monotonic_ns()).serve()
asyncio.run(serve())
"""


class Watched:
    """A host with everything that its agent has said."""

    def __init__(self, host: AgentHost) -> None:
        self.host = host
        self.said: list[dict[str, Any]] = []
        self.pid = 0
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for frame in self.host.events():
            self.said.append(dict(frame))
            self._news.set()

    async def wait_for(self, say: str, timeout: float = 20.0) -> dict[str, Any]:
        async with asyncio.timeout(timeout):
            while True:
                for frame in self.said:
                    if frame["say"] == say:
                        return frame
                self._news.clear()
                await self._news.wait()

    def rows(self, table: str) -> list[list[Any]]:
        return [row for frame in self.said if frame["say"] == "rows" and frame["table"] == table for row in frame["rows"]]


@asynccontextmanager
async def running_agent(*, listen: bool = True) -> AsyncIterator[Watched]:
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, str(theirs.fileno()), pass_fds=[theirs.fileno()])
    theirs.close()
    watched = Watched(AgentHost("host-0", await Link.over(ours)))
    watched.pid = process.pid
    tasks = [asyncio.create_task(watched.host.serve())]
    if listen:
        tasks.append(asyncio.create_task(watched.listen()))
    try:
        yield watched
        await watched.host.close()
        async with asyncio.timeout(10):
            await process.wait()
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def command(folder: Path, *argv: str, **details: Any) -> dict[str, Any]:
    ready = details.pop("ready", Readiness())
    launch = Launch(
        "tool-0", "tool", 0, 1, "host-0", 1, time.monotonic_ns(), command=argv, folder=str(folder), ready=ready, **details
    )
    return launch.plain()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for this machine's first process to collect it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
