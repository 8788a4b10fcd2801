"""Tasks as Ansible's playbooks write them, read into typed data with the place of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from estran.errors import SpecError, SpecErrors, Where
from estran.spec.e2clab.ansible import TASK_KEYS
from estran.spec.marks import Marks, Path
from estran.spec.suggest import closest, did_you_mean
from estran.tasks import free_form
from estran.tasks.modules import ALIASES, FREE_FORM, REFUSED, is_known, known_modules, short_name

KEYWORDS: Final = TASK_KEYS
"""What a task may say beside its module."""
BLOCK: Final = ("block", "rescue", "always")
UNSUPPORTED: Final[Mapping[str, str]] = {
    "become_exe": "use become_method", "become_flags": "use become_user", "check_mode": "tasks are always done",
    "delegate_facts": "set the fact in a task of that host",
    "debugger": "run the task alone", "diff": "files before and after can be fetched", "module_defaults": "write the arguments out",
    "port": "hosts are reached by their envoys", "remote_user": "use become_user",
}  # fmt: skip
"""Keywords of Ansible that are refused, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Attributes
    ----------
    module
        Without the collections that are built in.
    arguments, text
        As written, expressions not evaluated; ``text`` is the free form (``shell: echo hi``).
    keywords
        As written, with those of the blocks around it.
    """

    module: str
    arguments: Mapping[str, Any]
    text: str | None
    keywords: Mapping[str, Any]
    where: Where

    @property
    def name(self) -> str:
        """What the task calls itself, or its module."""
        return str(self.keywords.get("name") or self.module)

    @property
    def never(self) -> bool:
        """Whether it is only there for those who ask for it by one of its tags, which nobody can here."""
        return "never" in [word.strip() for tag in _listed(self.keywords.get("tags")) for word in str(tag).split(",")]

    def get(self, keyword: str, default: Any = None) -> Any:
        """What a keyword says."""
        return self.keywords.get(keyword, default)

    def inheriting(self, outer: Mapping[str, Any]) -> Task:
        """The same task inside of something with these keywords."""
        return replace(self, keywords=inherited(outer, self.keywords))


@dataclass(frozen=True, slots=True)
class Block:
    """Tasks that belong together, what to do if one fails, and what to do in any case."""

    tasks: tuple[Step, ...]
    rescue: tuple[Step, ...]
    always: tuple[Step, ...]
    where: Where
    has_rescue: bool = False


Step = Task | Block


def inherited(outer: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords inside of others: conditions and environments add up, variables and the rest are overridden."""
    result = {key: value for key, value in outer.items() if key not in ("name", "register", "loop", "notify", "args")} | dict(own)
    for key in ("when", "environment", "tags"):
        if key in outer and key in own:
            result[key] = [*_listed(outer[key]), *_listed(own[key])]
    if "vars" in outer and "vars" in own:
        result["vars"] = {**(outer["vars"] or {}), **(own["vars"] or {})}
    return result


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def read_tasks(raw: Any, marks: Marks, path: Path = (), outer: Mapping[str, Any] | None = None) -> tuple[Step, ...]:
    """Read a list of tasks.

    Parameters
    ----------
    raw
        The list as plain data.
    marks, path
        Where its parts stand.
    outer
        Keywords of what is around it.

    Raises
    ------
    SpecErrors
        With all that is wrong in it.
    """
    reader = _TaskReader(marks)
    steps = reader.steps(raw, path, outer or {})
    if reader.errors:
        raise SpecErrors(reader.errors)
    return steps


