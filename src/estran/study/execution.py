"""Making a study's runs, several side by side, until every row of the design is done or has failed for good."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final, Protocol

from estran.study.engines.engine import Choice, Engine, EngineError, Place
from estran.study.engines.opening import opened
from estran.study.folder import Folder, Outcome
from estran.study.rows import Row
from estran.study.worker import Task

BETWEEN: Final = 0.5
"""Seconds between two writings of the table, which takes long in large studies."""


class Watcher(Protocol):
    """Who is told how a study goes."""

    def began(self, row: Row) -> None:
        """A run of a row begins."""
        ...

    def ended(self, row: Row, outcome: Outcome) -> None:
        """It has ended; ``todo`` if it will be made again."""
        ...

    def told(self, text: str) -> None:
        """What makes the runs says something of itself."""
        ...


class Unwatched:
    """Tells nobody."""

    def began(self, row: Row) -> None: ...

    def ended(self, row: Row, outcome: Outcome) -> None: ...

    def told(self, text: str) -> None: ...


async def carry_out(
    folder: Folder, choice: Choice, *, jobs: int | None, watcher: Watcher, command: Sequence[str]
) -> dict[int, Outcome]:
    """Make all runs that are still to be made.

    Returns
    -------
    dict
        The outcome of every row, by its number; all of them are ``done`` or ``failed``.
    """
    progress = _Progress(folder, watcher, list(command))
    progress.write()
    try:
        async with opened(choice, Place(folder.path, jobs, watcher.told)) as engine:
            progress.look()  # what went on until now may have ended
            await progress.all_made(engine)
    finally:
        # A run may have ended just when the study was interrupted, and nobody was told.
        progress.look()
        progress.write()
    return progress.outcomes


class _Progress:
    """How far a study has come, and what is to be made."""

    def __init__(self, folder: Folder, watcher: Watcher, command: list[str]) -> None:
        self.outcomes = folder.outcomes()
        self._folder, self._watcher, self._command = folder, watcher, command
        self._deaths: Counter[int] = Counter()
        self._changed = asyncio.Event()

    def look(self) -> None:
        """See which runs have ended that nobody told of."""
        found = self._folder.outcomes()
        self.outcomes.update({run: found[run] for run, outcome in self.outcomes.items() if outcome.status == "todo"})

    def write(self) -> None:
        """Write the table."""
        self._folder.write_table(self.outcomes)

    async def all_made(self, engine: Engine) -> None:
        """Ask an engine for every run that is still to be made, as many at once as it is wide."""
        todo = deque(row for row in self._folder.rows if self.outcomes[row.run].status == "todo")
        writing = asyncio.create_task(self._keep_written())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(engine.width, len(todo))):
                    group.create_task(self._work(engine, todo))
        finally:
            writing.cancel()

    async def _keep_written(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.write()
            await asyncio.sleep(BETWEEN)

    async def _work(self, engine: Engine, todo: deque[Row]) -> None:
        while todo:
            row = todo.popleft()
            outcome = self.outcomes[row.run] = await self._made(engine, row)
            if outcome.status == "todo":
                todo.append(row)
            self._watcher.ended(row, outcome)
            self._changed.set()

    async def _made(self, engine: Engine, row: Row) -> Outcome:
        folder = self._folder
        task = _task(folder, row, self.outcomes[row.run].attempts, engine.going, self._command)
        try:
            status = await engine.make(task, lambda: self._watcher.began(row))
        except EngineError as error:
            found = folder.outcome(row)
            if found.status == "done":
                return found
            self._deaths[row.run] += 1
            again = self._deaths[row.run] <= folder.asked.retries
            return replace(found, status="todo" if again else "failed", failure=error.what)
        if status == "interrupted":
            self.outcomes[row.run] = folder.outcome(row)
            raise EngineError(
                f"run {row.run} was interrupted", where=str(folder.path), remedy=f"go on: estran resume {folder.path}"
            )
        return folder.outcome(row)


def _task(folder: Folder, row: Row, attempts: int, going: AbstractSet[str], command: list[str]) -> Task:
    """The next attempt at a row; the latest one if that still goes on."""
    asked = folder.asked
    latest = folder.attempt(row, attempts)
    place = latest if latest.name in going else folder.attempt(row, attempts + 1)
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
