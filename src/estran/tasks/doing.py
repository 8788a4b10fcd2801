"""One task on one host: its conditions, repetitions and what is registered of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from estran.errors import EstranError, PlatformError, RequestError
from estran.tasks import loops
from estran.tasks.actions.registry import ACTIONS, ON_HOST
from estran.tasks.call import Call, Found, failure
from estran.tasks.connection import Connection, User
from estran.tasks.errors import EvaluationError
from estran.tasks.filters import to_bool
from estran.tasks.finder import Finder
from estran.tasks.foreign import run_foreign
from estran.tasks.host_state import HostState
from estran.tasks.jobs import Jobs
from estran.tasks.modules import Tier, tier
from estran.tasks.playbook import run_playbook
from estran.tasks.scope import Scope
from estran.tasks.task import Task

RETRIES: Final = 3
DELAY: Final = 5.0
"""Seconds between two tries, where a task does not say; both are Ansible's."""


class Surroundings(Protocol):
    """What doing a task needs of the play."""

    finder: Finder
    jobs: Jobs

    async def target(self, name: str, state: HostState) -> Connection:
        """The host that a task is delegated to."""
        ...

    async def controller(self) -> Connection:
        """The machine of the controller."""
        ...


@dataclass(slots=True)
class Doing:
    """A task on a host.

    Attributes
    ----------
    tier
        How it was done, once it was.
    """

    task: Task
    state: HostState
    scope: Scope
    around: Surroundings
    tier: Tier = "native"

    async def do(self) -> Found:
        """Do it, for all items; return what is registered."""
        try:
            control = loops.loop_control(self.task, self.scope)
            items = self._items()
        except EvaluationError as error:
            return self._undone(error)
        if items is None:
            return settled(await self._safely(self.scope))
        return await self._each(items, control)

    def _items(self) -> list[Any] | None:
        """Items of the loop; none matter if a condition that needs none does not hold."""
        try:
            return loops.loop_items(self.task, self.scope, self.around.finder)
        except EvaluationError:
            if self._false_condition(self.scope) is None:
                raise
            return None

    def _undone(self, error: EstranError) -> Found:
        remedy = f" ({error.remedy})" if error.remedy else ""
        return settled(failure(f"{error.what}{remedy}"))

    async def _each(self, items: list[Any], control: loops.LoopControl) -> Found:
        if not items:
            return {"changed": False, "skipped": True, "skipped_reason": "No items in the list", "results": []}
        results: list[Found] = []
        for number in range(len(items)):
            if number and control.pause:
                await asyncio.sleep(control.pause)
            names = control.names(items, number)
            found = settled(await self._safely(self.scope.inside((names, False))))
            results.append({**found, **names})
            if found.get("unreachable"):
                break
        return _together(results)

    async def _safely(self, scope: Scope) -> Found:
        """Do it once; what cannot be evaluated is a failure of the task, a host that has gone is unreachable."""
        try:
            return await self._once(scope)
        except EvaluationError as error:
            return self._undone(error)
        except RequestError:
            raise
        except PlatformError as error:
            return {"unreachable": True, "msg": str(error), "changed": False}
        except EstranError as error:
            return self._undone(error)
        except (OSError, UnicodeError) as error:  # of a file of the controller
            return settled(failure(f"{getattr(error, 'filename', None) or self.task.module}: {error}"))

    def _false_condition(self, scope: Scope) -> Any:
        return scope.false_condition(self.task.get("when", True))

    async def _once(self, scope: Scope) -> Found:
        false = self._false_condition(scope)
        if false is not None:
            return {"changed": False, "skipped": True, "skip_reason": "Conditional result was False", "false_condition": false}
        call = await self._call(scope)
        seconds = number_of(self.task, scope, "async", 0)
        if seconds > 0 and self.tier == "native" and self.task.module not in ON_HOST:
            return failure(f"This action ({self.task.module}) does not support async.")
        if seconds > 0:
            return await self._in_background(call, scope, seconds)
        return self._judged(scope, await self._tried(call, scope))

    async def _call(self, scope: Scope) -> Call:
        task = self.task
        arguments, text = evaluated(task, scope)
        self.tier = tier(task.module, frozenset(arguments) - {"_raw_params"})
        where = task.get("delegate_to")
        target = self.state.connection if where is None else await self.around.target(str(scope.value(where)), self.state)
        timeout = number_of(task, scope, "timeout", 0)
        return Call(
            task, self.state, target, scope, arguments, text, user_of(task, scope), environment_of(task, scope),
            self.around.finder, self.around.jobs, timeout=timeout or None, no_log=no_log(task, scope),
        )  # fmt: skip

    async def _tried(self, call: Call, scope: Scope) -> Found:
        """Do it until its condition holds, as often as it says."""
        until = self.task.get("until")
        if until is None and self.task.get("retries") is None:
            return await self._acted(call)
        retries = int(number_of(self.task, scope, "retries", RETRIES))
        delay = number_of(self.task, scope, "delay", DELAY)
        for attempt in range(1, max(retries, 0) + 2):
            found = self._judged(scope, finished(await self._acted(call)))
            found["attempts"] = attempt
            if self._registered(scope, found).holds(until) if until is not None else not found.get("failed"):
                return found
            if attempt <= retries:
                await asyncio.sleep(max(0.0, delay))
                call.arguments, call.text = evaluated(self.task, scope)
        return {**found, "attempts": retries, "failed": True}

    async def _acted(self, call: Call) -> Found:
        module = self.task.module
        if self.tier == "native":
            found = await ACTIONS[module](call)
        elif self.tier == "module":
            found = await run_foreign(call, module)
        else:
            found = await run_playbook(call, await self.around.controller())
        if found.get("timedout") and call.timeout is not None:
            period = int(call.timeout)
            return failure(f"Task failed: Timed out after {period} second(s).", timedout={"period": period})
        return found

    async def _in_background(self, call: Call, scope: Scope, seconds: float) -> Found:
        """Do it beside the other tasks; wait for it unless ``poll`` is 0."""
        call = replace(call, timeout=seconds)

        async def work() -> Found:
            try:
                found = finished(await self._acted(call))
            except EstranError as error:
                return settled(failure(str(error)))
            if found.get("timedout"):
                found = failure(f"async task did not complete within the requested time - {seconds:g}s", timedout=True)
            return finished(found)

        if number_of(self.task, scope, "poll", 1) == 0:
            return self.around.jobs.begin(call.target.host.name, self.task.name, self.task.where, work, no_log=call.no_log)
        return self._judged(scope, {**await work(), "started": True, "finished": True})

    def _registered(self, scope: Scope, found: Found) -> Scope:
        """Names when the result is known."""
        name = self.task.get("register")
        return scope if name is None else scope.inside(({str(name): found}, False))

    def _judged(self, scope: Scope, found: Found) -> Found:
        """Let the task say itself whether it failed or changed anything."""
        found = finished(found)
        names = self._registered(scope, found)
        if self.task.get("changed_when") is not None:
            found["changed"] = names.holds(self.task.get("changed_when"))
        if self.task.get("failed_when") is not None:
            found["failed"] = found["failed_when_result"] = names.holds(self.task.get("failed_when"))
        return found


