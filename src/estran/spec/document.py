"""YAML 1.2 to plain data with the line and column of every key and value; duplicate keys and bad syntax are errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from estran.errors import SpecError, SpecErrors, Where
from estran.spec.marks import Complaints, Marks, Path, Spot

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

_TAG = "tag:yaml.org,2002:"
_LIMIT = 100_000
"""Parts of one document, after aliases are expanded: stops a file that would fill the memory."""
_LENGTH = 1 << 23
"""Characters of a file: reading YAML takes a second for some hundred thousand."""
_DEEP = re.compile(r"(?:[\[{]\s*){100}")
DIGITS = 1000
"""Of an integer: Python neither reads nor writes decimal ones of more than 4300."""
_HALF = re.compile("[\ud800-\udfff]")
"""Half a pair of surrogates, as "\\ud800" makes it, which is no text."""
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


@dataclass(slots=True)
class Document:
    """A file as plain data (dicts, lists, scalars) with the marks of its parts and the complaints about it."""

    data: Any
    marks: Marks
    complaints: Complaints


def read_file(path: FilePath) -> Document:
    """Read one YAML file.

    Raises
    ------
    SpecErrors
        If there is no such file, or it is not UTF-8, is empty, is not YAML, or is no map at its top.
    """
    return read_text(read_utf8(path), str(path))


def read_utf8(path: FilePath) -> str:
    """The text of a file.

    Raises
    ------
    SpecErrors
        If there is no such file, or it is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SpecErrors(
            [
                SpecError(
                    "there is no such file", where=Where(str(path)), remedy="check the path; `estran init` writes an experiment"
                )
            ]
        ) from None
    except OSError as error:
        raise SpecErrors([SpecError(f"cannot be read: {error.strerror}", where=Where(str(path)))]) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        what = f"the byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise SpecErrors([SpecError(what, where=Where(str(path), line, column), remedy="save the file as UTF-8")]) from None


def read_text(text: str, file: str) -> Document:
    """Read YAML from memory; ``file`` names it in errors. Raises as `read_file` does."""
    root = compose(text, file)
    marks = Marks(file)
    complaints = Complaints(marks)
    if root is None:
        raise _single("the file is empty", Where(file, 1, 1), "write one with `estran init`")
    data = Reader(marks, complaints).value(root, ())
    if not isinstance(data, dict):
        complaints.add((), "the file must be a map of keys such as experiment:, layers:, services:")
        complaints.stop_if_any()
    return Document(data, marks, complaints)


def read_ansible(text: str, file: str) -> Document:
    """Read a file written for Ansible: YAML 1.1 (``yes`` is true, ``0644`` is octal), a list or a map at its top.

    Raises as `read_file` does; an empty file is an empty list.
    """
    from estran.spec.classic import scalar

    root = compose(text, file)
    marks = Marks(file)
    complaints = Complaints(marks)
    data = [] if root is None else Reader(marks, complaints, scalar).value(root, ())
    complaints.stop_if_any()
    return Document(data, marks, complaints)


def parse_value(text: str) -> Any:
    """Read the value of an option as YAML; raises ValueError with the reason.

    Examples
    --------
    >>> parse_value("10ms"), parse_value("[1, 2]"), parse_value("0.5")
    ('10ms', [1, 2], 0.5)
    """
    try:
        root = compose(text, "option")
    except SpecErrors as errors:
        raise ValueError(errors.errors[0].what) from None
    if root is None:
        return None
    marks = Marks("option")
    complaints = Complaints(marks)
    value = Reader(marks, complaints).value(root, ())
    if complaints.errors:
        raise ValueError(complaints.errors[0].what)
    return value


def dump(document: Mapping[str, Any]) -> str:
    """Write plain data as YAML, keys in their order; `Experiment.document` so written loads to an equal experiment."""
    from io import StringIO

    stream, yaml = StringIO(), _yaml()
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its stub says None only
    yaml.width = 132
    yaml.dump(document, stream)
    return stream.getvalue()


def _single(what: str, where: Where, remedy: str | None = None) -> SpecErrors:
    return SpecErrors([SpecError(what, where=where, remedy=remedy)])


def _too_deep(file: str) -> SpecErrors:
    return _single("the file is nested too deeply", Where(file, 1, 1), "an experiment needs some ten levels at most")


def _yaml() -> YAML:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True)


def compose(text: str, file: str) -> Node | None:
    """Parse to a tree of nodes, each with its marks; YAML knows only one syntax error at a time."""
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    if len(text) > _LENGTH:
        raise _single(
            f"the file has {len(text)} characters, and {_LENGTH} are the most", Where(file, 1, 1), "move data into files of its own"
        )
    if _DEEP.search(text):  # soon found here, and very late there
        raise _too_deep(file)
    try:
        node: Node | None = _yaml().compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Where(file, mark.line + 1, mark.column + 1) if mark is not None else Where(file, 1, 1)
        raise _single(*_syntax(error, where)) from None
    except ReaderError as error:
        before = text[: error.position]
        where = Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _single(f"the character {chr(error.character)!r} is not allowed in YAML", where, "remove it") from None
    except RecursionError:
        raise _too_deep(file) from None
    except KeyError as error:
        raise _single(f"the YAML version {error} is not supported", Where(file, 1, 1), "remove the %YAML line") from None
    except (ValueError, OverflowError) as error:
        raise _single(f"not valid YAML: {error}", Where(file, 1, 1)) from None
    return node


