"""How each factor varies: a list of levels, a map with levels, a default and a condition, or a range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from estran.spec.document import Document
from estran.spec.marks import Path
from estran.spec.model import Variation
from estran.spec.ranges import Range, RangeError, is_number
from estran.spec.suggest import did_you_mean

KEYS: Final = ("from", "to", "scale", "step", "levels", "default", "when")
_SCALES: Final = ("linear", "log")
_SHOWN: Final = (
    "write for example {from: 1, to: 64}, {from: 0.1s, to: 10s, scale: log, default: 1s} or {levels: [a, b], default: b}"
)
Conditions = dict[str, tuple[Any, ...]]


def variation(document: Document, name: str, value: Any) -> Variation:
    """What is written for one factor; what is wrong with it goes to the document's complaints, and something is returned."""
    path: Path = ("factors", name)
    if isinstance(value, dict):
        return _Entry(document, path, value).read()
    if not isinstance(value, list) or not value:
        example = value if value not in (None, []) else "a, b"
        document.complaints.add(path, "must be a list with at least one level, or a map", f"write {name}: [{example}]")
        return _some([] if value in (None, []) else [value])
    refuse_twins(document, path, value)
    return _some(value)


def home(document: Document, name: str, level: Any) -> Path | None:
    """Where in the file a level of a factor is written; None if it is not."""
    block = document.data["factors"][name]
    start: Path
    if isinstance(block, dict):
        start = ("factors", name, "levels")
        listed = block.get("levels")
        ends: list[Path] = [("factors", name, key) for key in ("default", "from", "to") if _same(block.get(key), level)]
    else:
        listed, start, ends = block, ("factors", name), []
    if isinstance(listed, list):
        return next((*start, index) for index, one in enumerate(listed) if _same(one, level)) if level in listed else None
    return ends[0] if ends else None


def refuse_twins(document: Document, path: Path, values: list[Any]) -> None:
    """Complain of levels that occur twice."""
    for index, value in enumerate(values):
        if any(_same(value, earlier) for earlier in values[:index]):
            document.complaints.add((*path, index), f"the level {value!r} occurs twice", "keep one of the two")


def check_conditions(document: Document, variations: Mapping[str, Variation]) -> None:
    """Complain of conditions on factors or levels that do not exist, and of such as hang on themselves."""
    add = document.complaints.add
    for name, one in variations.items():
        for other, allowed in one.when.items():
            path: Path = ("factors", name, "when", other)
            if other not in variations:
                add(path, "no such factor", did_you_mean(other, variations, kind="factor"), at="key")
                continue
            for index, level in enumerate(allowed):
                if not _possible(variations[other], level):
                    known = ", ".join(map(str, variations[other].levels))
                    written = document.data["factors"][name]["when"][other]
                    add(
                        (*path, index) if isinstance(written, list) else path,
                        f"{level!r} is no level of {other}",
                        f"it has {known}",
                    )
    for circle in circles({name: list(one.when) for name, one in variations.items()}):
        add(
            ("factors", circle[0], "when"),
            f"hangs on itself: {' → '.join((*circle, circle[0]))}",
            "remove one of these conditions",
            at="key",
        )


