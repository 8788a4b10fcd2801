"""Lists of tasks on hosts: side by side on all of them, task by task, as Ansible's strategy ``linear`` does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from estran.errors import RequestError, cause
from estran.spec.marks import Marks
from estran.spec.marks import Path as MarkPath
from estran.tasks.actions.gathering import setup
from estran.tasks.call import Call, Found
from estran.tasks.connection import Connection, TaskHost, User
from estran.tasks.doing import Doing, no_log, settled
from estran.tasks.errors import EvaluationError, FactsNeeded, TaskError
from estran.tasks.finder import Finder, as_folders
from estran.tasks.host_state import HostState, all_groups
from estran.tasks.including import INCLUDES, included_steps, wanted_files
from estran.tasks.jobs import Jobs
from estran.tasks.lookups import look_up
from estran.tasks.magic import Others, magic
from estran.tasks.result import Report, Result, censored, status_of
from estran.tasks.scope import Scope
from estran.tasks.task import Block, Step, Task, each_task, read_tasks
from estran.tasks.templating import Templates

OnResult = Callable[[Result], None]


class TaskRunner:
    """Does lists of tasks on hosts; keeps variables, workers and background tasks from one list to the next.

    Parameters
    ----------
    hosts
        Hosts by name, in the order in which they are to be named.
    variables
        Of each host; their values may hold expressions.
    groups
        Names of hosts by group.
    folders
        Where files are looked for: the folder of the tasks first.
    on_result
        Told every result when it is there.
    """

    def __init__(
        self,
        hosts: Mapping[str, TaskHost],
        *,
        variables: Mapping[str, Mapping[str, Any]] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        folders: Sequence[Path] = (),
        on_result: OnResult | None = None,
    ) -> None:
        self.states = {name: HostState(name, Connection(host), (variables or {}).get(name, {})) for name, host in hosts.items()}
        self.groups = all_groups(list(hosts), groups or {})
        self.finder = Finder(as_folders(folders))
        self.jobs = Jobs()
        self.templates = Templates(lambda kind, terms, options, names: look_up(kind, terms, options, names, self.finder))
        self._on_result = on_result
        self._stack = AsyncExitStack()
        self._controller: Connection | None = None
        self._arriving = asyncio.Lock()
        self._report = Report()
        self._playing: tuple[str, ...] = ()
        self._handlers: tuple[Task, ...] = ()
        self._notified: dict[str, set[str]] = {}
        self._over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.jobs.close()
        await asyncio.gather(*(state.connection.close() for state in self.states.values()))
        if self._controller is not None:
            await self._controller.close()
        await self._stack.aclose()

    async def run(
        self, tasks: Any, marks: Marks, path: MarkPath = (), *, hosts: Sequence[str] | None = None, handlers: Any = None
    ) -> Report:
        """Do a list of tasks.

        Parameters
        ----------
        tasks
            As plain data.
        marks, path
            Where their parts stand.
        hosts
            On which of the hosts; on all if not given.
        handlers
            Tasks that are done at the end where something notified them.

        Raises
        ------
        SpecErrors
            If a task is written wrongly: nothing was done then.
        RequestError
            If a task needs what is not installed.
        """
        steps = read_tasks(tasks, marks, path)
        self._handlers = tuple(each_task(read_tasks(handlers, marks, (*path, "handlers")))) if handlers else ()
        names = [name for name in self.states if hosts is None or name in hosts]
        self._playing, self._report, self._notified, self._over = tuple(names), Report(), {}, False
        for name in names:
            self.states[name].out = False
        self.finder = self.finder if self.finder.folders else Finder(as_folders([Path(marks.file).parent]))
        await self._list(steps, names)
        await self._flush()
        self._report.variables = {name: dict(self.states[name].found) for name in names}
        return self._report

    # Lists and blocks

    async def _list(self, steps: Sequence[Step], names: Sequence[str]) -> list[str]:
        """Do steps one after another; return the hosts that failed."""
        failed: list[str] = []
        for step in steps:
            going = [name for name in names if not self.states[name].out and name not in failed]
            if not going or self._over:
                break
            failed += await (self._task(step, going) if isinstance(step, Task) else self._block(step, going))
        return failed

    async def _block(self, block: Block, names: Sequence[str]) -> list[str]:
        failed = await self._list(block.tasks, names)
        if block.rescue and failed:
            rescued = [name for name in failed if not self.states[name].out]
            for name in rescued:
                self._report.failed.pop(name, None)
            failed = [name for name in failed if name not in rescued] + await self._list(block.rescue, rescued)
        failed += await self._list(block.always, [name for name in names if not self.states[name].out])
        return list(dict.fromkeys(failed))

    async def _task(self, task: Task, names: Sequence[str]) -> list[str]:
        if task.never:
            return []
        if task.module in INCLUDES:
            return await self._include(task, names)
        if task.module == "meta":
            return await self._meta(task, names)
        if task.get("run_once"):
            return await self._once(task, names)
        founds = await _side_by_side([partial(self._do, task, self.states[name]) for name in names], task.get("throttle"))
        failed = [name for name, found in zip(names, founds, strict=True) if self._take(task, name, *found)]
        return list(names) if failed and task.get("any_errors_fatal") else failed

    async def _once(self, task: Task, names: Sequence[str]) -> list[str]:
        """Do it on the first host; all register what it found and have the variables that it set."""
        found = await self._do(task, self.states[names[0]])
        for name in names[1:]:
            self._register(task, self.states[name], found[0])
            self.states[name].share(self.states[names[0]], task.module, found[0])
        if not self._take(task, names[0], *found):
            return []
        for name in names[1:]:
            self._report.failed[name] = replace(self._report.failed[names[0]], host=name)
        return list(names)

    async def _do(self, task: Task, state: HostState) -> Done:
        """Do a task on a host, gather facts if it turns out to need them; return what it found, its tier and seconds."""
        began = time.monotonic()
        while True:
            scope = self.scope(state, task)
            doing = Doing(task, state, scope, self)
            try:
                hidden, ignored = no_log(task, scope), self._ignored(task, scope)
                found = await doing.do()
                self._register(task, state, found)
                self._notify(task, state, scope, found)
                return found, doing.tier, time.monotonic() - began, hidden, ignored
            except FactsNeeded as need:
                await self._gather(task, self.states[need.host])
            except (RequestError, EvaluationError) as error:
                raise TaskError(error.what, where=task.where, remedy=error.remedy) from error

    def _notify(self, task: Task, state: HostState, scope: Scope, found: Found) -> None:
        if found.get("changed") and not found.get("failed") and task.get("notify"):
            given = scope.value(task.get("notify"))
            self.notify(state, [str(name) for name in (given if isinstance(given, list) else [given])])

    def _ignored(self, task: Task, scope: Scope) -> bool:
        try:
            return bool(scope.value(task.get("ignore_errors", False))) is True
        except EvaluationError:
            return False

    def _register(self, task: Task, state: HostState, found: Found) -> None:
        if task.get("register") is not None:
            state.found[str(task.get("register"))] = found

    def _take(self, task: Task, name: str, found: Found, tier: str, seconds: float, hidden: bool, ignored: bool) -> bool:
        """Record a result; return whether the host failed by it."""
        status = status_of(found, ignored=ignored)
        if status == "unreachable" and task.get("ignore_unreachable"):
            status = "ignored"
        data = censored(found) if hidden else found
        result = Result(name, self._shown(task, name), task.module, task.where, status, tier, data, seconds)
        self._report.results.append(result)
        if self._on_result is not None:
            self._on_result(result)
        if status not in ("failed", "unreachable"):
            return False
        state = self.states[name]
        state.out = status == "unreachable"
        self._report.failed[name] = result
        state.found |= {
            "ansible_failed_result": data,
            "ansible_failed_task": {"name": task.get("name") or "", "action": task.module},
        }
        return True

    def _shown(self, task: Task, name: str) -> str:
        """What a task calls itself on a host; as written if that cannot be evaluated."""
        try:
            return str(self.scope(self.states[name], task).value(task.name))
        except (EvaluationError, FactsNeeded):
            return task.name

    # Names

    def scope(self, state: HostState, task: Task | None = None) -> Scope:
        """Names of a task on a host."""
        local = (task.get("vars") if task is not None else None) or {}
        if not isinstance(local, Mapping):
            raise TaskError(
                "vars must be a map", where=task.where if task is not None else None, remedy="write such as {name: value}"
            )
        scope = state.scope(self.templates, self._magic(state), local)
        return scope.inside(({"vars": scope}, False))

    def _magic(self, state: HostState) -> dict[str, Any]:
        taking_part = [name for name in self._playing if not self.states[name].out]
        others = Others(list(self.states), lambda name: self.scope(self.states[name]))
        return magic(state, taking_part, self._playing, self.groups, str(self.finder.home()), others)

    async def _gather(self, task: Task, state: HostState) -> None:
        call = Call(task, state, state.connection, self.scope(state), {}, None, User(), {}, self.finder, self.jobs)
        found = await setup(call)
        if found.get("failed"):
            raise TaskError(f"the facts of {state.name} cannot be gathered: {found.get('msg')}", where=task.where)
        state.gathered = True

    async def target(self, name: str, state: HostState) -> Connection:
        """The host that a task is delegated to: one of ours, or this machine."""
        if name in self.states:
            return self.states[name].connection
        if name not in ("localhost", "127.0.0.1", "::1"):
            raise EvaluationError(
                f"delegate_to: there is no host {name!r}", remedy=f"name one of {', '.join(self.states)}, localhost"
            )
        return await self.controller()

    async def controller(self) -> Connection:
        """The machine of the controller, by an envoy of its own."""
        async with self._arriving:
            if self._controller is None:
                from estran.platforms.remote.bootstrap import local_host

                host = await self._stack.enter_async_context(local_host("localhost", f"tasks-{time.monotonic_ns()}"))
                self._controller = Connection(host)
            return self._controller

    # Including, handlers, meta

    async def _include(self, task: Task, names: Sequence[str]) -> list[str]:
        """Do the tasks of other files; hosts that include the same do them side by side."""
        failed: list[str] = []
        wanted = {name: await self._wanted(task, self.states[name]) for name in names}
        for name, found in wanted.items():
            if isinstance(found, dict):
                failed += (
                    [name]
                    if self._take(task, name, found, "native", 0.0, False, self._ignored(task, self.scope(self.states[name])))
                    else []
                )
        lists = {name: found for name, found in wanted.items() if isinstance(found, list)}
        for position in range(max(map(len, lists.values()), default=0)):
            for file in dict.fromkeys(found[position][0] for found in lists.values() if position < len(found)):
                group = [
                    name
                    for name, found in lists.items()
                    if position < len(found) and found[position][0] == file and name not in failed
                ]
                failed += await self._included(task, Path(file), {name: lists[name][position][1] for name in group})
        return failed

    async def _wanted(self, task: Task, state: HostState) -> list[tuple[str, dict[str, Any]]] | Found:
        """Files that a host includes, each with the names of its item, or what is to be registered instead."""
        while True:
            try:
                return wanted_files(task, self.scope(state, task), self.finder)
            except FactsNeeded as need:
                await self._gather(task, self.states[need.host])
            except EvaluationError as error:
                return settled({"failed": True, "msg": error.what})

    async def _included(self, task: Task, file: Path, names: Mapping[str, Mapping[str, Any]]) -> list[str]:
        steps = await included_steps(task, file)
        own = task.get("vars") or {}
        for name, local in names.items():
            self.states[name].parameters += [(own, True), (local, False)]
        before, self.finder = self.finder, self.finder.near(file.parent)
        try:
            return await self._list(steps, list(names))
        finally:
            self.finder = before
            for name in names:
                del self.states[name].parameters[-2:]

    def notify(self, state: HostState, handlers: list[str]) -> None:
        """Have handlers run on a host at the end."""
        for name in handlers:
            heard = [handler for handler in self._handlers if name in _names_of(handler)]
            if not heard:
                known = sorted({known for handler in self._handlers for known in _names_of(handler)})
                raise TaskError(f"there is no handler {name!r}", remedy=f"known handlers: {', '.join(known) or 'none'}")
            for handler in heard:
                self._notified.setdefault(handler.name, set()).add(state.name)

    async def _flush(self) -> None:
        """Run the handlers that were notified, in their order."""
        for handler in self._handlers:
            names = self._notified.pop(handler.name, set())
            going = [
                name for name in self._playing if name in names and name not in self._report.failed and not self.states[name].out
            ]
            if going:
                await self._task(handler, going)

    async def _meta(self, task: Task, names: Sequence[str]) -> list[str]:
        what = str(task.text or task.arguments.get("free_form") or "noop")
        meant = [name for name in names if self.scope(self.states[name], task).holds(task.get("when", True))]
        if what == "flush_handlers":
            await self._flush()
        elif what in ("end_play", "end_batch"):
            self._over = bool(meant)
        elif what == "end_host":
            for name in meant:
                self.states[name].out = True
        elif what == "clear_facts":
            for name in meant:
                self.states[name].facts, self.states[name].gathered = {}, False
        elif what not in ("noop", "refresh_inventory", "reset_connection", "clear_host_errors"):
            raise TaskError(
                f"meta: {what!r} is not built", where=task.where, remedy="use flush_handlers, end_play, end_host or noop"
            )
        return []


Done = tuple[Found, str, float, bool, bool]
"""What a task found on a host, its tier, its seconds, whether it is hidden, and whether its failure is ignored."""


async def _side_by_side(doing: Sequence[Callable[[], Coroutine[Any, Any, Done]]], most: Any) -> list[Done]:
    """Do a task on all hosts, on so many at a time as it says; if the list cannot go on, end it on all."""
    places = asyncio.Semaphore(most if isinstance(most, int) and most > 0 else max(len(doing), 1))

    async def placed(one: Callable[[], Coroutine[Any, Any, Done]]) -> Done:
        async with places:
            return await one()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(placed(one)) for one in doing]
    except ExceptionGroup as errors:
        raise cause(errors) from errors
    return [task.result() for task in tasks]


def _names_of(handler: Task) -> list[str]:
    listen = handler.get("listen") or []
    return [handler.name, *(listen if isinstance(listen, list) else [listen])]


async def run_tasks(
    tasks: Any,
    hosts: Mapping[str, TaskHost],
    *,
    marks: Marks | None = None,
    path: MarkPath = (),
    variables: Mapping[str, Mapping[str, Any]] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    folders: Sequence[Path] = (),
    on_result: OnResult | None = None,
    handlers: Any = None,
) -> Report:
    """Do one list of tasks on hosts, and end what it left in the background; see `TaskRunner` to keep that."""
    async with TaskRunner(hosts, variables=variables, groups=groups, folders=folders, on_result=on_result) as runner:
        return await runner.run(tasks, marks if marks is not None else Marks("tasks"), path, handlers=handlers)
