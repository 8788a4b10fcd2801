"""Other files' tasks: which file a host includes, and what it holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from estran.spec.document import read_ansible
from estran.tasks.errors import EvaluationError
from estran.tasks.finder import Finder
from estran.tasks.loops import loop_control, loop_items
from estran.tasks.scope import Scope
from estran.tasks.task import Step, Task, read_tasks

INCLUDES = ("include_tasks", "import_tasks")


def wanted_files(task: Task, scope: Scope, finder: Finder) -> list[tuple[str, dict[str, Any]]]:
    """Files that a host includes, each with the names of its item of a loop; raises EvaluationError if there is none such."""
    items = loop_items(task, scope, finder)
    control = loop_control(task, scope)
    names: list[dict[str, Any]] = [{}] if items is None else [control.names(items, number) for number in range(len(items))]
    near = finder.near(Path(task.where.file).absolute().parent)
    found = []
    for local in names:
        inner = scope.inside((local, False))
        if task.module == "include_tasks" and not inner.holds(task.get("when", True)):
            continue
        file = inner.value(task.text if task.text is not None else task.arguments.get("file"))
        if not file:
            raise EvaluationError(f"{task.module} names no file", remedy="write such as 'include_tasks: more.yml'")
        found.append((str(near.find("", str(file))), local))
    return found


async def included_steps(task: Task, file: Path) -> tuple[Step, ...]:
    """Tasks of a file; those that are imported inherit all keywords. Raises SpecErrors if it is written wrongly."""
    document = read_ansible(await asyncio.to_thread(file.read_text, "utf-8"), str(file))
    if task.module == "import_tasks":
        return read_tasks(document.data, document.marks, (), {key: value for key, value in task.keywords.items() if key != "name"})
    return read_tasks(document.data, document.marks, (), task.arguments.get("apply") or {})
