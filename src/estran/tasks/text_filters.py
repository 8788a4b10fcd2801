"""Filters that Ansible adds to Jinja: of text, encodings, hashes, paths and times."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from estran.tasks.errors import EvaluationError

NAMESPACE: Final = uuid.UUID("361E6D51-FAEC-444A-9079-341386DA8E2E")
"""The namespace of Ansible's ``to_uuid``."""


def _flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def regex_replace(
    value: Any,
    pattern: str = "",
    replacement: str = "",
    ignorecase: bool = False,
    multiline: bool = False,
    count: int = 0,
    mandatory_count: int = 0,
) -> str:
    """Replace what fits a pattern."""
    text, made = re.subn(pattern, replacement, str(value), count=count, flags=_flags(ignorecase, multiline))
    if mandatory_count and made != mandatory_count:
        raise EvaluationError(f"{pattern!r} matched {made} times, but should have matched {mandatory_count}")
    return text


def regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    """Return the first part that fits a pattern, or its groups; None if none fits."""
    found = re.search(pattern, str(value), _flags(ignorecase, multiline))
    if found is None:
        return None
    return [found[_group(group)] for group in groups] if groups else found[0]


def _group(reference: str) -> str | int:
    if reference.startswith("\\g<"):
        name = reference[3:-1]
        return int(name) if name.isdecimal() else name
    if re.fullmatch(r"\\\d+", reference):
        return int(reference[1:])
    raise EvaluationError(f"regex_search: {reference!r} names no group", remedy=r"write '\\1' or '\\g<name>'")


def regex_findall(value: Any, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    """Return all parts that fit a pattern."""
    return re.findall(pattern, str(value), _flags(ignorecase, multiline))


def _plain(value: Any) -> Any:
    """What JSON does not know, as text."""
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def to_json(value: Any, **options: Any) -> str:
    """Write JSON on one line."""
    return json.dumps(_defined(value), default=_plain, **options)


def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    """Write JSON for readers."""
    return json.dumps(_defined(value), default=_plain, indent=indent, sort_keys=sort_keys, separators=(",", ": "), **options)


def from_json(text: str) -> Any:
    """Read JSON."""
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"from_json: not JSON: {error}") from None


def to_yaml(value: Any, indent: int | None = None, **options: Any) -> str:
    """Write YAML, flat where it holds only scalars."""
    return _yaml(value, indent=indent, default_flow_style=None, **options)


def to_nice_yaml(value: Any, indent: int = 4, **options: Any) -> str:
    """Write YAML in blocks."""
    return _yaml(value, indent=indent, default_flow_style=False, **options)


def _yaml(value: Any, **options: Any) -> str:
    """Write as PyYAML does, blanks and all, since files on hosts are compared by their bytes."""
    try:
        import yaml
    except ImportError as error:
        raise EvaluationError("writing YAML needs PyYAML", remedy="pip install 'estran[tasks]'") from error
    text = yaml.dump(json.loads(to_json(value)), Dumper=yaml.SafeDumper, allow_unicode=True, **{"sort_keys": True, **options})
    return str(text)


def from_yaml(text: Any) -> Any:
    """Read YAML as Ansible reads it."""
    from estran.spec.document import read_ansible

    return read_ansible(text, "from_yaml").data if isinstance(text, str) else text


def from_yaml_all(text: Any) -> list[Any]:
    """Read the YAML documents in a text."""
    parts = re.split(r"(?m)^---\s*$", text)
    return [from_yaml(part) for part in parts if part.strip()]


def _defined(value: Any) -> Any:
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)
    return value


def b64encode(value: Any, encoding: str = "utf-8") -> str:
    """Encode as base 64."""
    return base64.b64encode(str(value).encode(encoding)).decode()


def b64decode(value: Any, encoding: str = "utf-8") -> str:
    """Decode base 64."""
    return base64.b64decode(value).decode(encoding)