@dataclass(slots=True)
class _TaskReader:
    marks: Marks
    errors: list[SpecError] = field(default_factory=list)

    def complain(self, path: Path, what: str, remedy: str | None) -> None:
        self.errors.append(SpecError(what, where=self.marks.where(path, "key"), remedy=remedy))

    def steps(self, raw: Any, path: Path, outer: Mapping[str, Any]) -> tuple[Step, ...]:
        if raw is None:
            return ()
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            self.complain(path, f"tasks must be a list, not {_kind(raw)}", "begin each task with '- '")
            return ()
        found = [self.step(item, (*path, index), outer) for index, item in enumerate(raw)]
        return tuple(step for step in found if step is not None)

    def step(self, raw: Any, path: Path, outer: Mapping[str, Any]) -> Step | None:
        if not isinstance(raw, Mapping):
            self.complain(path, f"a task must be a map, not {_kind(raw)}", "write such as '- shell: echo hi'")
            return None
        return self.block(raw, path, outer) if "block" in raw else self.task(raw, path, outer)

    def block(self, raw: Mapping[str, Any], path: Path, outer: Mapping[str, Any]) -> Block:
        own = {key: value for key, value in raw.items() if key not in BLOCK}
        for key in own:
            if key not in KEYWORDS:
                self.complain(
                    (*path, key), f"{key!r} is no keyword of a block", did_you_mean(key, {*KEYWORDS, *BLOCK}, kind="keyword")
                )
        self.refuse_unsupported(own, path)
        inner = inherited(outer, own)
        parts = [self.steps(raw.get(part), (*path, part), inner) for part in BLOCK]
        return Block(parts[0], parts[1], parts[2], self.marks.where(path, "key"), "rescue" in raw)

    def task(self, raw: Mapping[str, Any], path: Path, outer: Mapping[str, Any]) -> Task | None:
        raw = self.with_action(raw)
        modules = [key for key in raw if key not in KEYWORDS and not key.startswith("with_")]
        if len(modules) != 1:
            self.no_task(modules, path)
            return None
        keywords = {key: value for key, value in raw.items() if key != modules[0]}
        self.refuse_unsupported(keywords, path)
        name = short_name(modules[0])
        if name in REFUSED:
            self.complain((*path, modules[0]), f"the module {name!r} cannot be used here", REFUSED[name])
            return None
        if not is_known(name):
            self.complain(
                (*path, modules[0]), f"there is no module {modules[0]!r}", did_you_mean(name, known_modules(), kind="module")
            )
            return None
        arguments, text = self.arguments(name, raw[modules[0]], keywords.pop("args", None), (*path, modules[0]))
        keywords = inherited(outer, keywords)
        if keywords.get("connection") == "local":
            keywords.setdefault("delegate_to", "localhost")
        return Task(name, arguments, text, keywords, self.marks.where(path, "key"))

    def with_action(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write ``action: copy src=a`` as ``copy: src=a``; ``local_action`` is one that is delegated to the controller."""
        key = next((key for key in ("action", "local_action") if isinstance(raw.get(key), (str, Mapping))), None)
        if key is None:
            return raw
        others = {name: value for name, value in raw.items() if name != key}
        others |= {"delegate_to": "localhost"} if key == "local_action" else {}
        action = raw[key]
        if isinstance(action, str):
            name, _, rest = action.strip().partition(" ")
            return others | {name: rest}
        if "module" in action:
            return others | {str(action["module"]): {name: value for name, value in action.items() if name != "module"}}
        return raw

    def no_task(self, modules: list[str], path: Path) -> None:
        if not modules:
            self.complain(path, "the task names no module", "add one, such as 'shell: echo hi'")
            return
        for key in modules:
            if not is_known(key):
                word = closest(key, {*KEYWORDS, *known_modules()})
                remedy = f"did you mean {word!r}?" if word is not None else "name a module, or a keyword such as when or register"
                self.complain((*path, key), f"{key!r} is neither a module nor a keyword", remedy)
                return
        self.complain((*path, modules[1]), f"the task names two modules, {modules[0]!r} and {modules[1]!r}", "make two tasks of it")

    def refuse_unsupported(self, keywords: Mapping[str, Any], path: Path) -> None:
        for key in keywords:
            if key in UNSUPPORTED and keywords[key] not in (None, False, "smart"):
                self.complain((*path, key), f"the keyword {key!r} is not built", UNSUPPORTED[key])

    def arguments(self, name: str, value: Any, args: Any, path: Path) -> tuple[dict[str, Any], str | None]:
        """Arguments of a module, and the text of its free form."""
        found: dict[str, Any] = dict(args) if isinstance(args, Mapping) else {}
        text: str | None = None
        if isinstance(value, Mapping):
            found |= value
        elif isinstance(value, str) and value.strip():
            if name in FREE_FORM:
                text, options = free_form.command(value) if name in ("command", "shell", "script", "raw") else _named(value)
                found |= options
            elif (pairs := free_form.pairs(value)) is not None:
                found |= pairs
            elif value.strip().startswith("{{"):
                found["_from"] = value
            else:
                self.complain(path, f"{name} takes no free text: {value!r}", "write its arguments as a map, or as key=value")
        elif value is not None and not isinstance(value, str):
            self.complain(path, f"the arguments of {name} must be a map, not {_kind(value)}", "write such as 'path: /tmp/x'")
        if "_raw_params" in found:
            text = str(found.pop("_raw_params"))
        return {ALIASES.get(name, {}).get(str(key), str(key)): part for key, part in found.items()}, text


def _named(text: str) -> tuple[str | None, dict[str, str]]:
    """Text of a module that takes a name or ``key=value``."""
    found = free_form.pairs(text)
    return (text.strip(), {}) if found is None else (None, found)


def _kind(value: Any) -> str:
    return {"str": "a text", "dict": "a map", "list": "a list", "NoneType": "nothing"}.get(
        type(value).__name__, type(value).__name__
    )


def each_task(steps: Sequence[Step]) -> Iterator[Task]:
    """All tasks, also those in blocks."""
    for step in steps:
        if isinstance(step, Task):
            yield step
        else:
            yield from each_task((*step.tasks, *step.rescue, *step.always))
