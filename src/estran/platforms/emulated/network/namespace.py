"""Network namespaces held by file descriptor alone, and privilege over them with or without root.

A namespace without a name vanishes when the last process in it and the last descriptor of it are gone: a killed
owner leaves nothing. Entering and making namespaces moves the calling thread, so only a single-threaded process may.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from estran.errors import PlatformError
from estran.platforms.emulated.network.netlink import Netlink, link_up

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_LOOPBACK_INDEX: Final = 1

Privilege = Literal["root", "user namespace"]

_libc = ctypes.CDLL(None, use_errno=True)


def _call(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def current() -> int:
    """Open the calling thread's network namespace; the caller closes the descriptor."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(namespace: int) -> None:
    """Move the calling thread into the network namespace open at a descriptor, for good.

    Raises
    ------
    PlatformError
        If it is no network namespace, or privilege over it is missing; the cause is an `OSError`.
    """
    try:
        _call(_libc.setns(namespace, CLONE_NEWNET))
    except OSError as error:
        raise PlatformError(f"cannot enter the network namespace at descriptor {namespace}: {error.strerror}") from error


@contextmanager
def returning() -> Iterator[None]:
    """Come back to the present network namespace on exit, wherever the body went."""
    home = current()
    try:
        yield
    finally:
        try:
            enter(home)
        finally:
            os.close(home)


@contextmanager
def entered(namespace: int) -> Iterator[None]:
    """Be in the network namespace open at a descriptor for the body's time.

    Sockets and interfaces that are opened meanwhile stay there.
    """
    with returning():
        enter(namespace)
        yield


def create() -> int:
    """Make an empty network namespace, move into it and open it; the caller closes the descriptor.

    Use it within `returning` (or `entered`), which leads back.

    Raises
    ------
    PlatformError
        If the kernel refuses; the cause is an `OSError`.
    """
    try:
        _call(_libc.unshare(CLONE_NEWNET))
        return current()
    except OSError as error:
        raise PlatformError(f"cannot make a network namespace: {error.strerror}", remedy=_remedy_namespace(error)) from error


def _remedy_namespace(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        return "raise the limit of open files (ulimit -n): each host holds one"
    if error.errno == errno.ENOSPC:
        return "raise user.max_net_namespaces with sysctl, or emulate fewer hosts"
    return "run as root, or without root where user namespaces are allowed; `estran doctor` tells which"


def set_sysctls(values: Mapping[str, str]) -> None:
    """Set kernel parameters below ``net/`` of the present network namespace.

    Parameters
    ----------
    values
        By path below ``/proc/sys/net``: ``{"ipv4/ip_forward": "1"}``.

    Raises
    ------
    PlatformError
        If a parameter is missing or may not be set; the cause is an `OSError`.
    """
    for name, value in values.items():
        try:
            _write(f"/proc/sys/net/{name}", value)
        except OSError as error:
            raise PlatformError(f"cannot set net/{name} to {value}: {error.strerror}", remedy=_remedy_sysctl(error)) from error


def _remedy_sysctl(error: OSError) -> str | None:
    if error.errno == errno.EROFS:
        return "/proc/sys is read-only here, as in containers by default; start the container with --privileged, or rw /proc"
    return None


def acquire_privilege() -> Privilege:
    """Make sure that this process may make network namespaces: as it is, else in a user namespace of its own.

    Raises
    ------
    PlatformError
        If neither is allowed, with the setting that forbids it.
    """
    if _capable():
        return "root"
    enter_user_namespace()
    return "user namespace"


def _capable() -> bool:
    status = Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace")
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    return all(effective >> capability & 1 for capability in (_CAP_NET_ADMIN, _CAP_SYS_ADMIN))


def enter_user_namespace() -> None:
    """Become root of a new user namespace, with network and mount namespaces of its own.

    The calling user is its uid 0; mounts made from now on stay private. The network namespace is new too, since
    one that belongs to the outer user could be left but never entered again: outside networks are gone for good, and only
    the loopback interface is up.

    Raises
    ------
    PlatformError
        If the process has threads, or the kernel, AppArmor or a limit forbids it.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        _call(_libc.unshare(CLONE_NEWUSER))
        _write("/proc/self/setgroups", "deny")  # the kernel wants this before an unprivileged group map
        _write("/proc/self/uid_map", f"0 {user} 1")
        _write("/proc/self/gid_map", f"0 {group} 1")
        _call(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
        _call(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    except OSError as error:
        remedy = _remedy_user_namespace(error.errno or 0)
        raise PlatformError(f"cannot make a user namespace: {error.strerror}", remedy=remedy) from error
    with Netlink() as netlink:
        netlink.send([link_up(_LOOPBACK_INDEX)])


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _remedy_user_namespace(code: int) -> str:
    if code == errno.EINVAL:
        return "the process that calls this must have a single thread"
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "allow them with `sysctl kernel.unprivileged_userns_clone=1`, or run as root"
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "AppArmor forbids it: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run as root"
    if _setting("/proc/sys/user/max_user_namespaces") == "0" or code in (errno.ENOSPC, errno.EUSERS):
        return "raise user.max_user_namespaces with sysctl, or run as root"
    return "run as root; in a container, its security profile must allow unshare(2)"


def _setting(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None  # this kernel has no such setting
