"""What installed packages add: entry points by name, loaded when they are asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from estran.errors import RequestError


def plug_ins(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def loaded(point: EntryPoint, where: str) -> Any:
    """What an entry point names.

    Raises
    ------
    RequestError
        If it cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:  # whatever a package does when it is imported
        package = point.dist.name if point.dist is not None else point.value
        what = f"{point.name} of the package {package} cannot be loaded: {type(error).__name__}: {error}"
        raise RequestError(what, where=where, remedy=f"mend or remove {package}") from error
