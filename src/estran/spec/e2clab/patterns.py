"""Selectors of machines, matched as Ansible matches patterns of hosts against an inventory.

The language is that of the page *Patterns: targeting hosts and groups* of Ansible's documentation: names and globs, ``a,b`` or
``a:b`` (union), ``a:&b`` (intersection), ``a:!b`` (difference), ``a[0]``, ``a[-1]``, ``a[1:3]`` (places, the last one included),
``~regex``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Final

_PARTS: Final = re.compile(r"(?:\[[^\]]*\]|[^,:\[]|\[)+")
_PLACE: Final = re.compile(r"(.+)\[(?:(-?\d+)|(\d+)[:-](\d*))\]")


class PatternError(ValueError):
    """A selector that finds nothing, or cannot be read; ``part`` is the part of it that is wrong."""

    def __init__(self, what: str, part: str) -> None:
        super().__init__(what)
        self.part = part


@dataclass(frozen=True, slots=True)
class Inventory:
    """What selectors choose from.

    Attributes
    ----------
    names
        Keys of machines, in their order.
    groups
        Keys by the name of a group, such as a layer.
    """

    names: Sequence[str]
    groups: Mapping[str, Collection[str]]

    def known(self) -> list[str]:
        """Names to suggest in place of one that finds nothing."""
        return [*self.groups, *self.names]


def inventory(members: Iterable[tuple[str, Iterable[str]]]) -> Inventory:
    """Make an inventory of keys ``layer.service.id…`` with further groups of each; every beginning of a key is a group, too."""
    names: list[str] = []
    groups: dict[str, dict[str, None]] = {}
    for key, further in members:
        names.append(key)
        parts = key.split(".")
        for group in (*(".".join(parts[:length]) for length in range(1, len(parts))), *(name.lower() for name in further)):
            groups.setdefault(group, {})[key] = None
    return Inventory(tuple(names), {name: tuple(found) for name, found in groups.items()})


def inventory_of(groups: Mapping[str, Sequence[str]]) -> Inventory:
    """Make an inventory of names that are in some groups."""
    names = dict.fromkeys(name for members in groups.values() for name in members)
    return Inventory(tuple(names), {group.lower(): tuple(members) for group, members in groups.items()})


def select(pattern: str, among: Inventory) -> list[str]:
    """Keys that a selector finds, in the order in which it names them.

    Raises
    ------
    PatternError
        If a part of it finds nothing, or it finds nothing as a whole, or is malformed. A part that is taken away may find nothing.
    """
    parts = split(pattern)
    chosen = [part for part in parts if part[0] not in "!&"] or ["all"]
    found = {key: None for part in chosen for key in _members(part, among)}
    for part in parts:
        if part[0] == "&":
            kept = set(_members(part[1:], among))
            found = {key: None for key in found if key in kept}
    for part in parts:
        if part[0] == "!":
            gone = set(_members(part[1:], among, empty=True))
            found = {key: None for key in found if key not in gone}
    if not found:
        raise PatternError(f"{pattern!r} finds no machine", pattern)
    return list(found)


def split(pattern: str) -> list[str]:
    """The parts of a selector, in lower case but for regular expressions; raises `PatternError` if there are none."""
    parts = [part.strip() for part in _PARTS.findall(pattern)]
    found = [part if part.lstrip("!&").startswith("~") else part.lower() for part in parts if part]
    if not found or any(part in ("!", "&") for part in found):
        raise PatternError(f"{pattern!r} is no selector", pattern)
    return found


def _members(part: str, among: Inventory, *, empty: bool = False) -> list[str]:
    """What one part finds, in the order of the inventory."""
    if part in ("all", "*"):
        return list(among.names)
    place = None if part.startswith("~") else _PLACE.fullmatch(part)
    name = place[1] if place else part
    fits = _expression(name, part)
    wanted = {key for group, keys in among.groups.items() if fits.match(group) for key in keys}
    found = [key for key in among.names if key in wanted or fits.match(key)] if name not in ("all", "*") else list(among.names)
    if not found and not empty:
        raise PatternError(f"{name!r} finds no machine", name)
    return _placed(found, place, part) if place and found else found


def _expression(name: str, part: str) -> re.Pattern[str]:
    try:
        return re.compile(name[1:], re.IGNORECASE) if name.startswith("~") else re.compile(translate(name))
    except re.error as error:
        raise PatternError(f"{part!r} is no regular expression: {error}", part) from None


def _placed(found: list[str], place: re.Match[str], part: str) -> list[str]:
    _, single, first, last = place.groups()
    if single is not None:
        index = int(single)
        chosen = found[index : index + 1 or None] if -len(found) <= index < len(found) else []
    else:
        chosen = found[int(first) : int(last) + 1 if last else None]
    if not chosen:
        raise PatternError(f"{part!r} finds no machine: there are {len(found)}, counted from 0", part)
    return chosen
