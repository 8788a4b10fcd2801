"""What is installed where a run is conducted: Python, and every distribution with its version and where it came from."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import estran
from estran.observe.repository import git_state
from estran.observe.secrets import known_secrets, without

SCHEMA: Final = 1
LOCKS: Final = ("uv.lock", "poetry.lock", "pixi.lock", "conda-lock.yml", "environment.yml", "pyproject.toml", "requirements*.txt")
"""Files whose hashes are recorded where they lie beside the experiment, or at the root of its repository."""

_FOLDER: Final = re.compile(r"(?P<name>[^-]+)-(?P<version>.+?)(?:-py\d[\d.]*)?\.(?:dist|egg)-info")


class _Dir(msgspec.Struct):
    editable: bool = False


class _Vcs(msgspec.Struct):
    commit_id: str = ""


class _Origin(msgspec.Struct):
    """``direct_url.json`` of PEP 610."""

    url: str
    dir_info: _Dir | None = None
    vcs_info: _Vcs | None = None


@functools.cache
def installed() -> dict[str, Any]:
    """Python and all distributions that it finds, as plain data; read once a process.

    Returns
    -------
    dict
        ``schema``; ``python``: ``implementation``, ``version``, ``executable``; ``distributions``, sorted by name: ``name`` and
        ``version``, and of those that are from no index ``url``, ``editable``, ``commit`` and ``dirty``; ``estran``: ``version``
        and ``source``, the hash of its own files.
    """
    python = {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "executable": home(sys.executable),
    }
    found: dict[str, dict[str, Any]] = {}
    for entry in sys.path:
        for name, version, folder in _distributions(entry):
            found.setdefault(name, {"name": name, "version": version, **_origin(folder)})
    return {
        "schema": SCHEMA,
        "python": python,
        "distributions": [found[name] for name in sorted(found)],
        "estran": {"version": estran.__version__, "source": source()},
    }


@functools.cache
def source() -> str:
    """``sha256:…`` of Estran's own files: the same for the same code, however it is installed."""
    root = Path(estran.__file__).parent
    digest = hashlib.sha256()
    for name, path in sorted(_own(root)):
        data = path.read_bytes()
        digest.update(f"{name} {len(data)} ".encode() + data)
    return "sha256:" + digest.hexdigest()


def home(path: str) -> str:
    """A path with ``~`` for the user's own folder, whose name is nobody's business."""
    own = str(Path.home())
    return "~" + path[len(own) :] if own != "/" and (path == own or path.startswith(own + os.sep)) else path


def lock_files(folder: Path, root: Path | None) -> list[Path]:
    """Lock files in an experiment's folder and at the root of its repository."""
    places = [folder] if root in (None, folder) else [folder, root]
    return sorted(path for place in places if place is not None for name in LOCKS for path in place.glob(name) if path.is_file())


def _own(root: Path) -> Iterator[tuple[str, Path]]:
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__" and Path(where, name) != root / "examples"]
        for name in names:
            if not name.endswith((".nbi", ".nbc", ".pyc")):
                yield Path(where, name).relative_to(root).as_posix(), Path(where, name)


def _distributions(entry: str) -> Iterator[tuple[str, str, Path]]:
    """Name, version and folder of metadata of each distribution of one place that modules are looked for in."""
    try:
        with os.scandir(entry or ".") as entries:
            names = [one.name for one in entries]
    except OSError:
        return
    for name in names:
        match = _FOLDER.fullmatch(name)
        if match:
            yield re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"], Path(entry or ".", name)


def _origin(folder: Path) -> dict[str, Any]:
    try:
        origin = msgspec.json.decode((folder / "direct_url.json").read_bytes(), type=_Origin)
    except (OSError, msgspec.MsgspecError):
        return {}
    path = origin.url.removeprefix("file://")
    url = origin.url if path == origin.url else "file://" + home(path)
    facts: dict[str, Any] = {"url": without(url, known_secrets())}
    if origin.vcs_info is not None:
        facts["commit"] = origin.vcs_info.commit_id
    if origin.dir_info is not None and origin.dir_info.editable:
        state = git_state(Path(path)) or {}
        facts["editable"] = True
        facts |= {name: state[name] for name in ("commit", "dirty", "diff") if name in state}
    return facts
