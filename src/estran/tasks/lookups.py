"""What ``lookup``, ``query`` and ``with_…`` find, on the controller."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from estran.tasks.errors import EvaluationError
from estran.tasks.filters import flatten, subelements
from estran.tasks.finder import Finder

Names = Mapping[str, Any]
REFUSED: Final[Mapping[str, str]] = {
    "pipe": "run the command on a host, and register its result",
    "url": "use the module uri or get_url", "password": "give the password as a variable",
    "random_choice": "use the filter random(seed=…), so that it can be repeated",
    "lines": "run the command on a host, and register its result", "unvault": "read secrets from a file",
}  # fmt: skip
"""Lookups of Ansible that are refused, and what to do instead."""


def file_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Content of files."""
    found = []
    for term in terms:
        text = finder.find("files", str(term)).read_text(encoding="utf-8")
        text = text.rstrip() if options.get("rstrip", True) else text
        found.append(text.lstrip() if options.get("lstrip", False) else text)
    return found


def env_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Variables of the controller's environment."""
    return [os.environ.get(str(term), options.get("default", "")) for term in terms]


def items_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """The terms, one level of lists taken out."""
    return flatten(terms, levels=1, skip_nulls=False)


def list_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """The terms as they are."""
    return terms


def dict_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Keys and values of maps."""
    if any(not isinstance(term, Mapping) for term in terms):
        raise EvaluationError("with_dict expects a dict", remedy="give a map")
    return [{"key": key, "value": value} for term in terms for key, value in term.items()]


def fileglob_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Files whose names fit, in order."""
    found: list[str] = []
    for term in terms:
        for place in finder.places("files", str(term)):
            fitting = sorted(str(path) for path in place.parent.glob(place.name) if path.is_file()) if place.parent.exists() else []
            if fitting:
                found += fitting
                break
    return found


def first_found(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """The first file that there is."""
    wanted: list[str] = []
    skip = bool(options.get("skip", False))
    for term in flatten(terms):
        if isinstance(term, Mapping):
            skip = skip or bool(term.get("skip", False))
            paths = flatten([term.get("paths") or [""]])
            wanted += [os.path.join(path, name) for name in flatten([term.get("files") or []]) for path in paths]  # noqa: PTH118
        else:
            wanted.append(str(term))
    for name in wanted:
        for place in finder.places("files", name):
            if place.exists():
                return [str(place)]
    if skip:
        return []
    raise EvaluationError(f"none of these files is there: {', '.join(wanted)}", remedy="add a default, or skip: true")


def nested(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """All combinations of lists."""
    combined: list[list[Any]] = [[]]
    for term in terms:
        combined = [
            [*head, *flatten([part], levels=1)] for head in combined for part in (term if isinstance(term, list) else [term])
        ]
    return combined


def together(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Lists side by side; short ones are filled up with nothing."""
    from itertools import zip_longest

    return [flatten(part, skip_nulls=False) for part in zip_longest(*terms)]


def indexed_items(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Items with their numbers."""
    return [[number, item] for number, item in enumerate(flatten(terms, levels=1, skip_nulls=False))]


def flattened(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """All lists taken out."""
    return flatten(terms)


def sub_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Items with each element of a list inside them."""
    if len(terms) not in (2, 3):
        raise EvaluationError("subelements needs a list and the name of a part", remedy="write [list, name]")
    flags = terms[2] if len(terms) == 3 else options
    pairs = subelements(terms[0], terms[1], bool(flags.get("skip_missing", False)))
    inner = str(terms[1]).split(".")[0]
    return [[{key: part for key, part in item.items() if key != inner}, element] for item, element in pairs]


def sequence(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Numbers from a start to an end, as texts."""
    found: list[Any] = []
    for term in terms or [""]:
        asked = {**dict(part.split("=", 1) for part in str(term).split() if "=" in part), **options}
        start, stride = int(str(asked.get("start", 1)), 0), int(str(asked.get("stride", 1)), 0)
        if "count" in asked:
            count = int(str(asked["count"]), 0)
            numbers = range(start, start + stride * count, stride) if stride else range(0)
        elif "end" in asked:
            end = int(str(asked["end"]), 0)
            numbers = range(start, end + (1 if stride > 0 else -1), stride) if stride else range(0)
        else:
            raise EvaluationError("sequence needs count= or end=", remedy="write such as start=1 end=5")
        found += [str(asked.get("format", "%d")) % number for number in numbers]
    return found


def vars_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Variables by their names."""
    found = []
    for term in terms:
        if term in names:
            found.append(names[term])
        elif "default" in options:
            found.append(options["default"])
        else:
            raise EvaluationError(f"No variable found with this name: {term}", remedy="give default=")
    return found


def varnames(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Names of variables that fit patterns."""
    import re

    return [name for term in terms for name in names if re.search(str(term), name)]


def template_lookup(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Templates of files, rendered."""
    from estran.tasks.scope import Scope

    if not isinstance(names, Scope):
        raise EvaluationError("the lookup template can be used in tasks only")
    paths = [finder.find("templates", str(term)) for term in terms]
    return [names.templates.render(path.read_text(encoding="utf-8"), names, [path.parent, *finder.folders]) for path in paths]


def inventory_hostnames(terms: list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Hosts of groups."""
    groups = names["groups"]
    return [
        host
        for term in terms
        for part in str(term).split(":")
        for host in groups.get(part, [part] if part in groups["all"] else [])
    ]


LOOKUPS: Final[Mapping[str, Callable[[list[Any], Names, Names, Finder], list[Any]]]] = {
    "file": file_lookup, "env": env_lookup, "items": items_lookup, "list": list_lookup, "dict": dict_lookup,
    "fileglob": fileglob_lookup, "first_found": first_found, "nested": nested, "cartesian": nested, "together": together,
    "indexed_items": indexed_items, "flattened": flattened, "subelements": sub_lookup, "sequence": sequence, "vars": vars_lookup,
    "varnames": varnames, "template": template_lookup, "inventory_hostnames": inventory_hostnames,
}  # fmt: skip


def look_up(kind: str, terms: tuple[Any, ...] | list[Any], options: Names, names: Names, finder: Finder) -> list[Any]:
    """Answer one lookup; raises EvaluationError if it is not known, refused, or finds nothing."""
    from estran.spec.suggest import did_you_mean

    if kind in REFUSED:
        raise EvaluationError(f"the lookup {kind!r} is not allowed here", remedy=REFUSED[kind])
    if kind not in LOOKUPS:
        raise EvaluationError(f"there is no lookup {kind!r}", remedy=did_you_mean(kind, LOOKUPS, kind="lookup"))
    try:
        return LOOKUPS[kind](list(terms), options, names, finder)
    except (TypeError, ValueError, AttributeError, LookupError, OSError) as error:
        raise EvaluationError(f"the lookup {kind!r} failed: {error}", remedy="see what it was given") from error
