"""What another lab must know to judge a run: code, versions, machine, kernel, inputs and command line."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import estran
from estran.errors import DataError

PACKAGES: Final = (
    "numpy", "numba", "eclipse-zenoh", "msgspec", "duckdb", "pydantic", "ruamel.yaml", "scikit-learn", "river", "scipy", "torch",
)  # fmt: skip
SYSCTLS: Final = (
    "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle",
    "net.core.rmem_max", "net.core.wmem_max", "net.core.default_qdisc", "vm.swappiness", "vm.overcommit_memory",
)  # fmt: skip
ENVIRONMENT: Final = re.compile(
    r"LANG|LC_\w+|TZ|PYTHONHASHSEED|PYTHONOPTIMIZE|CUDA_VISIBLE_DEVICES|(OMP|OPENBLAS|MKL|NUMEXPR|NUMBA|ESTRAN)_\w+", re.ASCII
)
"""The only variables that are recorded: those known to change results. Never the whole environment, which holds secrets."""
_SECRET: Final = re.compile(r"TOKEN|SECRET|KEY|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_GIT_SECONDS: Final = 5.0


def manifest(experiment: Path, *, command: Sequence[str] = (), inputs: Iterable[Path] = ()) -> dict[str, Any]:
    """Collect the facts about machine and code as plain data.

    Parameters
    ----------
    experiment
        The experiment file; the git repository around it is described.
    command
        The command line that started the run.
    inputs
        Further files that the run reads.

    Returns
    -------
    dict
        ``estran``, ``python``, ``packages``, ``kernel``, ``cpu``, ``hardware``, ``machine`` (its name), ``sysctls``,
        ``git`` (None outside a repository),
        ``hashes`` (``sha256:…`` by path, relative to the experiment's folder where below it), ``command``, ``environment``.

    Raises
    ------
    DataError
        If the experiment file or an input cannot be read.
    """
    folder = experiment.absolute().parent
    hardware = _hardware()
    return {
        "estran": estran.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": _versions(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": f"{hardware['cores']} × {hardware['model']}",
        "hardware": hardware,
        "machine": platform.node(),
        "sysctls": _sysctls(),
        "git": git_state(folder),
        "hashes": {_shown(path, folder): digest(path) for path in (experiment, *inputs)},
        "command": list(command),
        "environment": _environment(),
        "executable": sys.executable,
    }


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


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository around a folder, whether it has changes, and their hash (also of untracked files' names).

    None where there is no repository, no commit yet, or no git; ``dirty`` is None where git could not tell in time.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    state: dict[str, Any] = {"commit": commit.decode().strip(), "dirty": None}
    status, changes = _git(folder, "status", "--porcelain"), _git(folder, "diff", "HEAD", "--no-ext-diff", "--binary")
    if status is None or changes is None:
        return state
    state["dirty"] = bool(status)
    if status:
        state["diff"] = "sha256:" + hashlib.sha256(status + changes).hexdigest()
    return state


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # never touch the user's index
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, Any]:
    return {
        "model": _field("/proc/cpuinfo", "model name", "Model", "Hardware") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory": int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024,
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def _field(file: str, *names: str) -> str | None:
    """The value of the first line ``name : value`` with one of the names, tried in order."""
    lines = [line.partition(":") for line in (_text(file) or "").splitlines()]
    return next((value.strip() for name in names for key, _, value in lines if key.strip() == name), None)


def _sysctls() -> dict[str, str]:
    found = {name: _text("/proc/sys/" + name.replace(".", "/")) for name in SYSCTLS}
    return {name: " ".join(value.split()) for name, value in found.items() if value is not None}


def _text(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _environment() -> dict[str, str]:
    return {name: value for name, value in sorted(os.environ.items()) if ENVIRONMENT.fullmatch(name) and not _SECRET.search(name)}


def _shown(path: Path, folder: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)
