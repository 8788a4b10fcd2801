"""Making a study's runs, several side by side, until every row of the design is done or has failed for good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

from estran.errors import EstranError
from estran.study.folder import Folder, Outcome
from estran.study.rows import Row
from estran.study.worker import Task

GRACE: Final = 20.0
"""Seconds that a worker has to end its run in good order, before it is killed."""
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Watcher(Protocol):
    """Who is told how a study goes."""

    def began(self, row: Row) -> None:
        """A run of a row begins."""
        ...

    def ended(self, row: Row, outcome: Outcome) -> None:
        """It has ended; ``todo`` if it will be made again."""
        ...


class Engine(Protocol):
    """Where runs are made. It makes one task and says how it ended; as many are asked of it at once as there are jobs."""

    async def make(self, task: Task) -> str:
        """Make a run. ``done``, ``failed`` or ``interrupted``; its folder tells more.

        Raises
        ------
        EngineError
            If what makes runs has itself ended; the next call starts it again.
        """
        ...


class EngineError(EstranError):
    """What makes the runs of a study ended in the middle of one."""


class LocalProcess:
    """Makes runs in a worker process on this machine, one after another."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def make(self, task: Task) -> str:
        """Make a run; see `Engine.make`."""
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
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _start() -> asyncio.subprocess.Process:
    # In a process group of its own, so that Ctrl-C reaches the study alone, which then ends its runs one by one.
    single = {name: os.environ.get(name, "1") for name in _ONE_THREAD}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "estran.study.worker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, process_group=0, env={**os.environ, **single},
    )  # fmt: skip


@asynccontextmanager
async def local_engine() -> AsyncIterator[LocalProcess]:
    """A worker process that ends with the block."""
    engine = LocalProcess()
    try:
        yield engine
    finally:
        await asyncio.shield(engine.close())


async def carry_out(folder: Folder, *, jobs: int, watcher: Watcher, command: Sequence[str]) -> dict[int, Outcome]:
    """Make all runs that are still to be made.

    Returns
    -------
    dict
        The outcome of every row, by its number; all of them are ``done`` or ``failed``.
    """
    outcomes = folder.outcomes()
    todo = deque(row for row in folder.rows if outcomes[row.run].status == "todo")
    folder.write_table(outcomes)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(todo))):
                group.create_task(_work(folder, todo, outcomes, watcher, list(command)))
    finally:
        # A run may have ended just when the study was interrupted, and nobody was told.
        outcomes.update({row.run: folder.outcome(row) for row in folder.rows if outcomes[row.run].status == "todo"})
        folder.write_table(outcomes)
    return outcomes


async def _work(folder: Folder, todo: deque[Row], outcomes: dict[int, Outcome], watcher: Watcher, command: list[str]) -> None:
    deaths: dict[int, int] = {}
    async with local_engine() as engine:
        while todo:
            row = todo.popleft()
            watcher.began(row)
            task = _task(folder, row, outcomes[row.run].attempts + 1, command)
            try:
                status = await engine.make(task)
                outcome = folder.outcome(row)
            except EngineError as error:
                deaths[row.run] = deaths.get(row.run, 0) + 1
                again = deaths[row.run] <= folder.asked.retries
                found = folder.outcome(row)
                outcome = replace(found, status="todo" if again else "failed", failure=error.what)
                status = "failed"
            outcomes[row.run] = outcome
            if status == "interrupted":
                raise EngineError(
                    f"run {row.run} was interrupted", where=str(folder.path), remedy=f"go on: estran resume {folder.path}"
                )
            if outcome.status == "todo":
                todo.append(row)
            watcher.ended(row, outcome)
            folder.write_table(outcomes)


def _task(folder: Folder, row: Row, attempt: int, command: list[str]) -> Task:
    asked = folder.asked
    place = folder.attempt(row, attempt)
    levels: dict[str, Any] = dict(row.levels)
    return Task(
        file=asked.file,
        overrides=list(asked.overrides),
        levels=levels,
        seed=row.seed,
        on=asked.on,
        calibration=asked.calibration,
        out=str(place.parent),
        named=place.name,
        command=command,
    )
