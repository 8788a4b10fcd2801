"""What cgroup v1 and v2 share: a run's groups, where they are mounted, and how they are removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from estran.errors import PlatformError
from estran.platforms.emulated.limits.limiter import Usage

FOLDER: Final = "estran"
"""The folder, in whichever group Estran was started in, that holds one folder per run."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted cgroup hierarchy; ``root`` is which of its groups is seen at ``path``."""

    path: Path
    root: str
    controllers: frozenset[str]
    v2: bool


def mounts(mountinfo: str | None = None) -> list[Mount]:
    """The cgroup hierarchies that this process sees (from the text of ``/proc/self/mountinfo``)."""
    found = []
    for line in (mountinfo or Path("/proc/self/mountinfo").read_text()).splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, path = (re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), field) for field in before.split(" ")[3:5])
            found.append(Mount(Path(path), root, frozenset(options.split(",")), kind == "cgroup2"))
    return found


def memberships(text: str | None = None) -> dict[str, str]:
    """The path of this process's group by controller, '' for v2 (from the text of ``/proc/self/cgroup``)."""
    paths = {}
    for line in (text or Path("/proc/self/cgroup").read_text()).splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def own_group(mount: Mount, path: str) -> Path:
    """The folder of the group ``path``; the top of the mount where the group is outside of what is mounted."""
    inside = os.path.relpath(path, mount.root)
    return mount.path if inside.startswith("..") else mount.path / inside


def claim(group: Path) -> int:
    """Mark a run's group as owned by this process for as long as the returned descriptor is open.

    A lock and not a pid: pids mean something else in another process namespace.
    """
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _claimed(group: Path) -> bool:
    try:
        descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # gone meanwhile: nothing left over
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def leftovers() -> list[Path]:
    """Groups of runs whose owner is gone, in all hierarchies, for `remove_tree`; a folder's name is the run's id."""
    return [group for group in _groups() if not _claimed(group)]


def groups_of(run_id: str) -> list[Path]:
    """A run's groups, in all hierarchies: also those that are claimed by a process which is just being ended."""
    return [group for group in _groups() if group.name.partition("@")[0] == run_id]


def _groups() -> Iterator[Path]:
    for mount in mounts():
        for folder, names, _ in os.walk(mount.path):
            if Path(folder).name == FOLDER:
                yield from (Path(folder, name) for name in sorted(names))
                names.clear()


def remove_tree(path: Path, patience: float = 5.0) -> None:
    """Kill every process in a group and below, and remove the groups. Does nothing if there is none.

    Raises
    ------
    PlatformError
        If this process is itself in there, or something is still there after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while path.exists():
        groups = [Path(folder) for folder, _, _ in os.walk(path, topdown=False)]
        pids = {pid for group in groups for pid in members(group)}
        if os.getpid() in pids:
            raise PlatformError("will not remove the group that this process is in", where=str(path))
        for group in groups if pids else []:
            lift(group)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in groups:
            with contextlib.suppress(OSError):  # still busy, or gone: looked at again
                group.rmdir()
        if path.exists():
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"could not be removed; in it are processes {sorted(pids)}", where=str(path), remedy="kill them"
                )
            time.sleep(0.002)
    with contextlib.suppress(OSError):  # other runs are in it, or it is not ours
        if path.parent.name == FOLDER:
            path.parent.rmdir()


def lift(group: Path) -> None:
    """Take off the CPU cap: a process must run to die, and at 2 % of a core that takes long."""
    for file, unlimited in (("cpu.cfs_quota_us", "-1"), ("cpu.max", "max")):
        with contextlib.suppress(OSError):
            if (group / file).exists():
                (group / file).write_text(unlimited)


def members(group: Path) -> list[int]:
    """The pids in a group itself; none if it is gone."""
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split() if pid != "0"]
    except OSError:
        return []


def counters(file: Path) -> dict[str, int]:
    """A file of ``name value`` lines."""
    return {name: int(value) for name, _, value in (line.partition(" ") for line in file.read_text().splitlines())}


def lower(idle: Path, weight: Path, least: str) -> None:
    """Make a group one of the lowest class (Linux 5.15 and later), or give it the least weight."""
    file, value = (idle, "1") if idle.exists() else (weight, least)
    try:
        file.write_text(value)
    except OSError as error:
        raise PlatformError(f"the kernel refused to let a group go last: {error.strerror}", where=str(file)) from error


class Tree(Protocol):
    """One run's groups in one kernel interface. Paths are relative to the run; ``''`` is the run itself."""

    name: str
    nested: bool
    """Whether the kernel refuses a cap above the parent's."""

    def missing(self) -> str | None:
        """Why this interface cannot be used here, as far as looking tells."""
        ...

    def limits(self) -> dict[str, str]: ...

    def make(self, path: str) -> None: ...

    def cap(self, path: str, quota: int, period: int) -> None:
        """Set the CPU cap in microseconds."""
        ...

    def lower(self, path: str) -> None:
        """Let a group run only where its siblings leave a core idle or, on older kernels, at the least weight."""
        ...

    def limit_memory(self, path: str, size: int) -> None: ...

    def join(self, path: str, pid: int) -> None: ...

    def usage(self, path: str) -> Usage: ...

    def oom_kills(self, path: str) -> int:
        """Processes that a memory limit has killed in the group and all below."""
        ...

    def remove(self, path: str) -> None: ...

    def folders(self, path: str) -> tuple[Path, ...]: ...
