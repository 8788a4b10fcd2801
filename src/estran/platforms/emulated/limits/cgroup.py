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
from types import TracebackType
from typing import Final, Protocol

from estran.errors import PlatformError
from estran.platforms.emulated.limits.limiter import Corrector, HostGroup, Usage, grant, quota_and_period, watched
from estran.platforms.emulated.limits.rest import Rest
from estran.platforms.emulated.limits.shares import burner
from estran.platforms.emulated.links.engine import Trial

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
            _lift(group)
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


def _lift(group: Path) -> None:
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


class CgroupService:
    """A service's group below a `CgroupHost`."""

    def __init__(self, host: CgroupHost, name: str, cpu: float, yields: bool) -> None:
        self.name = name
        self.host = host
        self.yields = yields
        self.asked = cpu
        self.cpu = min(cpu, host.cpu)
        self.corrector = Corrector(self.cpu)
        self.path = f"{host.path}/service-{name}"
        self.period = 0
        self.capped = 0.0

    def attach(self, pid: int) -> None:
        self.host.tree.join(self.path, pid)

    @property
    def memory(self) -> int | None:
        return self.host.memory

    def usage(self) -> Usage:
        return self.host.tree.usage(self.path)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The group's folder in each hierarchy."""
        return self.host.tree.folders(self.path)

    def oom_kills(self) -> int:
        return self.host.tree.oom_kills(self.path)

    def remove(self) -> None:
        self.host.forget(self)

    @property
    def share(self) -> float:
        """The cap in force, corrected."""
        if not self.yields:
            return self.cpu * self.corrector.factor
        return self.host.left if self.cpu == self.host.cpu else min(self.host.left, self.cpu)


class CgroupHost:
    """A device's group. It has a CPU cap only while its services could exceed it together: capping twice costs accuracy."""

    def __init__(self, tree: Tree, name: str, cpu: float, memory: int | None) -> None:
        self.tree = tree
        self.name = name
        self.asked = cpu
        self.cpu, self.notes = grant(name, cpu)
        self.memory = memory
        self.path = f"host-{name}"
        self.corrector = Corrector(self.cpu)
        self.period = 0
        self._rest = Rest(self.cpu)
        self._services: dict[str, CgroupService] = {}
        self._killed_before = 0
        tree.make(self.path)
        if memory is not None:
            tree.limit_memory(self.path, memory)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The group's folder in each hierarchy."""
        return self.tree.folders(self.path)

    @property
    def left(self) -> float:
        """Local cores for each service that yields."""
        return self._rest.share / max(len(self._yielding()), 1)

    def service(self, name: str, cpu: float, *, yields: bool = False) -> CgroupService:
        grant(f"{self.name}/{name}", cpu)
        if name in self._services:
            raise PlatformError(f"has a group for the service {name!r} already", where=self.name)
        service = self._services[name] = CgroupService(self, name, cpu, yields)
        self.tree.make(service.path)
        if yields:
            self.tree.lower(service.path)
        self._apply(service)
        return service

    def lift(self) -> None:
        for path in (self.path, *(service.path for service in self._services.values())):
            for folder in self.tree.folders(path):
                _lift(folder)

    def enforce(self) -> None:
        self._cap()
        for service in self._services.values():
            self._cap_service(service)

    def usage(self) -> Usage:
        return self.tree.usage(self.path)

    def oom_kills(self) -> int:
        return self._killed_before + self.tree.oom_kills(self.path)

    def remove(self) -> None:
        self.tree.remove(self.path)

    def forget(self, service: CgroupService) -> None:
        """Remove a service's group; the kills counted in it stay counted."""
        before = self.oom_kills()
        self.tree.remove(service.path)
        self._services.pop(service.name, None)
        self._killed_before += before - self.oom_kills()

    def step(self) -> None:
        """Correct the caps of the services and of the host from their accounting."""
        for service in self._services.values():
            capped = service.period and not service.yields
            if capped and service.corrector.step(service.usage(), time.monotonic(), service.period * 1e-6):
                self._apply(service)
        if self._yielding():
            self._leave()
        elif self.period and self.corrector.step(self.usage(), time.monotonic(), self.period * 1e-6):
            self._cap()

    def _yielding(self) -> list[CgroupService]:
        return [service for service in self._services.values() if service.yields]

    def _leave(self) -> None:
        """Cap the services that yield to what the others leave."""
        used = sum(service.usage().cpu for service in self._yielding())
        self._rest.step(self.usage().cpu - used, used, time.monotonic())
        for service in self._yielding():
            self._apply(service)

    def _apply(self, service: CgroupService) -> None:
        """Cap a service anew, and the host around it: when the service rises, the host must go first."""
        rises = service.share > service.capped
        service.capped = service.share
        if rises:
            self._cap()
        self._cap_service(service)
        if not rises:
            self._cap()

    def _cap(self) -> None:
        services = self._services.values()
        if self.period or sum(service.cpu for service in services if not service.yields) > self.cpu * (1 + 1e-9):
            # Those that yield have room of their own, which is what the others leave.
            share = self.cpu * self.corrector.factor + sum(service.share for service in self._yielding())
            if self.tree.nested:
                share = max([share, *(service.share for service in services)])
            quota, self.period = quota_and_period(share, up=True)
            self.tree.cap(self.path, quota, self.period)

    def _cap_service(self, service: CgroupService) -> None:
        if service.yields or service.cpu < len(os.sched_getaffinity(0)):
            quota, service.period = quota_and_period(service.share)
            self.tree.cap(service.path, quota, service.period)


class CgroupLimiter:
    """The limiter over either version of cgroups. See `limits.Limiter`."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.name = tree.name
        self.pid: int | None = None
        self._hosts: list[CgroupHost] = []

    def __enter__(self) -> CgroupLimiter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def trial(self) -> Trial:
        missing = self.tree.missing()
        if missing is not None:
            return Trial(False, missing)
        try:
            with self._trial_group() as host, burner() as pid:
                service = host.service("trial", 0.2)
                service.attach(pid)
                used, passed = watched(service, 0.08)
                usage = service.usage()
        except (OSError, PlatformError) as error:
            return Trial(False, str(error))
        if usage.cpu == 0:
            return Trial(False, "a process in a group was not accounted for")
        if used > 0.6 * passed or usage.held == 0:
            return Trial(False, f"a process capped at 0.2 of a core used {used * 1e3:.0f} ms of {passed * 1e3:.0f} ms")
        return Trial(True, f"a process capped at 0.2 of a core was held back in {usage.held} periods", self.tree.limits())

    @contextlib.contextmanager
    def _trial_group(self) -> Iterator[CgroupHost]:
        try:
            yield CgroupHost(self.tree, "trial", 0.2, 64 * 2**20)
        finally:
            self.tree.remove("")

    def host(self, name: str, cpu: float, memory: int | None) -> HostGroup:
        host = CgroupHost(self.tree, name, cpu, memory)
        self._hosts.append(host)
        return host

    def step(self) -> None:
        for host in self._hosts:
            host.step()

    def close(self) -> None:
        self._hosts.clear()
        self.tree.remove("")
