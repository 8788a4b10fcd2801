"""Over what a task is repeated: ``loop``, ``with_…`` and ``loop_control``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from estran.tasks.errors import EvaluationError
from estran.tasks.finder import Finder
from estran.tasks.lookups import look_up
from estran.tasks.scope import Scope
from estran.tasks.task import Task

_ALONE = ("dict", "fileglob", "first_found", "items", "sequence")
"""Lookups that take one term where others take a list of terms."""


_CONTROLS = ("loop_var", "index_var", "label", "pause", "extended")


@dataclass(frozen=True, slots=True)
class LoopControl:
    """How the items of a loop are called, and how long to wait between them."""

    variable: str = "item"
    index: str | None = None
    pause: float = 0.0
    extended: bool = False

    def names(self, items: list[Any], number: int) -> dict[str, Any]:
        """Variables of one item."""
        found: dict[str, Any] = {self.variable: items[number], "ansible_loop_var": self.variable}
        if self.index is not None:
            found |= {self.index: number, "ansible_index_var": self.index}
        if self.extended:
            count = len(items)
            found["ansible_loop"] = {
                "index": number + 1, "index0": number, "revindex": count - number, "revindex0": count - number - 1,
                "first": number == 0, "last": number == count - 1, "length": count, "allitems": items,
            }  # fmt: skip
            if number:
                found["ansible_loop"]["previtem"] = items[number - 1]
            if number < count - 1:
                found["ansible_loop"]["nextitem"] = items[number + 1]
        return found


def loop_control(task: Task, scope: Scope) -> LoopControl:
    """Read ``loop_control``; raises EvaluationError if it is wrong."""
    raw = task.get("loop_control") or {}
    if not isinstance(raw, Mapping):
        raise EvaluationError("loop_control must be a map", remedy="write such as {loop_var: name}")
    for key in raw:
        if key not in _CONTROLS:
            raise EvaluationError(f"loop_control: {key!r} is not built", remedy=f"use {', '.join(_CONTROLS)}")
    given = scope.value({key: value for key, value in raw.items() if key != "label"})  # a label is for Ansible's screen
    index = None if given.get("index_var") is None else str(given["index_var"])
    try:
        pause = float(given.get("pause", 0))
    except (TypeError, ValueError):
        raise EvaluationError(f"loop_control: pause: {given['pause']!r} is no number", remedy="write seconds") from None
    return LoopControl(str(given.get("loop_var", "item")), index, pause, bool(given.get("extended", False)))


def loop_key(task: Task) -> str | None:
    """The keyword by which a task is repeated; None if it is not."""
    return next((key for key in task.keywords if key == "loop" or key.startswith("with_")), None)


def loop_items(task: Task, scope: Scope, finder: Finder) -> list[Any] | None:
    """Items of a task's loop; None if it has none. Raises EvaluationError if they are no list."""
    key = loop_key(task)
    if key is None:
        return None
    value = scope.value(task.get(key))
    if key == "loop":
        if not isinstance(value, list):
            raise EvaluationError(
                f"The `loop` value must resolve to a 'list', not {type(value).__name__!r}.",
                remedy="use with_dict or | dict2items for maps",
            )
        return value
    kind = key.removeprefix("with_")
    terms = value if isinstance(value, list) and not (kind in _ALONE and isinstance(task.get(key), Mapping)) else [value]
    options: Mapping[str, Any] = {}
    if kind == "sequence" and isinstance(value, Mapping):
        terms, options = [], value
    return look_up(kind, terms, options, scope, finder)
