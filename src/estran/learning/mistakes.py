"""What a user's settings can get wrong, told with the nearest right word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from estran.errors import RequestError


class SettingsError(RequestError, ValueError):
    """A setting is wrong. Also a ValueError, so that validators report it at its place in the file."""


def check_known(given: str, options: Iterable[str], *, kind: str, where: str) -> None:
    """Refuse a word that is not among the options, with the nearest one that is.

    Raises
    ------
    SettingsError
        Naming the word and all options.
    """
    known = sorted(options)
    if given not in known:
        near = difflib.get_close_matches(given, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SettingsError(f"there is no {kind} {given!r}", where=where, remedy=f"{hint}known: {', '.join(known) or 'none'}")
