"""Which images the containers are made of that commands start."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

ENGINES: Final = ("docker", "podman", "nerdctl")
SINGLE_FILES: Final = ("apptainer", "singularity")
_STARTING: Final = frozenset({"run", "create", "exec", "start"})
_SECONDS: Final = 5.0


def containers(commands: Iterable[Sequence[str]]) -> dict[str, str | None]:
    """Digests of the images that commands name, by name; None where the image could not be asked for its digest.

    Of ``docker``, ``podman`` and ``nerdctl`` the image is the first argument that they know as one; of ``apptainer`` and
    ``singularity`` it is the file ``*.sif``, or an address like ``docker://…``, which says itself what it is.
    """
    found: dict[str, str | None] = {}
    for command in commands:
        engine = Path(command[0]).name if command else ""
        arguments = [one for one in command[1:] if not one.startswith("-")]
        if engine in SINGLE_FILES:
            found |= {one: _of_file(one) for one in arguments if one.endswith(".sif") or "://" in one}
        elif engine in ENGINES and not _STARTING.isdisjoint(arguments):
            names = [one for one in arguments if one not in _STARTING]
            digests = ((name, _of_image(command[0], name)) for name in names)
            found |= dict(next(([one] for one in digests if one[1] is not None), [(" ".join(command), None)]))
    return found


@functools.cache
def _of_image(program: str, name: str) -> str | None:
    asking = [program, "image", "inspect", "--format", "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}", name]
    try:
        done = subprocess.run(asking, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _of_file(name: str) -> str | None:
    if "://" in name:
        return name
    try:
        with Path(name).open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
