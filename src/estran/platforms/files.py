"""Platforms that platform files describe, by the kind that a file says."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from estran.platforms.base import Platform
from estran.spec.platform_file import read_platform_file

GROUP: Final = "estran.platform_files"
"""Entry points of this group make a platform of a platform file's document, by the file's kind."""


def platform_of(path: Path, *, but: str | None = None) -> Platform:
    """The platform that a file describes.

    Parameters
    ----------
    but
        A kind that may not stand here.

    Raises
    ------
    SpecErrors
        All that is wrong with the file.
    """
    kinds = {entry.name: entry for entry in entry_points(group=GROUP) if entry.name != but}
    kind, document = read_platform_file(path, kinds)
    platform: Platform = kinds[kind].load()(document)
    return platform
