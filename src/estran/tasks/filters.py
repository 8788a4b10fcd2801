"""Filters that Ansible adds to Jinja, of values and collections; those of text and files are in `text_filters`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from estran.tasks.errors import EvaluationError
from estran.tasks.text_filters import TEXT_FILTERS

_TRUE = ("yes", "on", "1", "true", "y", "t")


def _is_undefined(value: Any) -> bool:
    from jinja2 import Undefined

    return isinstance(value, Undefined)


def _fail(what: str, remedy: str | None = None) -> EvaluationError:
    return EvaluationError(what, remedy=remedy)


def to_bool(value: Any) -> bool | None:
    """Read a bool as Ansible does: ``yes``, ``on``, ``1``, ``true`` are true; None stays None; any other text is false."""
    if value is None or isinstance(value, bool):
        return value
    return str(value).strip().lower() in _TRUE


def default(value: Any, fallback: Any = "", boolean: bool = False) -> Any:
    """Replace what is not defined (or, if ``boolean``, what is false)."""
    return fallback if _is_undefined(value) or (boolean and not value) else value


def mandatory(value: Any, msg: str | None = None) -> Any:
    """Fail if the value is not defined."""
    if _is_undefined(value):
        raise _fail(msg or f"Mandatory variable {str(getattr(value, '_undefined_name', None) or 'expression')!r} not defined.")
    return value


def ternary(value: Any, if_true: Any, if_false: Any, if_none: Any = None) -> Any:
    """Choose by truth."""
    if value is None and if_none is not None:
        return if_none
    return if_true if bool(value) else if_false


def combine(*maps: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    """Merge maps, later ones over earlier ones."""
    merged: dict[Any, Any] = {}
    for part in flatten(maps):
        if not isinstance(part, Mapping):
            raise _fail(f"combine needs maps, not {type(part).__name__}")
        merged = _merged(merged, part, recursive, list_merge)
    return merged


_LISTS: Final[Mapping[str, Callable[[list[Any], list[Any]], list[Any]]]] = {
    "replace": lambda old, new: new,
    "keep": lambda old, new: old,
    "append": lambda old, new: old + new,
    "prepend": lambda old, new: new + old,
    "append_rp": lambda old, new: [item for item in old if item not in new] + new,
    "prepend_rp": lambda old, new: new + [item for item in old if item not in new],
}


def _merged(old: Mapping[Any, Any], new: Mapping[Any, Any], recursive: bool, lists: str) -> dict[Any, Any]:
    if lists not in _LISTS:
        raise _fail(f"combine: list_merge={lists!r} is not known", f"use one of {', '.join(_LISTS)}")
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if recursive and isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(before, value, recursive, lists)
        elif isinstance(before, list) and isinstance(value, list):
            result[key] = _LISTS[lists](before, value)
        else:
            result[key] = value
    return result


def dict2items(value: Mapping[Any, Any], key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    """Make a list of keys and values of a map."""
    if not isinstance(value, Mapping):
        raise _fail(f"dict2items needs a map, not {type(value).__name__}")
    return [{key_name: key, value_name: part} for key, part in value.items()]


def items2dict(items: Iterable[Mapping[str, Any]], key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    """Make a map of a list of keys and values."""
    try:
        return {item[key_name]: item[value_name] for item in items}
    except KeyError as error:
        raise _fail(f"items2dict: an item has no {error}", "name the keys by key_name= and value_name=") from None


def flatten(value: Iterable[Any], levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    """Take lists out of lists, at most that deep."""
    flat: list[Any] = []
    for item in value:
        if skip_nulls and item in (None, "None", "null"):
            continue
        if isinstance(item, (list, tuple)) and (levels is None or levels >= 1):
            flat += flatten(item, None if levels is None else levels - 1, skip_nulls)
        else:
            flat.append(item)
    return flat


def unique(values: Iterable[Any], case_sensitive: bool | None = None, attribute: str | None = None) -> list[Any]:
    """Leave out what occurred before; any values, also lists and maps."""
    seen: list[Any] = []
    kept: list[Any] = []
    for value in values:
        key = value[attribute] if attribute is not None else value
        folded = key.lower() if case_sensitive is False and isinstance(key, str) else key
        if folded not in seen:
            seen.append(folded)
            kept.append(value)
    return kept


def union(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """What is in either, each once."""
    return unique([*first, *second])


def intersect(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """What is in both, each once."""
    return unique([item for item in first if item in second])


def difference(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """What is in the first only, each once."""
    return unique([item for item in first if item not in second])


def symmetric_difference(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """What is in exactly one, each once."""
    return difference(first, second) + difference(second, first)


def subelements(items: Any, path: str | list[str], skip_missing: bool = False) -> list[tuple[Any, Any]]:
    """Pair each item with each element of a list inside it."""
    pairs: list[tuple[Any, Any]] = []
    for item in items.values() if isinstance(items, Mapping) else items:
        part = item
        for name in path.split(".") if isinstance(path, str) else path:
            if not isinstance(part, Mapping) or name not in part:
                if skip_missing:
                    part = []
                    break
                raise _fail(f"subelements: there is no {name!r} in an item", "give skip_missing=true if that may be")
            part = part[name]
        if not isinstance(part, list):
            raise _fail(f"subelements: {path!r} is no list but {type(part).__name__}")
        pairs += [(item, element) for element in part]
    return pairs


def extract(key: Any, container: Any, morekeys: Any = None) -> Any:
    """Take a part of a container by its key, and a part of that."""
    for step in [key, *([] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys])]:
        try:
            container = container[step]
        except (KeyError, IndexError, TypeError):
            raise _fail(f"extract: there is no {step!r}") from None
    return container


def rekey_on_member(data: Any, key: str, duplicates: str = "error") -> dict[Any, Any]:
    """Make a map of maps by one of their members."""
    result: dict[Any, Any] = {}
    for item in data.values() if isinstance(data, Mapping) else data:
        if duplicates == "error" and item[key] in result:
            raise _fail(f"rekey_on_member: {item[key]!r} occurs twice")
        result[item[key]] = item
    return result


def human_readable(size: float, isbits: bool = False, unit: str | None = None) -> str:
    """Write a number of bytes with its unit."""
    suffix = "b" if isbits else "B"
    for letter, limit in _SIZES:
        if unit == letter or (unit is None and size >= limit):
            return f"{size / limit:.2f} {letter}{suffix}"
    return f"{size:.2f} {'bits' if isbits else 'Bytes'}"


_SIZES = [(letter, 1024.0**power) for power, letter in reversed(list(enumerate("KMGTPEZY", 1)))]


def human_to_bytes(size: Any, default_unit: str | None = None, isbits: bool = False) -> int:
    """Read a number of bytes with its unit."""
    import re

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGTPEZY]?)(?:i?[Bb](?:ytes|its)?)?\s*", str(size))
    if found is None:
        raise _fail(f"human_to_bytes cannot read {size!r}", "write such as 10M or 2 GB")
    letter = found[2] or (default_unit or "")[:1].upper()
    return round(float(found[1]) * dict(_SIZES).get(letter, 1.0))


def to_int(value: Any, fallback: Any = 0, base: int = 10) -> Any:
    """Make an int of a text or number; ``fallback`` of what is none."""
    try:
        return int(value, base) if isinstance(value, str) and base != 10 else int(value)
    except (TypeError, ValueError):
        try:
            return int(float(value))
        except (TypeError, ValueError, OverflowError):
            return fallback


def logarithm(value: float, base: float = math.e) -> float:
    """Logarithm to a base."""
    return math.log10(value) if base == 10 else math.log(value, base)


def root(value: float, base: float = 2) -> float:
    """Root of a number."""
    return math.sqrt(value) if base == 2 else math.pow(value, 1.0 / base)


def now(utc: bool = False, fmt: str | None = None) -> Any:
    """Time of the controller."""
    moment = datetime.now(UTC).replace(tzinfo=None) if utc else datetime.now()
    return moment.strftime(fmt) if fmt else moment


def _unbuilt(name: str, remedy: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise _fail(f"the filter {name!r} is not built", remedy)

    return refuse


def _seeded(name: str) -> Callable[..., Any]:
    """Refuse chance without a seed: an experiment must be repeatable."""

    def draw(values: Any, *bounds: Any, seed: Any = None, **_: Any) -> Any:
        import random

        if seed is None:
            raise _fail(f"{name} without a seed cannot be repeated", f"write {name}(seed=…)")
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        if name == "shuffle":
            shuffled = list(values)
            chance.shuffle(shuffled)
            return shuffled
        return chance.randrange(values) if isinstance(values, int) else chance.choice(list(values))

    return draw


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    **TEXT_FILTERS,
    "bool": to_bool, "default": default, "d": default, "int": to_int,
    "mandatory": mandatory, "ternary": ternary, "combine": combine,
    "dict2items": dict2items, "items2dict": items2dict, "flatten": flatten, "unique": unique, "union": union,
    "intersect": intersect, "difference": difference, "symmetric_difference": symmetric_difference,
    "subelements": subelements, "extract": extract, "rekey_on_member": rekey_on_member,
    "product": lambda *sets, repeat=1: [list(p) for p in itertools.product(*sets, repeat=repeat)],
    "permutations": lambda values, size=None: [list(p) for p in itertools.permutations(values, size)],
    "combinations": lambda values, size: [list(p) for p in itertools.combinations(values, size)],
    "zip": lambda *lists: [list(part) for part in zip(*lists, strict=False)],
    "zip_longest": lambda *lists, fillvalue=None: list(map(list, itertools.zip_longest(*lists, fillvalue=fillvalue))),
    "log": logarithm,
    "pow": lambda base, power: math.pow(base, power), "root": root, "type_debug": lambda value: type(value).__name__,
    "human_readable": human_readable,
    "human_to_bytes": human_to_bytes,
    "random": _seeded("random"), "shuffle": _seeded("shuffle"),
    "password_hash": _unbuilt("password_hash", "hash the password before, and give the hash as a variable"),
    "vault": _unbuilt("vault", "secrets are read from files or variables"),
    "unvault": _unbuilt("unvault", "secrets are read from files or variables"),
}  # fmt: skip
