"""YAML as Ansible reads it, version 1.1: ``yes`` is true, ``0644`` is octal; with the line and column of every key and value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from estran.errors import SpecError, SpecErrors, Where
from estran.spec.document import Reader, compose, read_scalar, read_utf8
from estran.spec.marks import Complaints, Marks, Path

if TYPE_CHECKING:
    from ruamel.yaml.nodes import ScalarNode

_STANDARD: Final = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Page:
    """One of a scenario's files as plain data, with the marks of its parts and the complaints about it.

    Attributes
    ----------
    selectors
        Those that it has, by their paths, whatever else is wrong with the blocks around them.
    """

    data: Any
    marks: Marks
    complaints: Complaints
    selectors: dict[Path, str] = field(default_factory=dict)


def read_page(path: FilePath) -> Page:
    """Read one file; one without content has the data None.

    Raises
    ------
    SpecErrors
        If there is no such file, it is not UTF-8, or it is not YAML.
    """
    file = str(path)
    root = compose(read_utf8(path), file)
    marks = Marks(file)
    complaints = Complaints(marks)
    return Page(None if root is None else Reader(marks, complaints, _scalar).value(root, ()), marks, complaints)


def _scalar(node: ScalarNode) -> Any:
    """Read one scalar as YAML 1.1 has it. What ``!unsafe`` says must not be taken for a template becomes a template of itself."""
    tag, text = str(node.tag), str(node.value)
    if tag == "!unsafe":
        return f"{{% raw %}}{text}{{% endraw %}}" if re.search(r"\{[{%#]", text) else text
    if node.style or not tag.startswith(_STANDARD):
        return read_scalar(node)
    return plain(text)


def plain(text: str) -> Any:
    """Read a scalar without quotes and tags; dates stay text.

    The forms are those of the type repository of YAML 1.1 (yaml.org/type), as PyYAML, and so Ansible, reads them.

    Examples
    --------
    >>> plain("yes"), plain("0644"), plain("01:00:00"), plain("1e3"), plain("~")
    (True, 420, '01:00:00', '1e3', None)
    """
    for form, read in _FORMS:
        if re.fullmatch(form, text):
            return read(text)
    return text


def _truth(text: str) -> bool:
    return text.lower() in ("yes", "true", "on")


def _integer(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    digits = digits.replace("_", "")
    if ":" in digits:
        return sign * int(_sixtieths(digits))
    if digits.startswith(("0b", "0x")):
        return sign * int(digits, 0)
    return sign * int(digits, 8 if digits.startswith("0") and len(digits) > 1 else 10)


def _number(text: str) -> float:
    digits = text.replace("_", "").lower()
    if ":" in digits:
        return -_sixtieths(digits[1:]) if digits.startswith("-") else _sixtieths(digits.removeprefix("+"))
    return float(digits.replace(".inf", "inf").replace(".nan", "nan"))


def _sixtieths(digits: str) -> float:
    value = 0.0
    for part in digits.split(":"):
        value = value * 60 + float(part)
    return value


_FORMS: Final[tuple[tuple[str, Callable[[str], Any]], ...]] = (
    (r"~|null|Null|NULL|", lambda _: None),
    (r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", _truth),
    (r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)", _integer),
    (r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*", _number),
    (r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", _number),
)


def refuse(page: Page, what: str, remedy: str) -> None:
    """Complain of a page as a whole."""
    page.complaints.add_at(Where(page.marks.file, 1, 1), what, remedy)


def combined(pages: list[Page], further: list[SpecError]) -> None:
    """Raise all that is wrong with several files, file by file in the order of their lines.

    Raises
    ------
    SpecErrors
        If there is anything.
    """
    found = [*further]
    for page in pages:
        try:
            page.complaints.stop_if_any()
        except SpecErrors as errors:
            found += errors.errors
    if found:
        raise SpecErrors(found)
