"""What another lab must know to judge a run: code, versions, machine, kernel, inputs, command line, and who ran it."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import estran
from estran.errors import DataError
from estran.observe.installed import home, installed, lock_files, source
from estran.observe.machine import machine, settings
from estran.observe.repository import Repository, git_state, repository, root_of
from estran.observe.secrets import known_secrets, names_secret, without, without_in_arguments, without_in_document

__all__ = ["Capture", "capture", "digest", "git_state", "manifest", "shown"]

PACKAGES: Final = (
    "numpy", "numba", "eclipse-zenoh", "msgspec", "duckdb", "pydantic", "ruamel.yaml", "scikit-learn", "river", "scipy", "torch",
)  # fmt: skip
ENVIRONMENT: Final = re.compile(
    r"LANG|LC_\w+|TZ|PYTHONHASHSEED|PYTHONOPTIMIZE|CUDA_VISIBLE_DEVICES|(OMP|OPENBLAS|MKL|NUMEXPR|NUMBA|ESTRAN)_\w+", re.ASCII
)
"""The only variables that are recorded: those known to change results. Never the whole environment, which holds secrets."""
AGENT: Final = "ESTRAN_AGENT"
"""Variable that names who runs: ``Name``, or ``Name <https://orcid.org/…>``. Nobody is named unasked."""
MOST_BYTES: Final = 1 << 30
MOST_FILES: Final = 5000
"""Of an experiment's own files, so much is hashed at the most, small files first; the others are named with their sizes."""
_AGENT: Final = re.compile(r"\s*(?P<name>[^<>]*[^<>\s])\s*(?:<(?P<id>[^<>\s]+)>)?\s*")


@dataclass(frozen=True, slots=True)
class Capture:
    """What is recorded of a run before it starts: one document about the run, one about what is installed, and changes of code."""

    manifest: dict[str, Any]
    environment: Mapping[str, Any]
    patch: bytes = field(repr=False, default=b"")


def capture(
    experiment: Path,
    *,
    command: Sequence[str] = (),
    inputs: Iterable[Path] = (),
    own: Iterable[tuple[str, Path]] = (),
    asked: Mapping[str, Any] | None = None,
) -> Capture:
    """Collect the facts about machine and code as plain data; no secrets.

    Parameters
    ----------
    experiment
        The experiment file; the git repository around it is described.
    command
        The command line that started the run.
    inputs
        Further files that the run reads.
    own
        Files of the experiment's folder by name: code and data. Beyond 1 GiB or 5000 files they are named, but not hashed.
    asked
        What was asked for, so that it can be asked again.

    Raises
    ------
    DataError
        If the experiment file or an input cannot be read.
    """
    folder = experiment.absolute().parent
    secrets = known_secrets()
    hashes, unhashed = _hashes(folder, (experiment, *inputs), own)
    with ThreadPoolExecutor(1) as aside:  # git is another process: meanwhile all else is found out
        asking = aside.submit(_repository, folder, tuple(hashes.items()))
        facts, environment = machine(), installed()
        code = asking.result()
    document = {
        "estran": estran.__version__,
        "estran_source": source(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": _versions(),
        **facts,
        "sysctls": settings(),
        "git": None if code is None else code.facts,
        "source": home(str(experiment.absolute())),
        "hashes": hashes,
        "unhashed": unhashed,
        "asked": without_in_document(dict(asked or {}), secrets),
        "command": [home(one) for one in without_in_arguments(command, secrets)],
        "environment": _environment(secrets),
        "executable": home(sys.executable),
        "agent": _agent(os.environ.get(AGENT)),
    }
    root = root_of(folder)
    locks = {shown(path, folder): _digest_of(path) for path in lock_files(folder, root)}
    return Capture(document, {**environment, "lock_files": locks}, b"" if code is None else code.patch)


def manifest(experiment: Path, *, command: Sequence[str] = (), inputs: Iterable[Path] = ()) -> dict[str, Any]:
    """The first document of `capture` alone.

    Returns
    -------
    dict
        ``estran``, its ``estran_source`` hash, ``python``, ``packages``, ``kernel``, ``os``, ``libc``, ``cpu``, ``hardware``,
        ``gpus``, ``container``, ``machine`` (its name), ``sysctls``, ``git`` (None outside a repository), ``source`` (the file),
        ``hashes`` (``sha256:…`` by path, relative to the experiment's folder where below it), ``unhashed``, ``asked``, ``command``,
        ``environment``, ``executable``, ``agent``.

    Raises
    ------
    DataError
        If the experiment file or an input cannot be read.
    """
    return capture(experiment, command=command, inputs=inputs).manifest


def digest(path: Path) -> str:
    """``sha256:…`` of a file's content.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _digest_of(path: Path) -> str:
    """As `digest`; a file that has not changed since this process read it is not read again."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return _known_digest(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=2 * MOST_FILES)
def _known_digest(path: Path, *state: int) -> str:
    return digest(path)


@functools.lru_cache(maxsize=8)
def _repository(folder: Path, hashes: tuple[tuple[str, str], ...]) -> Repository | None:
    """The repository around a folder, as it was when the process first met these files: what it imported was of that time."""
    return repository(folder)


def _hashes(folder: Path, inputs: Iterable[Path], own: Iterable[tuple[str, Path]]) -> tuple[dict[str, str], dict[str, int]]:
    """Hashes by name, and sizes of what was too much."""
    found = {shown(path, folder): _digest_of(path) for path in inputs}
    unhashed: dict[str, int] = {}
    left = MOST_BYTES
    for size, name, path in sorted((_size(path), name, path) for name, path in own if name not in found):
        if size > left or len(found) >= MOST_FILES:
            unhashed[name] = size
            continue
        left -= size
        try:
            found[name] = _digest_of(path)
        except DataError:  # gone meanwhile, or not for this user to read: then the run cannot read it either
            unhashed[name] = size
    return dict(sorted(found.items())), dict(sorted(unhashed.items())[:MOST_FILES])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _versions() -> dict[str, str]:
    found = {one["name"]: one["version"] for one in installed()["distributions"]}
    names = {package: package.replace(".", "-") for package in PACKAGES}
    return {package: found[name] for package, name in names.items() if name in found}


def _environment(secrets: Sequence[str]) -> dict[str, str]:
    chosen = {name: value for name, value in sorted(os.environ.items()) if ENVIRONMENT.fullmatch(name) and not names_secret(name)}
    return {name: home(without(value, secrets)) for name, value in chosen.items()}


def _agent(text: str | None) -> dict[str, str] | None:
    match = _AGENT.fullmatch(text or "")
    return None if match is None else {key: value for key, value in match.groupdict().items() if value}


def shown(path: Path, folder: Path) -> str:
    """A file's name in ``hashes``: from the experiment's folder where below it, else whole, with ``~`` for the home folder."""
    absolute = path.absolute()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else home(str(absolute))
