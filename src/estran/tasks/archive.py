"""The modules of the installed ansible-core, as an archive that hosts import them from."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Time of all entries: the same modules make the same bytes."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Modules for hosts.

    Attributes
    ----------
    name
        Names its content, by its hash.
    oldest
        The oldest Python that takes them.
    """

    name: str
    content: bytes
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
def core_archive() -> Archive:
    """Make the archive of ``ansible/module_utils`` and ``ansible/modules``; raises RequestError without ansible-core."""
    return make_archive(installed_ansible())


def make_archive(folder: Path) -> Archive:
    """Make the archive of an installed ansible-core."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "ansible/__init__.py", _top(folder))
        for part in ("module_utils", "modules"):
            for path in sorted((folder / part).rglob("*.py")):
                _add(archive, f"ansible/{path.relative_to(folder).as_posix()}", path.read_bytes())
    content = stream.getvalue()
    return Archive(f"ansible-{hashlib.sha256(content).hexdigest()[:16]}.zip", content, _oldest(folder))


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


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
