"""What pydantic found wrong, in our words: a path into the data, what is wrong there, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from estran.spec.marks import Path
from estran.spec.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


_NO_WORD = ("a map is none of ", "a list is none of ")


class Finding(NamedTuple):
    """One thing that is wrong; ``on_key`` if the key itself is."""

    path: Path
    what: str
    remedy: str | None
    on_key: bool


def findings(error: ValidationError, data: Any, shape: Any) -> list[Finding]:
    """Translate a pydantic error about ``data``, which should have had the type ``shape``: what is wrong at each place."""
    found: dict[tuple[Path, str], Finding] = {}
    for detail in error.errors(include_url=False):
        finding = _finding(detail, data, shape)
        key = (finding.path, finding.what if finding.on_key else "")
        found[key] = finding if key not in found else _either(found[key], finding)
    return [one for one in found.values() if not any(_says_more(other, one) for other in found.values())]


def _either(one: Finding, other: Finding) -> Finding:
    """Two members of a union refuse one value: a quantity says best why, and a word least of a map; otherwise name both."""
    for word, rest in ((one, other), (other, one)):
        if word.what.startswith(_NO_WORD):
            return rest
    if one.remedy is not None or other.what in one.what:
        return one
    if other.remedy is not None:
        return other
    return one._replace(what=f"{one.what.partition(', not ')[0]} or {other.what.removeprefix('must be ')}")


def _says_more(other: Finding, one: Finding) -> bool:
    """Whether another finding makes one superfluous.

    It lies deeper in the same value (a union, one member of which fits at the top); or it is an unknown key that was meant to be
    the missing one.
    """
    if not one.on_key:
        return other.path[: len(one.path)] == one.path and (other.path != one.path or other.on_key)
    missing = one.what.startswith("the key")
    return missing and other.path[:-1] == one.path and other.remedy == f"did you mean {one.what.split(' ')[2]}?"


def _finding(detail: ErrorDetails, data: Any, shape: Any) -> Finding:
    path, context, kind = _real(detail["loc"], data, detail["type"]), detail.get("ctx", {}), detail["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return Finding(path, f"unknown key {path[-1]!r}", did_you_mean(str(path[-1]), _keys(shape, path[:-1]), kind="key"), True)
    if kind in ("missing", "missing_argument"):
        return Finding(path[:-1], f"the key {path[-1]!r} is missing", f"add {path[-1]}:", True)
    if kind == "quantity":
        return Finding(path, str(context["what"]), str(context["remedy"]), False)
    if kind in ("literal_error", "enum"):
        choices = [choice.strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return Finding(
            path, f"{_shown(detail['input'])} is none of {', '.join(choices)}", did_you_mean(str(detail["input"]), choices), False
        )
    what, _, remedy = _plain(kind, context, detail).partition("; ")
    return Finding(path, what, remedy or None, False)


def _plain(kind: str, context: Mapping[str, Any], detail: ErrorDetails) -> str:
    """A sentence for the common kinds; pydantic's own for the rest."""
    got = _shown(detail["input"])
    expected = {
        "string_type": "text", "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
        "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number", "bool_type": "true or false",
        "bool_parsing": "true or false", "list_type": "a list", "tuple_type": "a list", "dict_type": "a map",
        "mapping_type": "a map", "model_type": "a map", "model_attributes_type": "a map",
        "dataclass_type": "a map", "none_required": "empty",
    }  # fmt: skip
    if kind in expected:
        quote = "; quote it to make it text" if kind == "string_type" and isinstance(detail["input"], int | float) else ""
        return f"must be {expected[kind]}, not {got}{quote}"
    limits = {
        "greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than"), "less_than_equal": ("le", "at most"),
        "less_than": ("lt", "less than"),
    }  # fmt: skip
    if kind in limits:
        name, words = limits[kind]
        return f"must be {words} {context[name]}, not {got}"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return f"must have at least {least} entries" if kind == "too_short" and least > 1 else "must not be empty"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries, not {context['actual_length']}"
    if kind == "string_pattern_mismatch":
        from estran.spec.schema import MEANINGS

        return f"{got} {MEANINGS.get(str(context['pattern']), 'is not of the form ' + str(context['pattern']))}"
    if kind == "value_error":
        return str(context["error"])
    message = detail["msg"]
    return message[:1].lower() + message[1:]


def _real(location: tuple[int | str, ...], data: Any, kind: str) -> Path:
    """Keep of pydantic's location what is a path into the data; it also names types of unions there."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(data, Mapping) and part in data:
            data = data[part]
            path.append(part)
        elif isinstance(data, Mapping) and str(part) in data:
            data = data[str(part)]
            path.append(str(part))
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
            path.append(part)
        elif last and kind.startswith("missing"):
            path.append(part)
    return tuple(path)


def _keys(shape: Any, path: Path) -> list[str]:
    """Names of the keys that a type has at a path, for suggestions."""
    shapes = [shape]
    for part in path:
        shapes = [inner for outer in shapes for inner in _inner(outer, part)]
    return list(dict.fromkeys(name for outer in shapes for each in _members(outer) for name in _fields(each)))


def _members(shape: Any) -> Iterator[Any]:
    """A type without its annotations, or each member of a union."""
    if get_origin(shape) is Annotated:
        yield from _members(get_args(shape)[0])
    elif (get_origin(shape) is not None and type(None) in get_args(shape)) or _is_union(shape):
        for each in get_args(shape):
            yield from _members(each)
    else:
        yield shape


def _is_union(shape: Any) -> bool:
    from types import UnionType
    from typing import Union

    return get_origin(shape) in (Union, UnionType)


def _fields(shape: Any) -> dict[str, Any]:
    """Types by key of a pydantic model or a dataclass; empty for anything else."""
    models = getattr(shape, "model_fields", None)
    if isinstance(shape, type) and models is not None:
        hints = get_type_hints(shape, include_extras=True)
        return {field.alias or name: hints[name] for name, field in models.items()}
    if isinstance(shape, type) and dataclasses.is_dataclass(shape):
        return get_type_hints(shape, include_extras=True)
    return {}


def _inner(shape: Any, part: str | int) -> Iterator[Any]:
    """Types that a part of a value may have."""
    for each in _members(shape):
        fields = _fields(each)
        if part in fields:
            yield fields[str(part)]
        elif not fields and get_args(each):
            yield get_args(each)[-1] if get_args(each)[-1] is not Ellipsis else get_args(each)[0]


def _shown(value: Any) -> str:
    """A value as the user wrote it, briefly."""
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"
