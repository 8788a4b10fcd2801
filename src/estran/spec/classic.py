"""Scalars as YAML 1.1, and so Ansible, reads them: ``yes`` is true, ``0644`` is octal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from estran.spec.document import DIGITS, read_scalar

if TYPE_CHECKING:
    from ruamel.yaml.nodes import ScalarNode

_STANDARD: Final = "tag:yaml.org,2002:"


def scalar(node: ScalarNode) -> Any:
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
    if len(digits) > DIGITS:
        raise ValueError("too many digits")
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
