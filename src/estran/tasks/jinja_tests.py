"""Jinja tests that Ansible adds: states of results, patterns, versions, files of the controller."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from estran.tasks.errors import EvaluationError


def _flag(name: str, *, default: bool = False) -> Callable[[Any], bool]:
    def test(result: Any) -> bool:
        if not isinstance(result, Mapping):
            raise EvaluationError(f"the test {name!r} needs a registered result, not {type(result).__name__}")
        return bool(result.get(name, default))

    return test


_failed = _flag("failed")


def _succeeded(result: Any) -> bool:
    return not _failed(result)


def _changed(result: Any) -> bool:
    own = _flag("changed")(result)
    return own or any(isinstance(part, Mapping) and part.get("changed") for part in result.get("results", ()))


def _pattern(text: Any, pattern: str, ignorecase: bool, multiline: bool, kind: str) -> bool:
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    return bool(getattr(re.compile(pattern, flags), kind)(str(text)))


def match(text: Any, pattern: str, ignorecase: bool = False, multiline: bool = False) -> bool:
    """Whether the text begins with the pattern."""
    return _pattern(text, pattern, ignorecase, multiline, "match")


def search(text: Any, pattern: str, ignorecase: bool = False, multiline: bool = False) -> bool:
    """Whether the pattern occurs in the text."""
    return _pattern(text, pattern, ignorecase, multiline, "search")


def regex(text: Any, pattern: str, ignorecase: bool = False, multiline: bool = False, match_type: str = "search") -> bool:
    """Apply a method of `re` that is named."""
    if match_type not in ("search", "match", "fullmatch"):
        raise EvaluationError(f"regex: {match_type!r} is no kind of match", remedy="use search, match or fullmatch")
    return _pattern(text, pattern, ignorecase, multiline, match_type)


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: bool(a == b), "=": lambda a, b: bool(a == b), "eq": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b), "<>": lambda a, b: bool(a != b), "ne": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b), "lt": lambda a, b: bool(a < b), "<=": lambda a, b: bool(a <= b), "le": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b), "gt": lambda a, b: bool(a > b), ">=": lambda a, b: bool(a >= b), "ge": lambda a, b: bool(a >= b),
}  # fmt: skip


def version(value: Any, other: Any, operator: str = "eq", strict: bool = False, version_type: str | None = None) -> bool:
    """Compare two versions by their numbers and words, words before numbers."""
    if operator not in _COMPARE:
        raise EvaluationError(f"version: {operator!r} compares nothing", remedy=f"use one of {', '.join(_COMPARE)}")
    return _COMPARE[operator](_parts(str(value)), _parts(str(other)))


def _parts(text: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|[a-z]+", text.lower())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _subset(part: Any, whole: Any) -> bool:
    return all(item in whole for item in part)


def _superset(whole: Any, part: Any) -> bool:
    return _subset(part, whole)


def _contains(whole: Any, item: Any) -> bool:
    return item in whole


def _truthy(value: Any, convert_bool: bool = False) -> bool:
    from estran.tasks.filters import to_bool

    return bool(to_bool(value)) if convert_bool and isinstance(value, str) else bool(value)


def _falsy(value: Any, convert_bool: bool = False) -> bool:
    return not _truthy(value, convert_bool)


def _on_path(check: Callable[[Path], bool]) -> Callable[[Any], bool]:
    return lambda path: check(Path(os.path.expanduser(str(path))))  # noqa: PTH111 - as Ansible: ~ only


def _nan(value: Any) -> bool:
    return bool(value != value)


TESTS: Final[dict[str, Callable[..., bool]]] = {
    "failed": _failed, "failure": _failed, "succeeded": _succeeded, "success": _succeeded, "successful": _succeeded,
    "changed": _changed, "change": _changed, "skipped": _flag("skipped"), "skip": _flag("skipped"),
    "started": _flag("started"), "finished": _flag("finished", default=True), "reachable": lambda r: not _flag("unreachable")(r),
    "unreachable": _flag("unreachable"), "timedout": lambda r: bool(r.get("timedout", False)),
    "match": match, "search": search, "regex": regex, "version": version, "version_compare": version,
    "subset": _subset, "superset": _superset, "issubset": _subset, "issuperset": _superset, "contains": _contains,
    "truthy": _truthy, "falsy": _falsy, "any": lambda values: any(values), "all": lambda values: all(values), "nan": _nan,
    "file": _on_path(Path.is_file), "directory": _on_path(Path.is_dir), "link": _on_path(Path.is_symlink),
    "exists": _on_path(Path.exists), "mount": _on_path(Path.is_mount), "is_file": _on_path(Path.is_file),
    "is_dir": _on_path(Path.is_dir), "is_link": _on_path(Path.is_symlink), "link_exists": _on_path(lambda p: os.path.lexists(p)),
    "abs": lambda path: str(path).startswith("/"), "is_abs": lambda path: str(path).startswith("/"),
}  # fmt: skip
