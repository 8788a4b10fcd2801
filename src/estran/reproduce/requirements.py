"""The lock of an environment as pip and uv read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

LEFT_OUT: Final = frozenset({"estran", "pip"})
"""Estran lies in the crate as a wheel; pip comes with every environment."""


def requirements(distributions: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The text of ``requirements.txt``, and what others cannot install from it.

    Parameters
    ----------
    distributions
        Those of ``environment.json``.
    """
    lines: list[str] = []
    problems: list[str] = []
    for one in distributions:
        if one["name"] in LEFT_OUT:
            continue
        line = _line(one)
        if line is None:
            origin = f"{one['name']} {one['version']} came from {one['url']}"
            lines.append(f"# {origin}")
            problems.append(f"{origin}, which others have not")
        else:
            lines.append(line)
    return "".join(f"{line}\n" for line in lines), problems


def _line(one: Mapping[str, Any]) -> str | None:
    url = one.get("url")
    if url is None:
        return f"{one['name']}=={one['version']}"
    if url.startswith("file:"):
        return None
    commit = one.get("commit")
    return f"{one['name']} @ git+{url.removeprefix('git+')}@{commit}" if commit else f"{one['name']} @ {url}"
