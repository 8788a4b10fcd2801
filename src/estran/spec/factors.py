"""Factors: choosing a level for each, and writing the levels where ``${name}`` stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from estran.spec.document import Document
from estran.spec.marks import Path
from estran.spec.suggest import closest, did_you_mean

_REFERENCE: Final = re.compile(r"\$(\$)?\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
PLAIN: Final = ("factors", "assignment", "claims")
"""Blocks of the document in which nothing is substituted."""

Levels: TypeAlias = dict[str, list[Any]]


@dataclass(slots=True)
class Choice:
    """The level in force for each factor, and where its text stands (a path, or the label of an option)."""

    levels: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Path | str] = field(default_factory=dict)


def read_factors(document: Document) -> Levels:
    """Take the ``factors:`` block out of a document; complaints about it go to the document."""
    complain = document.complaints.add
    block = document.data.get("factors")
    if block is None:
        return {}
    if not isinstance(block, dict):
        complain(("factors",), "must be a map of names to lists of levels", "write for example placement: [edge, cloud]")
        return {}
    levels: Levels = {}
    for name, values in block.items():
        path = ("factors", name)
        if not _NAME.fullmatch(name):
            complain(path, f"{name!r} cannot name a factor", "use letters, digits, - and _, beginning with a letter", at="key")
        elif not isinstance(values, list) or not values:
            example = values if values not in (None, [], {}) else "a, b"
            complain(path, "must be a list with at least one level", f"write {name}: [{example}]")
            levels[name] = [] if values in (None, [], {}) else [values]
        else:
            _refuse_twins(document, path, values)
            levels[name] = values
    return levels


def _refuse_twins(document: Document, path: Path, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if any(value == earlier and type(value) is type(earlier) for earlier in values[:index]):
            document.complaints.add((*path, index), f"the level {value!r} occurs twice", "keep one of the two")


def references(value: Any) -> Iterator[str]:
    """Names in every ``${name}`` below a value."""
    if isinstance(value, str):
        yield from (match[2] for match in _REFERENCE.finditer(value) if match[1] is None)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def used_factors(document: Document, levels: Levels) -> set[str]:
    """Names that the document refers to, directly or through the levels of other factors."""
    used = {name for key, value in document.data.items() if key not in PLAIN for name in references(value)}
    pending = list(used)
    while pending:
        inner = set(references(levels.get(pending.pop(), []))) - used
        used |= inner
        pending.extend(inner)
    return used


def check_references(document: Document, levels: Levels) -> None:
    """Complain of factors that nothing uses, and of cycles among their levels; undefined names are met on substitution."""
    used = used_factors(document, levels)
    resolved = document.data.get("assignment")
    kept = set(resolved) if isinstance(resolved, dict) else set()
    kept |= {str(closest(name, levels)) for name in used - set(levels)}
    for name in levels:
        if name not in used and name not in kept:
            remedy = f'write "${{{name}}}" where its level belongs, or remove the factor'
            document.complaints.add(("factors", name), "nothing uses this factor", remedy, at="key")
    for cycle in _cycles(levels):
        document.complaints.add(
            ("factors", cycle[0]), f"refers to itself: {' → '.join((*cycle, cycle[0]))}", "break the cycle", at="key"
        )


def _cycles(levels: Levels) -> list[tuple[str, ...]]:
    """Each cycle once, beginning with its first factor in the file."""
    graph = {name: [inner for inner in dict.fromkeys(references(values)) if inner in levels] for name, values in levels.items()}
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            cycle = trail[trail.index(name) :]
            found.setdefault(frozenset(cycle), tuple(cycle))
        elif name not in done:
            for inner in graph[name]:
                visit(inner, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return list(found.values())


def cyclic(levels: Levels) -> set[str]:
    """Factors that are part of a cycle."""
    return {name for cycle in _cycles(levels) for name in cycle}


def substitute(document: Document, choice: Choice) -> dict[str, Any]:
    """Return the document's data with every reference replaced by its level.

    A scalar that is nothing but ``${name}`` becomes the level with its type; inside a longer text the level is written as
    text; ``$${name}`` stands for a literal ``${name}``. Chosen levels that refer to other factors must not form a cycle.
    """
    writer = _Writer(document, choice)
    return {key: value if key in PLAIN else writer.value(value, (key,)) for key, value in document.data.items()}


class _Writer:
    def __init__(self, document: Document, choice: Choice) -> None:
        self._document = document
        self._choice = choice

    def value(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) and "${" in value else value

    def _text(self, text: str, path: Path) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole is not None and whole[1] is None:
            if not self._known(whole[2], path):
                self._document.complaints.muted.add(path)
                return text
            self._document.marks.moved[path] = self._choice.origins[whole[2]]
            return self.value(self._choice.levels[whole[2]], path)
        missing = [m[2] for m in _REFERENCE.finditer(text) if m[1] is None and not self._known(m[2], path)]
        if missing:
            self._document.complaints.muted.add(path)
            return text
        return _REFERENCE.sub(lambda match: self._part(match, path), text)

    def _part(self, match: re.Match[str], path: Path) -> str:
        if match[1] is not None:
            return "${" + match[2] + "}"
        level = self.value(self._choice.levels[match[2]], path)
        if isinstance(level, dict | list):
            self._document.complaints.add(path, f"the level of {match[2]!r} is a {_kind(level)}, which cannot stand inside a text")
        return str(level).lower() if isinstance(level, bool) or level is None else str(level)

    def _known(self, name: str, path: Path) -> bool:
        if name in self._choice.levels:
            return True
        declared = self._document.data.get("factors")
        if not isinstance(declared, dict) or name not in declared:
            remedy = did_you_mean(name, self._choice.levels, kind="factor")
            hint = "" if self._choice.levels else "; a literal ${…} is written $${…}"
            self._document.complaints.add(path, f"${{{name}}} is not a factor", remedy + hint)
        return False


def _kind(value: Any) -> str:
    return "map" if isinstance(value, Mapping) else "list"


def escape(value: Any) -> Any:
    """Write resolved plain data so that loading it finds no references: ``${x}`` becomes ``$${x}``."""
    if isinstance(value, dict):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
