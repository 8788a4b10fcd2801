"""What a play's launch runs on each of its machines, as one script of a shell, and what of it no script can say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from estran.e2clab.directory import Directory
from estran.e2clab.rendering import NotPlainError, render
from estran.errors import EstranError
from estran.spec.e2clab.ansible import short
from estran.spec.e2clab.model import Play, Scenario, Stage, Task
from estran.spec.e2clab.patterns import PatternError

_RUNNING: Final = ("shell", "command")
_HARMLESS: Final = frozenset(
    [
        "args",
        "async",
        "become",
        "become_flags",
        "become_method",
        "become_user",
        "changed_when",
        "ignore_errors",
        "name",
        "no_log",
        "poll",
        "register",
        "tags",
        "vars",
    ]
)
_OLD_ARGUMENT: Final = re.compile(r"\s+\b(chdir|creates|removes|executable)=(\S+)")
_BACKGROUND: Final = re.compile(r"(?:nohup\s+)?(.*?)\s*(?<!&)&\s*", re.DOTALL)


@dataclass(slots=True)
class Script:
    """What runs on some hosts, one after another, and the tasks that it is of.

    Attributes
    ----------
    variables
        Whether it reads variables of a configuration.
    """

    service: str
    text: str
    hosts: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    variables: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """A task that is not carried over, and why."""

    stage: Stage
    task: Task
    why: str


def scripts(scenario: Scenario, directory: Directory, variables: Mapping[str, Any]) -> tuple[list[Script], list[Left]]:
    """Scripts of the launch, those of one service and play with the same text together, and the tasks that are left.

    Parameters
    ----------
    directory
        Who is registered, with addresses as a script can write them.
    variables
        Those that hold everywhere, such as ``artifacts_dir``.
    """
    found: list[Script] = []
    left = [
        Left(stage, task, f"{stage} is not part of an experiment: do it before or after, or add it to a command")
        for stage in ("prepare", "finalize")
        for _, task in scenario.tasks(stage)
    ]
    names = {machine.host: service.name for service in scenario.services for machine in service.machines}
    for play in scenario.plays:
        tasks, others = _carried(play)
        left += others
        if tasks:
            found += _grouped(play, tasks, directory, variables, names, left)
    return found, left


def _carried(play: Play) -> tuple[list[Task], list[Left]]:
    tasks, left = [], []
    for task in play.stages.get("launch", ()):
        odd = sorted(key for key in task.data if key not in _HARMLESS and key != task.module)
        if task.module is None or short(task.module) not in _RUNNING:
            left.append(Left("launch", task, "only shell and command become services"))
        elif odd:
            left.append(Left("launch", task, f"a service has no {', '.join(odd)}"))
        else:
            tasks.append(task)
    return tasks, left


def _grouped(
    play: Play, tasks: list[Task], directory: Directory, variables: Mapping[str, Any], names: Mapping[str, str], left: list[Left]
) -> list[Script]:
    try:
        told = directory.variables(play)
    except (PatternError, EstranError) as error:
        left += [Left("launch", task, str(error)) for task in tasks]
        return []
    found: dict[tuple[str, str], Script] = {}
    for host, own in told.items():
        known = {**variables, **(play.keywords.get("vars") or {}), **own, "_self": _self(own["_self"])}
        lines, used = [], []
        for task in tasks:
            try:
                lines.append(_line(task, known))
                used.append(task)
            except NotPlainError as error:
                if not any(one.task is task for one in left):
                    left.append(Left("launch", task, f"it has {error}, which only a run can tell"))
        if lines:
            text = _joined(lines)
            script = found.setdefault((names[host], text), Script(names[host], text, tasks=used, variables="${env_" in text))
            script.hosts.append(host)
    return list(found.values())


def _self(own: Mapping[str, Any]) -> dict[str, Any]:
    """A host's own address as it can find it out itself, so that one script fits many hosts."""
    told = "${ESTRAN_ADDRESS}"
    address = str(own["__address__"])
    keys = ("__address__", "__address4__", "url", "url4")
    return {key: str(value).replace(address, told, 1) if key in keys else value for key, value in own.items()}


def _line(task: Task, variables: Mapping[str, Any]) -> str:
    """A task as a line of a shell; raises `NotPlainError`."""
    arguments = dict(_arguments(task))
    text = render(str(arguments["cmd"]).strip(), {**variables, **(task.data.get("vars") or {})})
    if short(task.module or "") == "command":
        text = " ".join(_quoted(word) for word in shlex.split(text))
    if "chdir" in arguments:
        text = f"cd {_quoted(render(str(arguments['chdir']), variables))} && {text}"
    for key, test in (("creates", "-e"), ("removes", "! -e")):
        if key in arguments:
            text = f"[ {test} {_quoted(render(str(arguments[key]), variables))} ] || {{ {text}; }}"
    return text


def _quoted(path: str) -> str:
    """A path in quotes that leave variables in it alone."""
    return f'"{path}"' if "$" in path else shlex.quote(path)


def _arguments(task: Task) -> Iterator[tuple[str, Any]]:
    """The command and where it runs, from a map, a text, or a text with old ``key=value`` words in it."""
    given = task.data[task.module or ""]
    yield from dict(task.data.get("args") or {}).items()
    if isinstance(given, Mapping):
        yield from {key: value for key, value in given.items() if key != "_raw_params"}.items()
        if "argv" in given:
            yield "cmd", shlex.join(map(str, given["argv"]))
        elif "_raw_params" in given:
            yield "cmd", given["_raw_params"]
        return
    text = str(given)
    yield from ((key, value) for key, value in _OLD_ARGUMENT.findall(text))
    yield "cmd", _OLD_ARGUMENT.sub("", text)


def _joined(lines: list[str]) -> str:
    """Lines as one script that stays in the foreground for as long as its last one runs."""
    last = _BACKGROUND.fullmatch(lines[-1])
    kept = [*lines[:-1], last[1] if last and "\n" not in lines[-1] else lines[-1]]
    return kept[0] if len(kept) == 1 else "\n".join(["set -e", *kept])
