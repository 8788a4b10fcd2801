"""The git repository around an experiment: its commit, and what has been changed since."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.observe.secrets import known_secrets, without

MOST: Final = 1 << 20
"""Bytes of changes that are kept at the most."""
MOST_NAMES: Final = 1000
"""Untracked files that are named at the most."""
LEFT_OUT: Final = ("**/.env*", "**/*.pem", "**/*.key", "**/id_*", "**/*secret*", "**/*credential*", "**/.netrc", "**/*.p12")
"""Files whose changes are not kept: they are likely to hold secrets."""
_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Repository:
    """State of a repository.

    Attributes
    ----------
    facts
        ``commit``; ``dirty``, None where git could not tell in time; if dirty, ``diff``, a hash of all changes and of untracked
        files' names; ``untracked`` names; ``patch_bytes``, and ``patch_complete``, false where it was cut or files were left out.
    patch
        What `git apply` makes of the commit what the files were, without those of `LEFT_OUT` and without secrets; empty if clean.
    """

    facts: dict[str, Any]
    patch: bytes = b""


def repository(folder: Path) -> Repository | None:
    """The repository around a folder; None where there is none, no commit yet, or no git."""
    commit = _git(folder, "rev-parse", "HEAD", "--show-toplevel")
    if commit is None:
        return None
    head, _, root = commit.decode(errors="replace").rstrip("\n").partition("\n")
    facts: dict[str, Any] = {"commit": head, "dirty": None}
    status = _git(folder, "status", "--porcelain", "-z", "--no-renames")
    if status is None:
        return Repository(facts)
    facts["dirty"] = bool(status)
    if not status:
        return Repository(facts)
    left_out = [f":(exclude,glob,icase,top){pattern}" for pattern in LEFT_OUT]
    changes = _git(Path(root), "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-renames", "--binary")
    kept = _git(Path(root), "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-renames", "--binary", "--", ".", *left_out)
    if changes is None or kept is None:
        return Repository(facts | {"dirty": True})
    names = [name[3:].decode(errors="replace") for name in status.split(b"\0") if name.startswith(b"?? ")]
    facts |= {"diff": "sha256:" + hashlib.sha256(status + changes).hexdigest(), "untracked": names[:MOST_NAMES]}
    patch = without(kept.decode("utf-8", "surrogateescape"), known_secrets()).encode("utf-8", "surrogateescape")
    facts |= {"patch_bytes": len(patch), "patch_complete": kept == changes and len(patch) <= MOST}
    return Repository(facts, patch[:MOST])


def git_state(folder: Path) -> dict[str, Any] | None:
    """Facts of the repository around a folder; None where there is none."""
    found = repository(folder)
    return None if found is None else found.facts


def root_of(folder: Path) -> Path | None:
    """The nearest folder, from this one upwards, that has ``.git``; None if there is none."""
    return next((path for path in (folder, *folder.parents) if (path / ".git").exists()), None)


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # never touch the user's index
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
