"""Processes that the envoy starts, each at the head of a group of its own; an envoy carries this module, so it is of Python 3.8."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from estran.platforms.remote.envoy_files import Refused

QUIET = 0.2
"""Seconds without output after which a command counts as ended although a child of it still holds its output open."""


class Processes:
    """All that was started here and runs.

    Parameters
    ----------
    mark
        Value of ``ESTRAN_RUN`` in their environment, by which strays are found in the end.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.groups: dict[int, asyncio.subprocess.Process] = {}

    async def started(
        self, argv: list[str], cwd: str | None, env: dict[str, str] | None, stdin: Any, stdout: Any, stderr: Any
    ) -> asyncio.subprocess.Process:
        """Start one at the head of a group of its own."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd or None, start_new_session=True,
                env=dict(os.environ, ESTRAN_RUN=self.mark, **(env or {})), limit=1 << 20
            )  # fmt: skip
        except FileNotFoundError:
            missing = cwd if cwd and not os.path.isdir(cwd) else argv[0]
            raise Refused("there is no " + missing) from None
        except PermissionError:
            raise Refused(argv[0] + ": permission denied") from None
        self.groups[process.pid] = process
        return process

    def signal(self, pid: int, number: int) -> None:
        """Signal a whole group, if there is any left of it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)

    async def stop(self, process: asyncio.subprocess.Process, grace: float) -> int:
        """End a process and its group; kill what has not ended after ``grace`` seconds."""
        self.signal(process.pid, signal.SIGTERM)
        try:
            return await asyncio.wait_for(process.wait(), grace)
        except asyncio.TimeoutError:
            self.signal(process.pid, signal.SIGKILL)
            return await process.wait()

    def over(self, pid: int) -> None:
        """The head of a group has ended: half a service is none."""
        self.signal(pid, signal.SIGKILL)
        self.groups.pop(pid, None)

    async def end(self) -> None:
        """Ask all to end, and kill what has not within a second."""
        for pid in list(self.groups):
            self.signal(pid, signal.SIGTERM)
        waiting = [asyncio.ensure_future(process.wait()) for process in self.groups.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=1.0)
        for pid in list(self.groups):
            self.signal(pid, signal.SIGKILL)


async def ended(process: asyncio.subprocess.Process) -> int | None:
    """The status of a process when it has ended; its own ``wait`` may wait, besides, until nobody has its output open any more."""
    waiting = asyncio.ensure_future(process.wait())
    try:
        while process.returncode is None:
            await asyncio.wait([waiting], timeout=QUIET / 4)
        return process.returncode
    finally:
        waiting.cancel()


async def feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Give a process its input."""
    if process.stdin is None:
        return
    with contextlib.suppress(OSError):
        if data:
            process.stdin.write(data)
            await process.stdin.drain()
        process.stdin.close()
