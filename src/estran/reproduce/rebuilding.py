"""The environment that a record was made in, built again: an own Python with exactly the recorded versions."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import EstranError, RequestError
from estran.reproduce.layout import LOCK, REQUIREMENTS, Crate

Tell = Callable[[str], None]
_LISTED: Final = """
import json, re, sys
from importlib.metadata import distributions
found = {}
for one in distributions():
    found.setdefault(re.sub(r"[-_.]+", "-", one.metadata["Name"] or "").lower(), one.version)
json.dump(found, sys.stdout)
"""
_ABSENT: Final = (
    re.compile(r"No matching distribution found for (\S+)"),
    re.compile(r"there is no version of (\S+)"),
    re.compile(r"(\S+) was not found in the package registry"),
    re.compile(r"Failed to (?:build|download|fetch)[^`'\n]*[`'](\S+?)[`']"),
)
_APART: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")


@dataclass(frozen=True, slots=True)
class Environment:
    """Where to run.

    Attributes
    ----------
    python
        The interpreter.
    variables
        Of the process.
    apart
        Distributions whose version is not the recorded one: name, recorded and found version; empty if it is not there.
    """

    python: Path
    variables: Mapping[str, str]
    apart: tuple[tuple[str, str, str], ...]


def here(root: Path) -> Environment:
    """The environment of this process, and how it differs from the recorded one."""
    lock = _lock(root)
    python = Path(sys.executable)
    return Environment(python, dict(os.environ), _apart(lock, _found(python, os.environ)))


def rebuild(crate: Crate, root: Path, into: Path, tell: Tell) -> Environment:
    """Make a new environment with the recorded versions, from this machine's package index.

    Parameters
    ----------
    root
        Where the crate's files are.
    into
        Folder that is made.
    tell
        Is told what is being done.

    Raises
    ------
    RequestError
        If the crate has no Estran, or there is no such Python.
    EstranError
        If a package is not to be had in its version; it is named.
    """
    lock = _lock(root)
    wheels = [file.path for file in crate.files if file.role == "estran"]
    if not wheels:
        raise RequestError("the crate holds no Estran to run it with", where=str(root), remedy="use this one: --env here")
    variables = {name: value for name, value in os.environ.items() if name not in _APART}
    python = into / "bin" / "python"
    version = str(lock["python"]["version"])
    tell(f"making an environment with Python {version}")
    make, install = _tools(".".join(version.split(".")[:2]), python)
    _done([*make, str(into)], variables, f"Python {version}")
    tell(f"installing {len(lock['distributions'])} distributions")
    _done([*install, "--no-deps", "-r", str(root / REQUIREMENTS)], variables, "the recorded distributions")
    _done([*install, "--no-deps", *(str(root / wheel) for wheel in wheels)], variables, "Estran")
    return Environment(python, variables, _apart(lock, _found(python, variables)))


def _tools(version: str, python: Path) -> tuple[list[str], list[str]]:
    """Commands that make an environment with a Python, and that install into it: uv's, or pip's from here, or its own."""
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "venv", "--quiet", "--python", version], [uv, "pip", "install", "--python", str(python)]
    make, quiet = [_interpreter(version), "-m", "venv"], ["--disable-pip-version-check", "--no-input"]
    if importlib.util.find_spec("pip") is None:
        return make, [str(python), "-m", "pip", "install", *quiet]
    return [*make, "--without-pip"], [sys.executable, "-m", "pip", "--python", str(python), "install", *quiet]


def _lock(root: Path) -> Mapping[str, Any]:
    try:
        lock = msgspec.json.decode((root / LOCK).read_bytes(), type=dict[str, Any])
        if "python" not in lock or "distributions" not in lock:
            raise msgspec.ValidationError("it says nothing of Python, or of distributions")
    except (OSError, msgspec.MsgspecError) as error:
        raise RequestError(f"it cannot be read: {error}", where=LOCK, remedy="use this environment: --env here") from error
    return lock


def _interpreter(version: str) -> str:
    """A Python of a version, as ``3.12``: this one, or one on the path."""
    if version == ".".join(map(str, sys.version_info[:2])):
        return getattr(sys, "_base_executable", sys.executable)
    found = shutil.which(f"python{version}")
    if found is None:
        raise RequestError(
            f"there is no Python {version} here, which the record was made with", where="--env", remedy="install it, or --env here"
        )
    return found


def _done(command: list[str], variables: Mapping[str, str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=dict(variables), check=False)
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    absent = next((found[1].strip("`'\"") for pattern in _ABSENT if (found := pattern.search(said))), None)
    remedy = "make it available (a mirror, a wheel), or use this environment: --env here"
    if absent is not None:
        raise EstranError(f"{absent} is not to be had", where="environment", remedy=remedy)
    lines = [line for line in said.splitlines() if line.strip()]
    raise EstranError(f"cannot install {what}: {lines[-1] if lines else 'no reason given'}", where="environment", remedy=remedy)


def _found(python: Path, variables: Mapping[str, str]) -> Mapping[str, str]:
    done = subprocess.run([str(python), "-P", "-c", _LISTED], capture_output=True, env=dict(variables), check=False)
    try:
        return msgspec.json.decode(done.stdout, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise EstranError("it does not say what is installed", where=str(python), remedy="see whether that Python runs") from error


def _apart(lock: Mapping[str, Any], found: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    wanted = {str(one["name"]): str(one["version"]) for one in lock["distributions"]}
    return tuple(
        (name, version, found.get(name, ""))
        for name, version in wanted.items()
        if found.get(name) != version and name not in ("estran", "pip")
    )