def digest(value: Any, hashtype: str = "sha1") -> str:
    """Hash a text."""
    try:
        return hashlib.new(hashtype, str(value).encode()).hexdigest()
    except ValueError:
        raise EvaluationError(f"hash: {hashtype!r} is not known", remedy="use sha256") from None


def quote(value: Any) -> str:
    """Quote for a shell."""
    return shlex.quote("" if value is None else str(value))


def split(value: Any, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    """Split a text."""
    return str(value).split(separator, maxsplit)


def comment(value: str, style: str = "plain", decoration: str | None = None, **_: Any) -> str:
    """Write a text as a comment."""
    marks = {"plain": "# ", "erlang": "% ", "c": "// "}
    if style not in marks:
        raise EvaluationError(f"comment: the style {style!r} is not built", remedy="use plain, erlang or c")
    mark = marks[style] if decoration is None else decoration
    bar = mark.rstrip()
    return "\n".join([bar, *(f"{mark}{line}".rstrip() for line in value.splitlines()), bar])


def strftime(fmt: str, second: float | None = None, utc: bool = False) -> str:
    """Write a time of the controller."""
    moment = datetime.now(UTC) if second is None else datetime.fromtimestamp(float(second), UTC)
    return (moment if utc else moment.astimezone()).strftime(fmt)


def to_datetime(text: str, format: str = "%Y-%m-%d %H:%M:%S") -> datetime:  # noqa: A002 - Ansible's name
    """Read a time."""
    return datetime.strptime(text, format)


def to_uuid(value: Any, namespace: Any = NAMESPACE) -> str:
    """Make a UUID of a text."""
    return str(uuid.uuid5(namespace if isinstance(namespace, uuid.UUID) else uuid.UUID(str(namespace)), str(value)))


def url_split(value: str, query: str = "") -> Any:
    """Take an address apart."""
    parts = urlsplit(value)
    names = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")
    table = {name: getattr(parts, name) for name in names}
    return table[query] if query else table


def fileglob(pattern: str) -> list[str]:
    """Files of the controller whose names fit."""
    import glob

    return [path for path in glob.glob(pattern) if Path(path).is_file()]  # noqa: PTH207 - the pattern may be absolute


def _paths(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda path, *more: function(str(path), *more)


def _split_extension(path: str) -> list[str]:
    return list(os.path.splitext(path))  # noqa: PTH122 - as Ansible: a path too


def _expanded(path: str) -> str:
    return os.path.expandvars(path)


TEXT_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "regex_replace": regex_replace,
    "regex_search": regex_search, "regex_findall": regex_findall, "regex_escape": lambda text: re.escape(text),
    "to_json": to_json, "to_nice_json": to_nice_json, "from_json": from_json, "to_yaml": to_yaml, "to_nice_yaml": to_nice_yaml,
    "from_yaml": from_yaml, "from_yaml_all": from_yaml_all, "b64encode": b64encode, "b64decode": b64decode,
    "hash": digest, "checksum": digest, "sha1": digest, "md5": lambda value: digest(value, "md5"), "quote": quote, "split": split,
    "comment": comment, "strftime": strftime, "to_datetime": to_datetime, "to_uuid": to_uuid, "urlsplit": url_split,
    "urldecode": lambda text: unquote(text.replace("+", " ")), "fileglob": fileglob,
    "basename": _paths(os.path.basename), "dirname": _paths(os.path.dirname), "splitext": _paths(_split_extension),
    "realpath": _paths(os.path.realpath), "expanduser": _paths(os.path.expanduser), "expandvars": _paths(_expanded),
    "relpath": _paths(os.path.relpath), "normpath": _paths(os.path.normpath),
    "path_join": lambda parts: os.path.join(*parts) if isinstance(parts, (list, tuple)) else str(parts),  # noqa: PTH118
    "commonpath": lambda paths: os.path.commonpath(paths),
}  # fmt: skip
