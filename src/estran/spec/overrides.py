"""Changes from the command line: ``placement=cloud`` chooses a level, ``network.0.delay=10ms`` rewrites the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estran.errors import Where
from estran.spec.document import Document, parse_value
from estran.spec.factors import Choice, Levels, cyclic, used_factors
from estran.spec.marks import Path
from estran.spec.model import Variation
from estran.spec.suggest import did_you_mean
from estran.spec.varied import home

_NAMED = ("layers", "services", "devices", "links", "factors")
"""Blocks whose keys are names that the file defines: an option cannot bring a new one by accident."""


def choose(
    document: Document,
    variations: Mapping[str, Variation],
    assignment: Mapping[str, Any],
    overrides: Sequence[str],
    top: Sequence[str],
) -> Choice:
    """Apply all options to a document and return the level in force for each factor.

    Later sources win: default of the file, the file's ``assignment:`` block, ``assignment``, ``overrides``. ``top`` lists
    the top-level keys that a file may have.
    """
    rewrites: list[tuple[str, Path, Any]] = []
    levels: Levels = {name: list(one.levels) for name, one in variations.items()}
    chosen: dict[str, tuple[Any, Path | str]] = {
        name: (one.default, home(document, name, one.default) or ("factors", name))
        for name, one in variations.items()
        if one.levels
    }
    for name, value in _recorded(document, levels).items():
        chosen[name] = (value, home(document, name, value) or ("assignment", name))
    for name, value in assignment.items():
        if name in levels:
            chosen[name] = (value, home(document, name, value) or f"assignment of {name}")
        else:
            document.complaints.add_at(Where(f"assignment of {name}"), "no such factor", did_you_mean(name, levels, kind="factor"))
    for option in overrides:
        parsed = _parse(document, option)
        if parsed is None:
            continue
        label, path, value = parsed
        if len(path) == 1 and path[0] in levels:
            chosen[str(path[0])] = (value, label)
        else:
            rewrites.append(parsed)
    _refuse_settled(document, levels, chosen)
    _refuse_idle(document, variations, assignment, chosen)
    for label, path, value in rewrites:
        _Rewrite(document, label, levels, top).apply(path, value)
    broken = cyclic(levels)
    kept = {name: pair for name, pair in chosen.items() if name not in broken}
    return Choice({name: pair[0] for name, pair in kept.items()}, {name: pair[1] for name, pair in kept.items()})


def _recorded(document: Document, levels: Levels) -> dict[str, Any]:
    """The file's own ``assignment:`` block, as a resolved file has it."""
    block = document.data.get("assignment")
    if block is None:
        return {}
    if not isinstance(block, dict):
        document.complaints.add(("assignment",), "must be a map of factors to levels", "write for example placement: cloud")
        return {}
    for name in block:
        if name not in levels:
            remedy = did_you_mean(name, levels, kind="factor")
            document.complaints.add(("assignment", name), "no such factor", remedy, at="key")
    return {name: value for name, value in block.items() if name in levels}


def _refuse_settled(document: Document, levels: Levels, chosen: Mapping[str, tuple[Any, Path | str]]) -> None:
    """Complain of another level for a factor that a resolved file no longer refers to: it would change nothing."""
    recorded = _recorded(document, levels)
    open_ones = used_factors(document, levels)
    for name, (value, origin) in chosen.items():
        if name in recorded and name not in open_ones and value != recorded[name]:
            where = Where(origin) if isinstance(origin, str) else Where(f"assignment of {name}")
            what = f"the level {recorded[name]!r} of {name} is already written in: this file is resolved"
            document.complaints.add_at(where, what, "change the values themselves, or start from the original file")


def _refuse_idle(
    document: Document,
    variations: Mapping[str, Variation],
    assignment: Mapping[str, Any],
    chosen: Mapping[str, tuple[Any, Path | str]],
) -> None:
    """Complain of assigned levels of factors that do not count beside the others': the run would not be what it is taken for."""
    for name, value in assignment.items():
        when = variations[name].when if name in variations else {}
        idle = next((other for other, allowed in when.items() if other in chosen and chosen[other][0] not in allowed), None)
        if idle is not None and value != variations[name].default:
            what = f"{value!r} does not count where {idle} is {chosen[idle][0]}"
            where = Where(f"assignment of {name}")
            document.complaints.add_at(where, what, f"leave it at its default, {variations[name].default}")


def _parse(document: Document, option: str) -> tuple[str, Path, Any] | None:
    name, equals, text = option.partition("=")
    name = name.strip()
    label = f"--set {name}"
    if not equals or not name:
        document.complaints.add_at(Where(f"--set {option}"), "is not of the form path=value", "write for example --set seed=7")
        return None
    try:
        value = parse_value(text)
    except ValueError as error:
        document.complaints.add_at(Where(label), f"{text!r} is not a YAML value: {error}", "quote it")
        return None
    return label, tuple(int(part) if part.isascii() and part.isdigit() else part for part in name.split(".")), value


class _Rewrite:
    """Puts one value at one path of a document."""

    def __init__(self, document: Document, label: str, levels: Levels, top: Sequence[str]) -> None:
        self._document = document
        self._label = label
        self._levels = levels
        self._top = top

    def apply(self, path: Path, value: Any) -> None:
        if path[0] not in self._top:
            names = [*self._levels, *self._top]
            self._refuse(f"there is no factor or key {path[0]!r}", did_you_mean(str(path[0]), names, kind="name"))
            return
        node: Any = self._document.data
        trail: Path = ()
        for depth, part in enumerate(path[:-1]):
            node, trail = (
                self._step(node, part, trail, rest=len(path) - depth),
                (*trail, part if isinstance(node, list) else str(part)),
            )
            if node is None:
                return
        if self._put(node, path[-1], trail, value):
            real = (*trail, path[-1] if isinstance(node, list) else str(path[-1]))
            self._forget(real)
            self._document.marks.moved[real] = self._label

    def _step(self, node: Any, part: str | int, trail: Path, *, rest: int) -> Any:
        """The part below a node; a missing map is made, unless that would invent a name."""
        if isinstance(node, list):
            return node[int(part)] if self._index(node, part, trail) else None
        key = str(part)
        if not isinstance(node, dict):
            return self._refuse(f"{'.'.join(map(str, trail))} is no map, so {part!r} cannot be set in it")
        if node.get(key) is None:
            if len(trail) == 1 and trail[0] in _NAMED and rest > 1:
                return self._refuse(f"there is no {key!r} in {trail[0]}", did_you_mean(key, node))
            node[key] = {}
        return node[key]

    def _put(self, node: Any, part: str | int, trail: Path, value: Any) -> bool:
        if isinstance(node, list):
            if not self._index(node, part, trail):
                return False
            node[int(part)] = value
        elif isinstance(node, dict):
            node[str(part)] = value
        else:
            self._refuse(f"{'.'.join(map(str, trail))} is no map, so {part!r} cannot be set in it")
            return False
        return True

    def _index(self, node: list[Any], part: str | int, trail: Path) -> bool:
        if isinstance(part, int) and part < len(node):
            return True
        have = "is empty" if not node else f"has entries 0 to {len(node) - 1}"
        self._refuse(f"{'.'.join(map(str, trail))} {have}, so there is no {part!r}")
        return False

    def _forget(self, path: Path) -> None:
        """Drop what marks knew of the old value."""
        for table in (self._document.marks.keys, self._document.marks.values):
            for old in [known for known in table if known[: len(path)] == path]:
                del table[old]

    def _refuse(self, what: str, remedy: str | None = None) -> None:
        self._document.complaints.add_at(Where(self._label), what, remedy)