class _Entry:
    """One factor that is written as a map."""

    def __init__(self, document: Document, path: Path, block: dict[str, Any]) -> None:
        self._document, self._path, self._block = document, path, block

    def read(self) -> Variation:
        for key in self._block:
            if key not in KEYS:
                self._complain((key,), "unknown key", did_you_mean(key, KEYS, kind="key"), at_key=True)
        ranged = "from" in self._block or "to" in self._block
        found = self._range() if ranged else None
        levels = self._ends(found) if ranged else self._listed()
        when = self._when()
        default = self._block.get("default", levels[0] if levels else None)
        if "default" in self._block and levels and not _possible(Variation(levels, None, found), default):
            known = f"from {levels[0]} to {levels[-1]}" if found else f"one of {', '.join(map(str, levels))}"
            self._complain(("default",), f"{default!r} is no level of this factor", f"give one that is {known}")
            default = levels[0]
        return Variation(levels, default, found, when)

    def _complain(self, below: Path, what: str, remedy: str, *, at_key: bool = False) -> None:
        self._document.complaints.add((*self._path, *below), what, remedy, at="key" if at_key else "value")

    def _listed(self) -> tuple[Any, ...]:
        levels = self._block.get("levels")
        for key in ("scale", "step"):
            if key in self._block:
                self._complain((key,), "is for a range", "add from: and to:, or remove it", at_key=True)
        if not isinstance(levels, list) or not levels:
            self._complain(() if "levels" not in self._block else ("levels",), "has neither a range nor a list of levels", _SHOWN)
            return ()
        refuse_twins(self._document, (*self._path, "levels"), levels)
        return tuple(levels)

    def _range(self) -> Range | None:
        for key, other in (("from", "to"), ("to", "from")):
            if key not in self._block:
                self._complain((other,), f"has no {key}:", _SHOWN, at_key=True)
                return None
        ends = self._block["from"], self._block["to"]
        found = Range.over(ends)
        if found is None:
            self._complain(("to",), f"{ends[0]!r} to {ends[1]!r} is no range of numbers, or of quantities of one kind", _SHOWN)
            return None
        if found.low == found.high or found.number(ends[0]) != found.low:
            self._complain(("to",), "must be greater than from:", "swap them, or give a list of levels")
            return None
        return self._scaled(found)

    def _scaled(self, found: Range) -> Range:
        scale, step = self._block.get("scale", "linear"), self._step(found)
        if scale not in _SCALES:
            self._complain(("scale",), f"there is no scale {scale!r}", did_you_mean(str(scale), _SCALES, kind="scale"))
        elif scale == "log" and found.low <= 0:
            self._complain(("from",), "a logarithmic scale cannot begin at 0 or below", "begin above 0, or leave out scale:")
        elif scale == "log" and step is not None:
            self._complain(("step",), "equal steps do not go with a logarithmic scale", "remove one of the two", at_key=True)
        else:
            return Range(**_fields(found), log=scale == "log", step=step)
        return found

    def _step(self, found: Range) -> float | None:
        if "step" not in self._block:
            return None
        step = self._block["step"]
        try:
            size = found.number(step)
        except RangeError as error:
            self._complain(("step",), str(error), "write it as from: and to: are written")
            return None
        steps = (found.high - found.low) / size if size > 0 else 0.0
        if steps < 1 or abs(steps - round(steps)) > 1e-6 or (found.whole and not isinstance(step, int)):
            self._complain(
                ("step",), f"steps of {step} from {self._block['from']} do not lead to {self._block['to']}", "change one"
            )
            return None
        return size

    def _ends(self, found: Range | None) -> tuple[Any, ...]:
        count = self._block.get("levels", 2)
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            self._complain(
                ("levels",), "of a range is a number, 2 or more", "write levels: 3, or list the levels and remove the range"
            )
            count = 2
        if found is None:
            return tuple(self._block[key] for key in ("from", "to") if key in self._block)
        return (self._block["from"], *found.spread(count)[1:-1], self._block["to"])

    def _when(self) -> Conditions:
        block = self._block.get("when", {})
        if not isinstance(block, dict) or ("when" in self._block and not block):
            self._complain(("when",), "must be a map of factors to levels", "write for example when: {placement: [fog, cloud]}")
            return {}
        return {name: tuple(levels) if isinstance(levels, list) else (levels,) for name, levels in block.items()}


def _fields(found: Range) -> dict[str, Any]:
    return {key: getattr(found, key) for key in ("low", "high", "unit", "size", "dimension", "whole", "text")}


def _some(levels: list[Any]) -> Variation:
    return Variation(tuple(levels), levels[0] if levels else None)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and type(one) is type(other)


def _possible(one: Variation, level: Any) -> bool:
    if one.range is not None:
        return level in one.range
    return any(level == known and is_number(level) == is_number(known) for known in one.levels)


def circles(graph: Mapping[str, list[str]]) -> Iterator[tuple[str, ...]]:
    """Circles of names that lead to each other: each once, beginning with its first name in the file."""
    done: set[str] = set()
    seen: set[frozenset[str]] = set()

    def visit(name: str, trail: list[str]) -> Iterator[tuple[str, ...]]:
        if name in trail:
            circle = tuple(trail[trail.index(name) :])
            if frozenset(circle) not in seen:
                seen.add(frozenset(circle))
                yield circle
        elif name not in done and name in graph:
            for other in graph[name]:
                yield from visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        yield from visit(name, [])
