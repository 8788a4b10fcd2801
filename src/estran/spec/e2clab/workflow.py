"""Reading `workflow.yaml` and `workflow_env.yaml`: plays with their tasks, which stay as they are, and configurations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from estran.spec.e2clab.ansible import BLOCK_KEYS, PLAY_KEYS, TASK_KEYS, short
from estran.spec.e2clab.blocks import block, entries, known_keys, selectors, where
from estran.spec.e2clab.model import STAGES, Dependency, Note, Play, Task
from estran.spec.e2clab.page import Page, refuse
from estran.spec.e2clab.schema import Configurations, PlayEntry
from estran.spec.findings import findings
from estran.spec.marks import Path
from estran.spec.suggest import closest

_OWN: Final = ("hosts", "depends_on", *STAGES)
_MAPS: Final = ("vars", "args")


def read_workflow(page: Page, modules: Collection[str]) -> tuple[list[Play], list[Note]]:
    """Read the plays; what is wrong goes to the page's complaints.

    Parameters
    ----------
    modules
        Names of the modules that a task may use; full names of other collections' modules are not looked at.
    """
    if page.data is not None and not isinstance(page.data, list):
        refuse(page, "the file must be a list of plays", "begin each with '- hosts: …'")
        return [], []
    notes: list[Note] = []
    plays = [_play(page, value, path, modules, notes) for path, value in entries(page, page.data, (), of="play")]
    return [play for play in plays if play is not None], notes


def _play(page: Page, value: Any, path: Path, modules: Collection[str], notes: list[Note]) -> Play | None:
    if isinstance(value, Mapping):
        known_keys(page, value, (*_OWN, *PLAY_KEYS), path)
        _maps(page, value, path)
        selectors(page, value, path, ("hosts",))
        raw = value.get("depends_on")
        for index, one in enumerate(raw if isinstance(raw, list) else [raw]):
            selectors(page, one, _dependency(path, raw, index), ("service_selector",))
        stages = {stage: _tasks(page, value.get(stage), (*path, stage), modules) for stage in STAGES if value.get(stage)}
    entry = block(page, value, PlayEntry, path)
    if entry is None:
        return None
    depends_on = []
    for index, one in enumerate(entry.depends_on):
        place = _dependency(path, raw, index)
        if "grouping" not in one.model_fields_set:
            notes.append(Note(where(page, place), "no grouping is given: round_robin, as the first releases had it"))
        depends_on.append(Dependency(one.service_selector, one.prefix, one.grouping, one.array_info, where(page, place)))
    keywords = {key: setting for key, setting in value.items() if key not in _OWN}
    return Play(entry.hosts, tuple(depends_on), keywords, stages, where(page, path))


def _dependency(path: Path, raw: Any, index: int) -> Path:
    """Where a dependency stands: in a list, or alone as the first releases had it."""
    return (*path, "depends_on", index) if isinstance(raw, list) else (*path, "depends_on")


def _tasks(page: Page, value: Any, path: Path, modules: Collection[str]) -> tuple[Task, ...]:
    tasks = (_task(page, task, place, modules) for place, task in entries(page, value, path, of="task"))
    return tuple(task for task in tasks if task is not None)


def _task(page: Page, value: Any, path: Path, modules: Collection[str]) -> Task | None:
    if not isinstance(value, Mapping):
        page.complaints.add(path, "a task must be a map", "write '- shell: …', or another module with its arguments")
        return None
    _maps(page, value, path)
    if "block" in value:
        for part in BLOCK_KEYS:
            _tasks(page, value.get(part), (*path, part), modules)
        known_keys(page, {key: 0 for key in value if not _keyword(key)}, (*BLOCK_KEYS, *TASK_KEYS), path)
        return Task(value, None, path, where(page, path))
    module = _module(page, value, path, modules)
    return None if module is None else Task(value, module, path, where(page, path))


def _maps(page: Page, value: Mapping[str, Any], path: Path) -> None:
    """Refuse what is no map where only a map makes sense."""
    for key in _MAPS:
        if value.get(key) is not None and not isinstance(value[key], Mapping):
            page.complaints.add((*path, key), f"{key} must be a map", "write such as {name: value}")


def _keyword(key: str) -> bool:
    return key in TASK_KEYS or key.startswith("with_")


def _module(page: Page, task: Mapping[str, Any], path: Path, modules: Collection[str]) -> str | None:
    """The module of a task, by the only key that is no keyword, or by ``action:``."""
    for key in ("action", "local_action"):
        if key in task:
            named = task[key].get("module") if isinstance(task[key], Mapping) else str(task[key]).split(" ", 1)[0]
            return _known(page, str(named), (*path, key), modules, at_key=False)
    keys = [key for key in task if not _keyword(key)]
    known = [key for key in keys if short(key) in modules or key.count(".") >= 2]
    if len(known) == 1 and len(keys) > 1:
        for key in keys:
            if key not in known:
                page.complaints.add((*path, key), f"unknown key {key!r} of a task", _meant(key, TASK_KEYS), at="key")
        return known[0]
    if len(keys) > 1:
        page.complaints.add(
            (*path, keys[1]), f"a task has one module, and this one has {', '.join(keys)}", "make two of it", at="key"
        )
        return None
    if not keys:
        page.complaints.add(path, "the task has no module", "add one, such as shell: with a command")
        return None
    return _known(page, keys[0], (*path, keys[0]), modules, at_key=True)


def _known(page: Page, module: str, path: Path, modules: Collection[str], *, at_key: bool) -> str | None:
    if short(module) in modules or (module.count(".") >= 2 and short(module) == module):
        return module
    remedy = _meant(short(module), (*sorted(modules), *TASK_KEYS))
    page.complaints.add(path, f"there is no module {module!r}", remedy, at="key" if at_key else "value")
    return None


def _meant(wrong: str, known: Collection[str]) -> str:
    """A near name, or how to name a module of a collection."""
    meant = closest(wrong, known)
    return f"did you mean {meant!r}?" if meant else "a module of a collection needs its full name, such as ansible.posix.mount"


def read_configurations(page: Page) -> dict[str, dict[str, Any]]:
    """Read variables by configuration; what is wrong goes to the page's complaints."""
    if page.data is None:
        return {}
    if not isinstance(page.data, Mapping):
        refuse(page, "the file must be a map of configurations", "write a name, and below it key: value")
        return {}
    try:
        return TypeAdapter(Configurations).validate_python(page.data)
    except ValidationError as error:
        for found in findings(error, page.data, Configurations):
            page.complaints.add(found.path, found.what, found.remedy, at="key" if found.on_key else "value")
        return {}
