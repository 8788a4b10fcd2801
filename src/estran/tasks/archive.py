"""The modules of the installed ansible-core, as hosts import them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from typing import Any

from estran.errors import RequestError
from estran.platforms.remote.envoy_unpacking import unpacked
from estran.platforms.remote.packing import Archive, cache_folder, with_code, write_archive


@dataclass(frozen=True, slots=True)
class Modules:
    """Modules for hosts.

    Attributes
    ----------
    archive
        Named by what it holds; with their compiled code for hosts whose Python is of the controller's version.
    oldest
        The oldest Python that takes them.
    """

    archive: Archive
    oldest: tuple[int, int]


def ansible_folder() -> Path | None:
    """Where ansible-core is installed; None if it is not."""
    spec = find_spec("ansible")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places and (Path(places[0]) / "module_utils" / "basic.py").exists() else None


def installed_ansible() -> Path:
    """Where ansible-core is installed; raises RequestError if it is not."""
    folder = ansible_folder()
    if folder is None:
        raise RequestError("this needs ansible-core, which is not installed", remedy="pip install 'estran[ansible]'")
    return folder


@cache
def core_modules() -> Modules:
    """``ansible/module_utils`` and ``ansible/modules`` of the installed ansible-core; raises RequestError without one."""
    return packed_modules(installed_ansible())


def packed_modules(folder: Path) -> Modules:
    """Modules of an installed ansible-core, packed if they are not yet.

    They are unpacked here, too, as on any host: emulated hosts of this machine need not do it then, each for itself.
    """
    paths = {
        f"ansible/{path.relative_to(folder).as_posix()}": path
        for part in ("module_utils", "modules")
        for path in sorted((folder / part).rglob("*.py"))
    }
    digest = hashlib.sha256(MAGIC_NUMBER + _top(folder))
    for name, path in paths.items():
        digest.update(name.encode() + path.read_bytes())
    name = f"ansible-{digest.hexdigest()[:16]}"
    archive = Archive(cache_folder() / f"{name}.tar.gz", name)
    if not archive.path.exists():
        write_archive(archive.path, _files(folder, paths), {})
    here = cache_folder().parent / name
    if not here.is_dir():
        unpacked(str(archive.path), str(here))
    return Modules(archive, _oldest(folder))


def _files(folder: Path, paths: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    yield "ansible/__init__.py", _top(folder)
    for name, path in paths.items():
        yield from with_code(name, path)


def _top(folder: Path) -> bytes:
    """The top of the package as modules need it: its version, and room for what the host has of the namespace."""
    return f"__version__ = {ansible_version(folder)!r}\n__author__ = 'Ansible, Inc.'\n".encode()


def ansible_version(folder: Path) -> str:
    """Version of an installed ansible-core."""
    found = re.search(r"^__version__ = ['\"]([^'\"]+)", (folder / "release.py").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


def _oldest(folder: Path) -> tuple[int, int]:
    """The oldest Python of hosts, as the modules' foundation tells it."""
    text = (folder / "module_utils" / "basic.py").read_text(encoding="utf-8")
    found = re.search(r"_PY_MIN = \((\d+), (\d+)\)", text)
    if found is None:
        raise RequestError(
            f"ansible-core {ansible_version(folder)} does not tell which Python its modules need",
            remedy="install a version between 2.15 and 2.19",
        )
    return int(found[1]), int(found[2])


def module_arguments(name: str, arguments: dict[str, Any], *, no_log: bool, scratch: str, version: str) -> dict[str, Any]:
    """Arguments of a module with what its foundation wants beside them."""
    return {
        **arguments,
        "_ansible_check_mode": False, "_ansible_no_log": no_log, "_ansible_debug": False, "_ansible_diff": False,
        "_ansible_verbosity": 0, "_ansible_version": version, "_ansible_module_name": name, "_ansible_syslog_facility": "LOG_USER",
        "_ansible_selinux_special_fs": ["fuse", "nfs", "vboxsf", "ramfs", "9p", "vfat"], "_ansible_keep_remote_files": False,
        "_ansible_string_conversion_action": "warn", "_ansible_socket": None, "_ansible_shell_executable": "/bin/sh",
        "_ansible_tmpdir": None, "_ansible_remote_tmp": scratch, "_ansible_ignore_unknown_opts": False,
        "_ansible_target_log_info": None, "_ansible_tracebacks_for": [],
    }  # fmt: skip
