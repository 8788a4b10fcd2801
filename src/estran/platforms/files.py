"""Platforms that platform files describe, by the kind that a file says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from estran.platforms.base import Platform
from estran.spec.platform_file import read_platform_file
from estran.spec.plug_ins import loaded, plug_ins

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
    kinds = {name: point for name, point in plug_ins(GROUP).items() if name != but}
    kind, document = read_platform_file(path, kinds)
    platform: Platform = loaded(kinds[kind], str(path))(document)
    return platform
