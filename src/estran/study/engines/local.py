"""Runs made in processes on this machine, which are kept from run to run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final

from estran.runtime.threads import ONE_THREAD
from estran.study.engines.engine import EngineError
from estran.study.worker import Task

GRACE: Final = 20.0
"""Seconds that a worker has to end its run in good order, before it is killed."""


class Local:
    """Makes runs in as many worker processes as there are jobs."""

    def __init__(self, jobs: int) -> None:
        self.width = jobs
        self.going: frozenset[str] = frozenset()
        self._idle: list[LocalProcess] = []
        self._all: list[LocalProcess] = []

    async def __aenter__(self) -> Local:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.shield(asyncio.gather(*(process.close() for process in self._all)))

    async def make(self, task: Task, began: Callable[[], None]) -> str:
        """Make a run; see `Engine.make`. Cancelled, it waits until the run has ended in good order."""
        if not self._idle:
            self._all.append(LocalProcess())
            self._idle.append(self._all[-1])
        process = self._idle.pop()
        began()
        try:
            status = await process.make(task)
        except EngineError:
            self._idle.append(process)  # it starts again
            raise
        except asyncio.CancelledError:
            await asyncio.shield(process.close())
            self._idle.append(process)
            raise
        self._idle.append(process)
        return status


class LocalProcess:
    """Makes runs in a worker process on this machine, one after another."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def make(self, task: Task) -> str:
        """Make a run. If the process has ended, the next call starts it again."""
        if self._process is None or self._process.returncode is not None:
            self._process = await _start()
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise EngineError("a worker has no pipes", where="study")
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            code = await process.wait()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            raise EngineError(f"the process that made the run {how}", where=task["named"], remedy="is there memory enough?")
        status: str = json.loads(line)["status"]
        return status

    async def close(self) -> None:
        """End the worker; a run that goes on ends in good order first."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        if process.stdin is not None:
            process.stdin.close()  # a run that had all but ended goes on to its end: then there is no further task
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _start() -> asyncio.subprocess.Process:
    # In a process group of its own, so that Ctrl-C reaches the study alone, which then ends its runs one by one.
    single = {name: os.environ.get(name, value) for name, value in ONE_THREAD.items()}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "estran.study.worker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, process_group=0, env={**os.environ, **single},
    )  # fmt: skip
