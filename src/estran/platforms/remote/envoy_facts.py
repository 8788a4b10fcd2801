"""What an envoy finds on its host; sent with it, see `estran.platforms.remote.envoy`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Any

TOOLS = ("bash", "docker", "ip", "iptables", "nft", "rsync", "sbatch", "sudo", "sysctl", "systemctl", "tc", "uv")


def facts(scratch: str) -> dict[str, Any]:
    """What the controller must know of a host."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    home = os.path.expanduser("~")
    own = os.uname()
    places = (os.environ.get("PATH") or os.defpath).split(":")
    return {
        "python": "{}.{}.{}".format(*sys.version_info[:3]), "bytecode": bytecode(), "executable": sys.executable,
        "uid": os.getuid(), "home": home,
        "user": os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid()), "hostname": own.nodename,
        "system": own.sysname, "kernel": own.release, "machine": own.machine, "cores": cores, "memory": memory,
        "libc": libc(), "scratch": scratch, "pid": os.getpid(), "ssh": os.environ.get("SSH_CONNECTION"),
        "cache": os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "estran"),
        "pythons": pythons(places), "tools": {tool: which(tool, [*places, "/usr/sbin", "/sbin"]) for tool in TOOLS},
    }  # fmt: skip


def bytecode() -> str:
    """What this Python's compiled code is marked with: it takes no other."""
    return getattr(sys.modules.get("_frozen_importlib_external"), "MAGIC_NUMBER", b"").hex()


def libc() -> str:
    """The C library and its version; ``-`` where it is not glibc."""
    try:
        told = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        told = None
    return (told or " ").replace(" ", "-")


def pythons(places: list[str]) -> dict[str, str]:
    """Newer Pythons that are here beside this one: path and version."""
    found = {minor: which("python3.{}".format(minor), places) for minor in range(11, 16)}
    return {path: "3.{}.0".format(minor) for minor, path in found.items() if path}


def which(program: str, places: list[str]) -> str | None:
    """Where a program is; `shutil`, which knows it too, is slow to import."""
    for place in places:
        path = os.path.join(place, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def end_strays(mark: str) -> None:
    """Kill what has left its group, and carries the mark."""
    wanted, own = ("ESTRAN_RUN=" + mark).encode(), os.getpid()
    for _ in range(3):
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != own and carries(pid, wanted)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def carries(pid: int, wanted: bytes) -> bool:
    """Whether a process has an entry in its environment."""
    try:
        with open("/proc/{}/environ".format(pid), "rb") as file:
            return wanted in file.read().split(b"\0")
    except OSError:
        return False
