"""Does the tasks of a stage: all hosts of a play side by side, and plays too, as far as none is about another's hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from estran.e2clab.directory import Directory
from estran.e2clab.plays import ReadPlay
from estran.errors import EstranError, RequestError
from estran.platforms.remote.host import RemoteHost
from estran.spec.e2clab.model import Stage
from estran.spec.e2clab.patterns import PatternError
from estran.spec.marks import Marks
from estran.tasks.result import Result
from estran.tasks.runner import TaskRunner

OnResult = Callable[[Stage, Result], None]


class TaskFailedError(EstranError):
    """A task failed on a host; ``where`` is its place in the file."""


@dataclass(frozen=True, slots=True)
class Part:
    """A play's part in a stage: its hosts, what they are told, and hosts of others that it is about."""

    index: int
    read: ReadPlay
    variables: Mapping[str, Mapping[str, Any]]
    about: frozenset[str]

    def waits_for(self, other: Part) -> bool:
        """Whether it may not begin before an earlier part has ended: they share hosts, or one is about hosts of the other."""
        mine, theirs = self.variables.keys(), other.variables.keys()
        return bool(mine & theirs or self.about & theirs or other.about & mine)


class Stages:
    """Does stages of a scenario on its hosts; a context manager that ends what goes on in the background.

    Parameters
    ----------
    marks
        Positions of tasks in the scenario's files.
    folders
        Where files that tasks name are looked for.
    """

    def __init__(
        self,
        marks: Marks,
        plays: Sequence[ReadPlay],
        directory: Directory,
        hosts: Mapping[str, RemoteHost],
        folders: Sequence[Path],
        on_result: OnResult,
    ) -> None:
        self._marks = marks
        self._plays = plays
        self._directory = directory
        self._hosts = hosts
        self._folders = folders
        self._on_result = on_result
        self._runners: dict[int, TaskRunner] = {}
        self._doing: dict[int, Stage] = {}
        self._excused: set[asyncio.Task[Any]] = set()
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def run(self, stage: Stage, variables: Mapping[str, Any]) -> None:
        """Do all tasks of a stage.

        Raises
        ------
        TaskFailedError
            If one fails on any host; plays that go on meanwhile are abandoned.
        RequestError
            If a selector finds nobody.
        """
        parts = [self._part(index, read, variables) for index, read in enumerate(self._plays) if read.tasks.get(stage)]
        ended = [asyncio.Event() for _ in parts]

        async def follow(index: int) -> None:
            for earlier in range(index):
                if parts[index].waits_for(parts[earlier]):
                    await ended[earlier].wait()
            await self._do(stage, parts[index])
            ended[index].set()

        if stage == "finalize":  # what it ends may well end badly
            self._excused = {job.running for runner in self._runners.values() for job in runner.jobs.jobs.values()}
        async with asyncio.TaskGroup() as group:
            for index in range(len(parts)):
                group.create_task(follow(index))
        self.look_at_jobs()

    def _part(self, index: int, read: ReadPlay, variables: Mapping[str, Any]) -> Part:
        play = read.play
        try:
            told = self._directory.variables(play)
            about = [entry.host for one in play.depends_on for entry in self._directory.select(one.selector)]
        except PatternError as error:
            remedy = "correct the selector, or what a plug-in registers"
            raise RequestError(str(error), where=str(play.where), remedy=remedy) from None
        return Part(index, read, {host: {**own, **variables} for host, own in told.items()}, frozenset(about) - told.keys())

    async def _do(self, stage: Stage, part: Part) -> None:
        runner = await self._runner(stage, part)
        tasks, path = part.read.tasks[stage]
        report = await runner.run(tasks, self._marks, path)
        if report.failed:
            raise failure(report.failed.values())

    async def _runner(self, stage: Stage, part: Part) -> TaskRunner:
        """A play's runner, which keeps its workers on hosts from one stage to the next, but no variable that tasks registered."""
        if part.index not in self._runners:
            hosts = {name: self._hosts[name] for name in part.variables}
            told = partial(self._told, part.index)
            made = TaskRunner(hosts, groups=self.groups(), folders=self._folders, on_result=told)
            self._runners[part.index] = await self._resources.enter_async_context(made)
        runner = self._runners[part.index]
        self._doing[part.index] = stage
        for name, own in part.variables.items():
            runner.states[name].given = own
            runner.states[name].found.clear()
        return runner

    def _told(self, index: int, result: Result) -> None:
        self._on_result(self._doing[index], result)

    def groups(self) -> dict[str, list[str]]:
        """Hosts by the name of a group, as templates see them."""
        found = self._directory.inventory().groups
        return {name: list(dict.fromkeys(self._directory.entries[key].host for key in keys)) for name, keys in found.items()}

    def look_at_jobs(self) -> None:
        """Raise TaskFailedError if a task in the background has failed, before it came to the end."""
        failed = [pair for runner in self._runners.values() for pair in runner.jobs.failures()]
        for job, found in (pair for pair in failed if pair[0].running not in self._excused):
            what = f"the background task {job.task!r} failed on {job.host}: {said(found)}"
            raise TaskFailedError(what, where=job.where, remedy="read the host's log in the run folder")


def failure(results: Iterable[Result]) -> TaskFailedError:
    """One error for what failed, on one host or on several."""
    failed = list(results)
    first = failed[0]
    more = len(failed) - 1
    others = f", and on {more} other host{'s' if more > 1 else ''}" if more else ""
    what = f"the task {first.task!r} failed on {first.host}: {said(first.data)}{others}"
    return TaskFailedError(what, where=first.where, remedy="read tasks.jsonl and the host's log in the run folder")


def said(found: Mapping[str, Any]) -> str:
    """Why a result is one of a failure, in a line."""
    words = [str(found.get("msg") or ""), *(f"status {found['rc']}" for _ in (1,) if found.get("rc"))]
    last = (str(found.get("stderr") or found.get("module_stderr") or "").strip().splitlines() or [""])[-1]
    return "; ".join(word for word in (*words, last, str(found.get("censored") or "")) if word) or "it did not say why"