def evaluated(task: Task, scope: Scope) -> tuple[dict[str, Any], str | None]:
    """Arguments and text of a task with all expressions evaluated."""
    raw = dict(task.arguments)
    if task.module == "debug" and isinstance(raw.get("var"), str):
        arguments = {**scope.value({key: value for key, value in raw.items() if key != "var"}), "var": raw["var"]}
    else:
        arguments = scope.value(raw)
    if "_from" in arguments:
        given = arguments.pop("_from")
        if not isinstance(given, Mapping):
            raise EvaluationError(f"the arguments of {task.module} must be a map", remedy="write such as 'path: /tmp/x'")
        arguments = {**given, **arguments}
    return arguments, None if task.text is None else _line(scope.value(task.text))


def _line(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def number_of(task: Task, scope: Scope, keyword: str, default: float) -> float:
    """Read a keyword that is a number; raises EvaluationError if it is none."""
    value = scope.value(task.get(keyword))
    if value is None or value == "":
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EvaluationError(f"{keyword}: {value!r} is no number", remedy="write such as 5") from None


def user_of(task: Task, scope: Scope) -> User:
    """As whom a task is done."""
    become = scope.value(task.get("become"))
    if become is None and "ansible_become" in scope:
        become = scope["ansible_become"]
    if not to_bool(become):
        return User()
    name = scope.value(task.get("become_user")) or scope.get("ansible_become_user", "root")
    method = scope.value(task.get("become_method")) or "sudo"
    return User(str(name), str(method))


def environment_of(task: Task, scope: Scope) -> dict[str, str]:
    """Environment of a task, inner ones over outer ones."""
    given = scope.value(task.get("environment"))
    merged: dict[str, str] = {}
    for part in given if isinstance(given, list) else [given]:
        if part is not None and not isinstance(part, Mapping):
            raise EvaluationError("environment must be a map of names and values", remedy="write such as {NAME: value}")
        merged |= {str(key): _environment_text(value) for key, value in (part or {}).items()}
    return merged


def _environment_text(value: Any) -> str:
    return "" if value is None else str(value)


def no_log(task: Task, scope: Scope) -> bool:
    """Whether nothing of a task is to be printed or kept."""
    return bool(to_bool(scope.value(task.get("no_log"))))


def finished(found: Found) -> Found:
    """Add what every result says."""
    for channel in ("stdout", "stderr"):
        if isinstance(found.get(channel), str) and f"{channel}_lines" not in found:
            found[f"{channel}_lines"] = found[channel].splitlines()
    if "failed" not in found and not found.get("skipped"):
        found["failed"] = found.get("rc") not in (None, 0, "0")
    found.setdefault("changed", False)
    return found


def settled(found: Found) -> Found:
    """A result as it is registered."""
    if found.get("skipped") or found.get("unreachable"):
        return found
    return finished(found)


def _together(results: list[Found]) -> Found:
    """What is registered of a loop."""
    found: Found = {
        "results": results,
        "changed": any(result.get("changed") for result in results),
        "skipped": all(result.get("skipped") for result in results),
        "msg": "All items completed",
    }
    if found["skipped"]:
        found["msg"] = "All items skipped"
    if any(result.get("unreachable") for result in results):
        found |= {"unreachable": True, "msg": results[-1].get("msg", "")}
    elif any(result.get("failed") for result in results):
        found |= {"failed": True, "msg": "One or more items failed"}
    return found