def _syntax(error: Any, where: Where) -> tuple[str, Where, str | None]:
    """Say in our words what a YAML error means."""
    problem = str(error.problem or error.context or "unreadable")
    if "'\\t'" in problem or "\\t" in problem:
        return "a tab cannot indent YAML", where, "use spaces"
    if "single document" in str(error.context):
        return "the file holds more than one YAML document", where, "keep one, and remove the --- between them"
    if "mapping values are not allowed" in problem:
        return "YAML: a ':' where no key is expected", where, "check the indentation, or quote the text that holds ': '"
    if "expected <block end>" in problem or "did not find expected" in problem:
        return f"YAML: {problem}", where, "check the indentation of this line and of the block above"
    if "undefined alias" in problem or "undefined alias" in str(error.context):
        return f"YAML: {problem}", where, "define the anchor (&name) before it is used"
    context = f" ({error.context})" if error.context and error.problem else ""
    return f"YAML: {problem}{context}", where, "check brackets, quotes and indentation here"


class Reader:
    """Turns nodes into plain data; notes positions and complaints on the way.

    Parameters
    ----------
    scalar
        Reads one scalar; raises ValueError if it is malformed, KeyError if its tag is not known. None: as YAML 1.2 says.
    """

    def __init__(self, marks: Marks, complaints: Complaints, scalar: Callable[[ScalarNode], Any] | None = None) -> None:
        self._marks = marks
        self._complaints = complaints
        self._read_scalar = scalar or read_scalar
        self._open: list[int] = []
        self._parts = 0

    def value(self, node: Node, path: Path) -> Any:
        spot = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._marks.values[path] = spot
        self._marks.keys.setdefault(path, spot)
        self._parts += 1
        if self._parts > _LIMIT:
            raise _single("the file is too large once its aliases are expanded", Where(self._marks.file, *spot))
        if id(node) in self._open:
            self._complaints.add(path, "refers to itself through an alias", "write the value out")
            return None
        self._open.append(id(node))
        try:
            return self._content(node, path)
        finally:
            self._open.pop()

    def _content(self, node: Any, path: Path) -> Any:
        if node.id == "scalar":
            return self._scalar(node, path)
        if str(node.tag) not in (_TAG + "map", _TAG + "seq"):
            self._complaints.add(path, f"the tag {_shown(node)} is not supported", "remove it")
        if node.id == "sequence":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._map(node, path)

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.style in ("'", '"'):
            self._marks.quoted.add(path)
        try:
            return _not_a("text") if _HALF.search(node.value) else self._read_scalar(node)
        except (ValueError, OverflowError):
            tag = str(node.tag).removeprefix(_TAG)
            text = node.value if len(node.value) <= _SHOWN else node.value[:_SHOWN] + "…"
            self._complaints.add(path, f"{text!r} is not a valid {tag}", "put it in quotes if it is text")
        except KeyError:
            self._complaints.add(path, f"the tag {_shown(node)} is not supported", "remove it")
        return None

    def _map(self, node: MappingNode, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            spot = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key_node.id != "scalar" or key_node.value == "" or _HALF.search(key_node.value):
                self._complaints.add_at(Where(self._marks.file, *spot), "a key must be plain text", "quote it, or remove the '?'")
            elif str(key_node.tag) == _TAG + "merge":
                for name, value in self._merged(value_node, path).items():
                    merged.setdefault(name, value)
            else:
                self._entry(own, str(key_node.value), spot, value_node, path)
        return merged | own if merged else own

    def _entry(self, own: dict[str, Any], key: str, spot: Spot, value_node: Node, path: Path) -> None:
        here = (*path, key)
        if key in own:
            first = self._marks.keys[here][0]
            self._complaints.add_at(
                Where(self._marks.file, *spot), f"the key {key!r} occurs twice; first on line {first}", "keep one of the two"
            )
            return
        self._marks.keys[here] = spot
        own[key] = self.value(value_node, here)

    def _merged(self, node: Any, path: Path) -> dict[str, Any]:
        """The maps behind ``<<:``; earlier ones win, and the map's own keys win over all."""
        result: dict[str, Any] = {}
        for part in node.value if node.id == "sequence" else [node]:
            if part.id != "mapping":
                self._complaints.add(path, "'<<' merges maps only", "point it at an anchored map")
                continue
            known = dict(self._marks.keys), dict(self._marks.values)
            for name, value in self._map(part, path).items():
                result.setdefault(name, value)
            self._marks.keys.update(known[0])
            self._marks.values.update(known[1])
        return result


def read_scalar(node: ScalarNode) -> Any:
    """Read one scalar by its tag; dates stay text. Raises ValueError if malformed, KeyError if the tag is not known."""
    tag, text = str(node.tag).removeprefix(_TAG), str(node.value)
    match tag:
        case "str" | "timestamp" | "value" | "merge":
            return text
        case "null":
            return None
        case "bool" if text.lower() in ("y", "n"):
            return text  # YAML 1.1 would have these for bools; Ansible's reader does not
        case "bool":
            return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _not_a(tag)
        case "int":
            return _integer(text.replace("_", "")) if len(text) <= DIGITS else _not_a(tag)
        case "float":
            return float(
                text.replace("_", "").replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan")
            )
        case _:
            raise KeyError(tag)


def _integer(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    return sign * (int(digits, 0) if digits.lower().startswith(("0x", "0o", "0b")) else int(digits, 10))


def _not_a(tag: str) -> Any:
    raise ValueError(tag)


def _shown(node: Node) -> str:
    return str(node.tag).replace(_TAG, "!!")
