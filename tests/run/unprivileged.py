"""Runs a program as a user without privilege, in surroundings that allow it more or less: ``python unprivileged.py PLACE ARGV…``.

Places: ``open`` allows user namespaces; ``masked`` hides parts of ``/proc``, as containers do, so that no other one can be
mounted; ``container`` makes ``/proc/sys`` read-only too; ``barred`` forbids user namespaces. Everything happens in a mount
namespace (and, for ``barred``, a user namespace) of the program's own: the machine's settings stay as they are. Who is no root
stays the user that he is, which allows ``open`` and ``barred`` only.
"""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65534
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 0x1000, 0x4000, 1 << 18
PR_SET_DUMPABLE = 4
TUN = Path("/dev/net/tun")
MASKED = Path("/proc/kallsyms")
"""One of the files that nothing here reads; containers hide others, to the same effect."""

ENTER = "from estran.platforms.emulated.network import namespace; namespace.enter_user_namespace()"

_libc = ctypes.CDLL(None, use_errno=True)


def through(place: str) -> list[str]:
    """The program that executes another one, given behind it, at a place."""
    return [sys.executable, "-I", "-S", __file__, place]


@contextmanager
def home() -> Iterator[Path]:
    """A folder of that user; pytest's own are closed to others."""
    with TemporaryDirectory(prefix="estran-test-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@cache
def refusal(place: str) -> str | None:
    """Why a place cannot be had here."""
    if place in ("masked", "container") and os.geteuid() != 0:
        return "needs root: it mounts over /proc"
    code = "import estran.cli.main" if place == "barred" else ENTER
    with home() as folder:
        done = subprocess.run([*through(place), sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    return None if done.returncode == 0 else f"not possible here: {done.stderr.strip().splitlines()[-1]}"


def need(place: str) -> None:
    """Skip the test, with the reason, where a place cannot be had."""
    import pytest

    why = refusal(place)
    if why is not None:
        pytest.skip(why)


def main() -> None:
    place, *argv = sys.argv[1:]
    if os.geteuid() == 0:
        _unshare(CLONE_NEWNS)
        _mount(None, Path("/"), None, MS_REC | MS_PRIVATE)
        _show_interpreter()
        _offer_tun()
        if place in ("masked", "container"):
            _mount(Path("/dev/null"), MASKED, None, MS_BIND)
        if place == "container":
            _mount(Path("/proc/sys"), Path("/proc/sys"), None, MS_BIND | MS_REC)
            _mount(None, Path("/proc/sys"), None, MS_BIND | MS_REMOUNT | MS_RDONLY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        _libc.prctl(PR_SET_DUMPABLE, 1)  # or /proc/self still belongs to root
    if place == "barred":
        _bar_user_namespaces()
    os.environ["HOME"] = str(Path.cwd())
    os.environ["XDG_CACHE_HOME"] = str(Path.cwd() / "cache")
    os.execvp(argv[0], argv)


def _bar_user_namespaces() -> None:
    """Enter a user namespace in which no further one may be made; execution then drops the privilege over it."""
    user, group = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def _show_interpreter() -> None:
    """Where interpreter, packages or checkout lie in a folder that is closed to others, open a way to them."""
    hidden: dict[Path, dict[Path, int]] = {}
    for path in (Path(sys.executable).resolve().parents[1], Path(sys.executable).parents[1], CHECKOUT):
        barrier = next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & stat.S_IXOTH), None)
        if barrier is not None:
            hidden.setdefault(barrier, {})[path] = os.open(path, os.O_PATH)
    for barrier, paths in hidden.items():
        _mount(Path("tmpfs"), barrier, "tmpfs", 0, "mode=755")
        for path, descriptor in paths.items():
            path.mkdir(parents=True, exist_ok=True)
            _mount(Path(f"/proc/self/fd/{descriptor}"), path, None, MS_BIND | MS_REC)
            os.close(descriptor)


def _offer_tun() -> None:
    """Where there is a TUN device for root only, offer it to everyone, as distributions do."""
    if TUN.exists() and not TUN.stat().st_mode & stat.S_IWOTH:
        device = TUN.stat().st_rdev
        _mount(Path("tmpfs"), TUN.parent, "tmpfs", 0, "mode=755")
        os.mknod(TUN, stat.S_IFCHR, device)
        TUN.chmod(0o666)


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags))


def _mount(source: Path | None, target: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = (None if text is None else str(text).encode() for text in (source, target, kind))
    _check(_libc.mount(*texts, ctypes.c_ulong(flags), None if options is None else options.encode()))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    main()
