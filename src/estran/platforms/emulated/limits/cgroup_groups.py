"""Hosts and services as groups of processes, in either version of cgroups."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from estran.errors import PlatformError
from estran.platforms.emulated.limits.cgroup import Tree, lift, members
from estran.platforms.emulated.limits.limiter import Corrector, HostGroup, Usage, grant, quota_and_period, watched
from estran.platforms.emulated.limits.rest import Rest
from estran.platforms.emulated.limits.shares import burner
from estran.platforms.emulated.links.engine import Trial


class CgroupService:
    """A service's group below a `CgroupHost`."""

    def __init__(self, host: CgroupHost, name: str, cpu: float, yields: bool) -> None:
        self.name = name
        self.host = host
        self.yields = yields
        self.asked = cpu
        self.full = min(cpu, host.full)
        self.cpu = self.full * host.speed
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

    def freeze(self, on: bool) -> None:
        # By signals, since not every v1 hierarchy has a freezer; again, until no child has come meanwhile.
        signalled: set[int] = set()
        while pids := {pid for folder, _, _ in os.walk(self.folders[0]) for pid in members(Path(folder))} - signalled:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)
            signalled |= pids

    def remove(self) -> None:
        self.host.forget(self)

    def pace(self) -> None:
        """Follow the host's speed; what is learned of a cap holds for that cap only."""
        self.cpu = self.full * self.host.speed
        self.corrector = Corrector(self.cpu)

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
        self.full, self.notes = grant(name, cpu)
        self.cpu = self.full
        self.speed = 1.0
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
                lift(folder)

    def enforce(self) -> None:
        self._cap()
        for service in self._services.values():
            self._cap_service(service)

    def pace(self, speed: float) -> None:
        grant(self.name, min([self.full, *(service.full for service in self._services.values())]) * speed)
        rises = speed > self.speed
        self.speed = speed
        self.cpu = self.full * speed
        self.corrector, self._rest = Corrector(self.cpu), Rest(self.cpu)
        for service in self._services.values():
            service.pace()
        # A cap may not be above the one around it, at any moment.
        if rises:
            self._cap()
        for service in self._services.values():
            self._cap_service(service)
        if not rises:
            self._cap()

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
        elif service.period:
            service.period = 0
            for folder in service.folders:
                lift(folder)


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
