"""A file system of its own for an emulated host: what is written there is seen there alone, and is gone with the host.

It is this machine's file system under a layer in memory (overlayfs). This program is run by its path, in a fresh Python that looks
for nothing but its standard library; it makes the layer, moves into it, and becomes the envoy whose program it is given.
"""

from __future__ import annotations

import ctypes
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
SHARED: Final = ("/proc", "/sys", "/dev", "/run")
"""What hosts have in common: what is the kernel's, and sockets of the machine's services."""

_libc = ctypes.CDLL(None, use_errno=True)


def own_files(base: Path, kept: Path) -> None:
    """Move this process onto a layer of its own.

    Parameters
    ----------
    base
        An empty folder, on which layers are kept, in this process's sight alone.
    kept
        A folder that stays shared with the controller.

    Raises
    ------
    OSError
        If this kernel, or this user, cannot.
    """
    _check("unshare", _libc.unshare(CLONE_NEWNS))
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    points = [point for point in _mount_points() if point != "/" and not _is_below(point, SHARED)]
    _mount("tmpfs", str(base), "tmpfs")
    root = _layer("/", base, 0)
    for place in (*SHARED, str(kept)):
        if Path(place).exists():
            _mount(place, f"{root}{place}", None, MS_BIND | MS_REC)
    for number, point in enumerate(points, 1):
        _further(point, root, base, number)
    os.chroot(root)
    os.chdir("/")


def _further(point: str, root: Path, base: Path, number: int) -> None:
    """Another file system of this machine: a layer over it, too; what can have none, as it is; of a single file, a copy."""
    if not Path(point).is_dir():
        Path(f"{root}{point}").write_bytes(Path(point).read_bytes())  # the keeper's file of hosts has no name any more
        return
    try:
        source = str(_layer(point, base, number))
    except OSError:
        source = point
    _mount(source, f"{root}{point}", None, MS_BIND)


def _layer(lower: str, base: Path, number: int) -> Path:
    """A layer over a folder; return where the two are seen together."""
    upper, work, merged = (base / f"{name}{number}" for name in ("upper", "work", "merged"))
    for folder in (upper, work, merged):
        folder.mkdir()
    upper.chmod(Path(lower).stat().st_mode & 0o7777)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _mount("overlay", str(merged), "overlay", 0, options, what=f"a layer over {lower}")
    return merged


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return sorted({line.split(" ")[4].encode().decode("unicode_escape") for line in lines})


def _is_below(point: str, places: Sequence[str]) -> bool:
    return any(point == place or point.startswith(f"{place}/") for place in places)


def _mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None, what: str = "a mount") -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    _check(what, _libc.mount(*words[:3], ctypes.c_ulong(flags), words[3]))


def _check(what: str, status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def main(program: str, base: str, kept: str, note: str) -> None:
    """Entry point: ``room.py PROGRAM BASE KEPT NOTE``; why there is no file system of its own is written into the last."""
    text = zlib.decompress(Path(program).read_bytes())
    try:
        own_files(Path(base), Path(kept))
    except OSError as error:
        Path(note).write_text(str(error.strerror), encoding="utf-8")
    exec(text, {"__name__": "envoy"})  # noqa: S102 - our own program


if __name__ == "__main__":
    main(*sys.argv[1:])
