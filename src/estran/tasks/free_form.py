"""Arguments that are written as one text: ``src=a dest=b``, ``echo hi chdir=/tmp``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

OPTIONS: Final = frozenset(("creates", "removes", "chdir", "executable", "stdin", "stdin_add_newline", "strip_empty_ends", "warn"))
"""What may stand in the text of a command beside the command itself."""

_WORD: Final = re.compile(r"(?:\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|[^\s])+", re.DOTALL)
_PAIR: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)


def words(text: str) -> Iterator[re.Match[str]]:
    """Split at blanks, but not inside quotes and expressions."""
    return _WORD.finditer(text)


def pairs(text: str) -> dict[str, str] | None:
    """Read a text of ``key=value`` only; None if it is none.

    Examples
    --------
    >>> pairs("src=a.txt dest='/a b'"), pairs("echo hi")
    ({'src': 'a.txt', 'dest': '/a b'}, None)
    """
    found = {}
    for word in words(text):
        pair = _PAIR.fullmatch(word[0])
        if pair is None:
            return None
        found[pair[1]] = unquoted(pair[2])
    return found


def command(text: str, options: Collection[str] = OPTIONS) -> tuple[str, dict[str, str]]:
    """Take the options out of the text of a command; the rest stays as it is.

    Examples
    --------
    >>> command("echo 'a  b' chdir=/tmp")
    ("echo 'a  b'", {'chdir': '/tmp'})
    >>> command("FOO=1 make")
    ('FOO=1 make', {})
    """
    found: dict[str, str] = {}
    kept, end = [], 0
    for word in words(text):
        pair = _PAIR.fullmatch(word[0])
        if pair is not None and pair[1] in options:
            found[pair[1]] = unquoted(pair[2])
            kept.append(text[end : word.start()])
            end = word.end()
    if not found:
        return text, found
    return ("".join(kept) + text[end:]).strip(), found


def unquoted(text: str) -> str:
    """Take away quotes around the whole."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace('\\"', '"') if text[0] == '"' else text[1:-1]
    return text
