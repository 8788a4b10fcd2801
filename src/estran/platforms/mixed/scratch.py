"""Folders that a run needs beside its run folder: for sockets, whose paths must be short, and for keys of its hosts."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path


def scratch_folder(run_id: str) -> AbstractContextManager[str]:
    """Make one for this user alone, which is removed in the end; by its name `scratch` finds it if the run is killed."""
    return tempfile.TemporaryDirectory(prefix=_prefix(run_id))


def scratch(run_id: str) -> list[Path]:
    """The folders that a run has now."""
    found = Path(tempfile.gettempdir()).glob(f"{_prefix(run_id)}*")
    return [path for path in found if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid()]


def _prefix(run_id: str) -> str:
    return f"estran-{run_id}-"
