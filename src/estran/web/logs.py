"""Lines that services wrote: the last ones, those after some, those that contain a word; live or finished."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from estran.observe.store import LIVE, open_live

MOST: Final = 2000
"""Lines that are given at a time."""
TAIL: Final = 8 * 2**20
"""Bytes at the end of each finished log that are looked through."""

_LINE: Final = re.compile(r"\s*(-?[\d.]+) (\S+)\s+(.*)")
_OWNER: Final = "CASE replica WHEN '' THEN host ELSE replica END"


def read_logs(folder: Path, name: str, after: int, text: str, until: float = math.inf) -> dict[str, Any]:
    """Lines of a run's log.

    Parameters
    ----------
    name
        Of a replica or host; empty for all. It is compared with names that are there, and never made part of a path.
    after
        What the last answer called ``next``: only younger lines are wanted; 0 for the last ones.
    text
        Only lines that contain it, in whatever case.
    until
        Of a finished run only lines that had been written at that time of its clock.

    Returns
    -------
    dict
        ``lines`` (time, owner, channel, text), the youngest last; ``next``; ``source``, which changes when a live run becomes a
        finished one and counting begins anew.
    """
    live = folder / LIVE
    if live.exists():
        try:
            return _live(live, name, after, text)
        except sqlite3.Error:
            if live.exists():
                return {"lines": [], "next": after, "source": "live"}
    return _finished(folder / "logs", name, after, text, until)


def _live(path: Path, name: str, after: int, text: str) -> dict[str, Any]:
    query = f"""SELECT rowid, time, {_OWNER} AS owner, channel, text FROM logs
        WHERE rowid > ? AND (? = '' OR owner = ?) AND (? = '' OR instr(lower(text), lower(?))) ORDER BY rowid DESC LIMIT ?"""  # noqa: S608 our own names
    with closing(open_live(path)) as connection:
        newest = connection.execute("SELECT max(rowid) FROM logs").fetchone()[0] or 0
        rows = connection.execute(query, (after, name, name, text, text, MOST)).fetchall()[::-1]
    last = max([newest, *(row[0] for row in rows[-1:])])
    return {"lines": [row[1:] for row in rows], "next": last, "source": "live"}


def _finished(folder: Path, name: str, after: int, text: str, until: float) -> dict[str, Any]:
    files = {path.stem: path for path in sorted(folder.glob("*.log")) if path.is_file() and not path.is_symlink()}
    wanted = files.values() if not name else [path for stem, path in files.items() if stem == name.replace("/", "_")]
    lines = sorted((line for path in wanted for line in _lines(path) if line[0] <= until), key=lambda line: line[0])
    young = [line for line in lines[after:] if text.lower() in line[3].lower()]
    return {"lines": young[-MOST:], "next": len(lines), "source": "finished"}


def _lines(path: Path) -> Iterator[tuple[float, str, str, str]]:
    time = 0.0
    with path.open("rb") as file:
        begun = max(0, path.stat().st_size - TAIL)
        file.seek(begun)
        if begun:
            file.readline()  # the rest of a line that is cut
        for raw in file:
            line = raw.decode(errors="replace").rstrip("\n")
            found = _LINE.fullmatch(line)
            if found is None:
                yield time, path.stem, "", line
            else:
                time = float(found[1])
                yield time, path.stem, found[2], found[3]
