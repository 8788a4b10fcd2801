"""A component's ``with:`` block against the dataclass that the component declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from estran.spec.findings import findings
from estran.spec.index import Fault


def validate_settings(declared: type, settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Fault]]:
    """Check settings against a dataclass.

    Parameters
    ----------
    declared
        A standard dataclass, perhaps with dataclasses in its fields; quantities are annotated with the types of
        `estran.units`. Keys that it does not have are faults, at every level.
    settings
        Plain values as the file has them.

    Returns
    -------
    tuple
        The settings as plain values, quantities in SI units, keys that were not given left out; and all faults (path, text).
        With faults the settings are as they came.
    """
    from pydantic import ValidationError

    adapter = _adapter(declared)
    try:
        checked = adapter.validate_python(dict(settings))
    except ValidationError as error:
        return settings, [
            (found.path, f"{found.what}; {found.remedy}" if found.remedy else found.what)
            for found in findings(error, settings, declared)
        ]
    plain = adapter.dump_python(checked, mode="json", warnings="error")
    return _as_given(plain, settings), []


def settings_schema(declared: type) -> dict[str, Any]:
    """JSON Schema of a settings dataclass, for editors."""
    return dict(_adapter(declared).json_schema())


def _as_given(plain: Any, given: Any) -> Any:
    """Leave out the keys that a dataclass filled with its defaults."""
    if isinstance(plain, dict) and isinstance(given, Mapping):
        return {key: _as_given(plain[key], given[key]) for key in given if key in plain}
    if isinstance(plain, list) and isinstance(given, list | tuple):
        return [_as_given(one, other) for one, other in zip(plain, given, strict=False)]
    return plain


def _adapter(declared: type) -> Any:
    """A pydantic reader of a dataclass that refuses unknown keys in it and in those within."""
    from pydantic import TypeAdapter

    _forbid_extra(declared, set())
    return TypeAdapter(declared)


def _forbid_extra(shape: Any, seen: set[Any]) -> None:
    """Set pydantic's switch on a dataclass and on all that its fields mention; plain code never looks at it."""
    if isinstance(shape, type) and dataclasses.is_dataclass(shape):
        if shape in seen:
            return
        seen.add(shape)
        if "__pydantic_config__" not in shape.__dict__:
            shape.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
        for hint in get_type_hints(shape, include_extras=True).values():
            _forbid_extra(hint, seen)
        return
    for inner in get_args(shape):
        _forbid_extra(inner, seen)
