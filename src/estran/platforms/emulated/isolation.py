"""Process and mount namespaces around an emulated run, so that nothing of it can outlive it or be seen outside."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from estran.errors import PlatformError
from estran.platforms.emulated.network import namespace

CLONE_NEWPID: Final = 0x20000000
MS_BIND: Final = 0x1000
PR_SET_PDEATHSIG: Final = 1
PR_SET_TIMERSLACK: Final = 29
PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


def isolate(notes: list[str], hosts_file: Path) -> None:
    """Move this process where its work cannot outlive it; what is not possible here goes to ``notes``.

    Afterwards the caller is root of its own namespaces (rootless: of a user namespace), is the first process of a process
    namespace with its own ``/proc``, and sees ``hosts_file`` as ``/etc/hosts``. The original process stays behind as a
    stub that waits for it and passes on its exit status. Containers that hide parts of ``/proc`` allow no other one to be
    mounted by a user namespace: then there is no process namespace.
    """
    try:
        privilege = namespace.acquire_privilege()
    except PlatformError as error:
        notes.append(f"no namespaces: {error.what}" + (f" ({error.remedy})" if error.remedy else ""))
        return
    if privilege == "user namespace":
        notes.append("rootless: in a user namespace")
    trouble = _attempt()
    if trouble is not None:
        notes.append(f"no process namespace: {trouble}")
    else:
        _become_first_process()
    try:
        _own_mounts()
        if trouble is None:
            _mount("proc", "/proc")
        _bind(hosts_file, Path("/etc/hosts"))
    except PlatformError as error:
        notes.append(f"names of hosts do not resolve on them: {error.what}")


def forget_name_servers() -> None:
    """Let this process and its children look up no names but those of hosts.

    Nobody answers on emulated links, and a program that asks all the same (for the name of whoever connects to it, say) would
    wait for ten seconds each time. Where nothing can be mounted, it does.
    """
    servers = Path("/etc/resolv.conf")
    with suppress(PlatformError):
        _own_mounts()
        if servers.exists():
            _bind(Path("/dev/null"), servers)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; at once if it has ended already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends, as the first process of a namespace is anyway."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1), "cannot adopt orphans")


def end_children(patience: float = 5.0) -> bool:
    """Kill all processes below this one, which has adopted orphans; whether they are gone after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while True:  # children of those that end become our own
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not pid:
                break
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _children() -> list[int]:
    """Processes that this one has to wait for; ended ones, too."""
    own = os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == own:
                    found.append(int(entry.name))
    return found


def _attempt() -> str | None:
    """Try in a throw-away child whether a process namespace with its own /proc can be had; the kernel's reason if not."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        try:
            _become_first_process()
            _own_mounts()
            _mount("proc", "/proc")
            os.write(write_end, b"ok")
        except PlatformError as error:
            os.write(write_end, error.what.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return None if text == "ok" else text or "it ended without a word"


def _become_first_process() -> None:
    """Fork into a new process namespace; only its first process returns."""
    _unshare(CLONE_NEWPID, "cannot make a process namespace")
    stub = os.getpid()
    child = os.fork()
    if child:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _close_inherited()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (0, stub):  # 0: the parent lives in the outer process namespace
        os._exit(1)


def _close_inherited() -> None:
    """The stub must not hold the conductor's connection open: its end is how each side notices that the other has gone."""
    os.closerange(3, 1 << 16)


def _own_mounts() -> None:
    _unshare(namespace.CLONE_NEWNS, "cannot make a mount namespace")
    _check(_libc.mount(None, b"/", None, namespace.MS_REC | namespace.MS_PRIVATE, None), "cannot make mounts private")


def _mount(kind: str, target: str) -> None:
    _check(_libc.mount(kind.encode(), target.encode(), kind.encode(), 0, None), f"cannot mount {kind} on {target}")


def _bind(source: Path, target: Path) -> None:
    _check(_libc.mount(str(source).encode(), str(target).encode(), None, MS_BIND, None), f"cannot show {source} as {target}")


def _unshare(flags: int, what: str) -> None:
    _check(_libc.unshare(flags), what)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise PlatformError(f"{what}: {os.strerror(ctypes.get_errno())}")
