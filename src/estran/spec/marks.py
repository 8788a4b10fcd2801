"""Where every key and value of a description stands, and the collection of all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from estran.errors import SpecError, SpecErrors, Where

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the root of a document: ``('network', 0, 'delay')``."""
Spot: TypeAlias = tuple[int, int]
"""Line and column, from 1."""


def dotted(path: Path) -> str:
    """Write a path as ``network.0.delay``."""
    return ".".join(str(part) for part in path)


def look_up(data: Any, path: Path) -> Any:
    """Return the value at a path, or None if the path leads nowhere."""
    for part in path:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


@dataclass(slots=True)
class Marks:
    """Positions of a document's parts, kept while values are replaced.

    Attributes
    ----------
    keys, values
        Position of each key (for a list item: of the item) and of each value.
    moved
        Subtrees whose text stands elsewhere: the path of a chosen factor level, or the label of an option.
    quoted
        Values that stand in quotes: their text begins a column later.
    """

    file: str
    keys: dict[Path, Spot] = field(default_factory=dict)
    values: dict[Path, Spot] = field(default_factory=dict)
    moved: dict[Path, Path | str] = field(default_factory=dict)
    quoted: set[Path] = field(default_factory=set)

    def rename(self, key: str, meant: str) -> None:
        """Let everything below a key at the top stand below another."""

        def renamed(path: Path) -> Path:
            return (meant, *path[1:]) if path[:1] == (key,) else path

        self.keys = {renamed(path): spot for path, spot in self.keys.items()}
        self.values = {renamed(path): spot for path, spot in self.values.items()}
        self.quoted = {renamed(path) for path in self.quoted}

    def where(self, path: Path, at: Literal["key", "value"] = "value") -> Where:
        """Position of a part, or of the nearest part around it that has one."""
        if at == "key" and path in self.keys:
            return Where(self.file, *self.keys[path])
        for length in range(len(path), -1, -1):
            head = path[:length]
            if head in self.moved:
                target = self.moved[head]
                return Where(target) if isinstance(target, str) else self.where(target + path[length:], at)
            known = (self.values if at == "value" and length == len(path) else self.keys).get(head)
            if known is not None:
                return Where(self.file, *known)
        return Where(self.file, 1, 1)


@dataclass(slots=True)
class Complaints:
    """Collects errors instead of stopping at the first.

    Attributes
    ----------
    muted
        Values that are known to be wrong (an unresolved ``${name}``): what else is said of them, or below them, is not noted.
    """

    marks: Marks
    muted: set[Path] = field(default_factory=set)
    errors: list[SpecError] = field(default_factory=list)
    _paths: set[Path] = field(default_factory=set)
    _known: set[tuple[Where, str]] = field(default_factory=set)

    def add(self, path: Path, what: str, remedy: str | None = None, *, at: Literal["key", "value"] = "value") -> None:
        """Note what is wrong at a path; the path is named in the text, since a line may hold many."""
        self._paths.add(path)
        if any(path[:length] in self.muted for length in range(len(path) + 1)):
            return
        where = self.marks.where(path, at)
        named = what if not path or where.file == f"--set {dotted(path)}" else f"{dotted(path)}: {what}"
        self.add_at(where, named, remedy)

    def about(self, *path: str | int) -> bool:
        """Whether something is wrong at a path or below it, so that nothing can be concluded from what is missing there."""
        return any(wrong[: len(path)] == path for wrong in self._paths)

    def add_at(self, where: Where, what: str, remedy: str | None = None) -> None:
        """Note what is wrong at a known place, once."""
        if (where, what) not in self._known:
            self._known.add((where, what))
            self.errors.append(SpecError(what, where=where, remedy=remedy))

    def stop_if_any(self) -> None:
        """Raise everything noted so far, in the order of the file, options last."""
        if self.errors:
            raise SpecErrors(sorted(self.errors, key=_position))


def _position(error: SpecError) -> tuple[bool, int, int]:
    where = error.where
    if not isinstance(where, Where) or where.line is None:
        return (True, 0, 0)
    return (False, where.line, where.column or 0)
