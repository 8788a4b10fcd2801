"""Which files belong to an experiment: what lies in its folder, without what runs leave there, hidden files and caches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SKIPPED: Final = frozenset({"runs", "studies", "__pycache__", "node_modules", "venv"})
"""Folders that are no part of an experiment."""
LEFT: Final = frozenset({"run.json", "study.json", "optimize.json", "pyvenv.cfg"})
"""Files that tell that their folder was made by a run, a study, an optimisation, or is a virtual environment."""


def own_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of an experiment, as path from its folder (with ``/``) and path, in no order; links count as what they lead to."""
    for where, folders, names in os.walk(folder):
        if not LEFT.isdisjoint(names) and Path(where) != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        for name in names:
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path
