"""Which files beside an experiment belong to it: those that its description names, or what these name in turn.

What a run opens cannot be known for every program, so this is judged by names: a file counts as named where its name, its stem
(as a module is imported), or a folder that it lies in appears as a word in the description, in how the run was asked for, or in
the text of a file that is named itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

MOST: Final = 1 << 20
"""Bytes of a file that is looked into at the most; larger ones are data."""


def named(names: Iterable[str], folder: Path, texts: Iterable[str]) -> frozenset[str]:
    """Of some files those that belong to the experiment.

    Parameters
    ----------
    names
        Files as paths from the experiment's folder, with ``/``.
    texts
        What is looked at first: the description, and options that were given with it.
    """
    words = {name: _words(name) for name in names}
    found: set[str] = set()
    unread = "\n".join(texts)
    while unread:
        new = {name for name, patterns in words.items() if name not in found and patterns.search(unread)}
        found |= new
        unread = "\n".join(_text(folder / name) for name in sorted(new))
    return frozenset(found)


def _words(name: str) -> re.Pattern[str]:
    path = PurePosixPath(name)
    words = {path.name, path.stem, *path.parent.parts}
    return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(word) for word in sorted(words)) + r")(?!\w)")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= MOST else ""
    except OSError:
        return ""
