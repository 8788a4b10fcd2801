"""Fills in the plain expressions of a template, for a reader who has no hosts yet: names, attributes, places, ``join``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_EXPRESSION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_PATH: Final = re.compile(r"([A-Za-z_]\w*)((?:\.\w+|\[-?\d+\]|\['[^']*'\]|\[\"[^\"]*\"\])*)")
_STEP: Final = re.compile(r"\.(\w+)|\[(-?\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_JOIN: Final = re.compile(r"join\s*(?:\(\s*(?:'([^']*)'|\"([^\"]*)\")?\s*\))?")
DEPTH: Final = 10


class NotPlainError(ValueError):
    """A template has more in it than plain expressions of known variables."""


def render(text: str, variables: Mapping[str, Any], depth: int = 0) -> str:
    """Fill in a template.

    Raises
    ------
    NotPlainError
        If an expression is no plain one or tells of an unknown variable, or there are statements.
    """
    if depth > DEPTH:
        raise NotPlainError("variables that refer to each other in a circle")
    if re.search(r"\{%|\{#", text):
        raise NotPlainError("statements of Jinja")
    return _EXPRESSION.sub(lambda found: _shown(_value(found[1], variables), variables, depth), text)


def _shown(value: Any, variables: Mapping[str, Any], depth: int) -> str:
    return render(value, variables, depth + 1) if isinstance(value, str) else str(value)


def _value(expression: str, variables: Mapping[str, Any]) -> Any:
    path, _, rest = expression.partition("|")
    value = _looked_up(path.strip(), variables)
    for word in filter(None, (part.strip() for part in rest.split("|"))):
        joined = _JOIN.fullmatch(word)
        if joined is None or not isinstance(value, list):
            raise NotPlainError(f"the expression {expression!r}")
        value = (joined[1] or joined[2] or "").join(map(str, value))
    return value


def _looked_up(path: str, variables: Mapping[str, Any]) -> Any:
    match = _PATH.fullmatch(path)
    if match is None:
        raise NotPlainError(f"the expression {path!r}")
    if match[1] not in variables:
        raise NotPlainError(f"the variable {match[1]!r}")
    value: Any = variables[match[1]]
    for step in _STEP.finditer(match[2]):
        key: Any = int(step[2]) if step[2] is not None else next(part for part in (step[1], step[3], step[4]) if part is not None)
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise NotPlainError(f"the variable {path!r}") from None
    return value
