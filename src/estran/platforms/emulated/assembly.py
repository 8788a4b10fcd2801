"""An emulated infrastructure put together inside the keeper: fabric, engine and limits, with their probes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from estran.errors import PlatformError
from estran.platforms.base import CpuMeasure, Verification
from estran.platforms.emulated.limits.ladder import choose_limiter
from estran.platforms.emulated.limits.limiter import HostGroup, Limiter, ServiceGroup
from estran.platforms.emulated.limits.shares import verify_shares
from estran.platforms.emulated.links.engine import Running
from estran.platforms.emulated.links.ladder import Choice, choose
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.order import HostOrder, Order
from estran.platforms.emulated.probes.probe import probe

PROBE_BUDGET: Final = 1.2
SHARE_SECONDS: Final = 0.3
PROBE_NICENESS: Final = -15
UNOBSERVABLE: Final = "without network namespaces all hosts share one network, and what commands exchange cannot be told apart"


class Assembly:
    """Everything that one order needs, for as long as the context lasts."""

    def __init__(self, order: Order, notes: list[str]) -> None:
        self._order = order
        self._notes = notes
        self._resources = ExitStack()
        self._groups: dict[str, HostGroup] = {}
        self._enclosures: dict[str, dict[str, ServiceGroup]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self._limit(resources)
            self._choice: Choice = choose(self._order.engine, seed=self._order.seed)
            links = {(link.source, link.target): link.link for link in self._order.links}
            ports = {host.name: host.ports for host in self._order.hosts}
            self.fabric = resources.enter_context(self._choice.fabric(list(ports), links, ports))
            self._running: Running = resources.enter_context(self._choice.engine.start(self.fabric))
            self._resources = resources.pop_all()
        self._write_hosts()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def _limit(self, resources: ExitStack) -> None:
        limiter, self._trials = choose_limiter(self._order.run_id, self._order.limiter)
        self._limiter: Limiter = resources.enter_context(limiter)
        for host in self._order.hosts:
            if host.replicas:
                self._enclosures[host.name] = self._limit_host(host)

    def _limit_host(self, host: HostOrder) -> dict[str, ServiceGroup]:
        """A single thread on a slow device of four cores runs at the speed of one of them, not of four."""
        device = host.device
        group = self._groups[host.name] = self._limiter.host(host.name, device.cores * device.speed, int(device.memory))
        self._notes.extend(group.notes)
        return {name: group.service(name, min(cores, device.cores) * device.speed) for name, cores in host.replicas.items()}

    def _write_hosts(self) -> None:
        """Names of hosts resolve on all of them, where addresses are the same for all."""
        if self.fabric.core_fd is None:
            return
        lines = [f"{self.fabric.address(host.name, host.name)}\t{host.name}\n" for host in self._order.hosts]
        with Path(self._order.hosts_file).open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def enter(self, host: str) -> None:
        """Move the calling process onto a host, for good."""
        descriptor = self.fabric.hosts[host].namespace_fd
        if descriptor is not None:
            namespace.enter(descriptor)

    def enclosures(self, host: str) -> Mapping[str, ServiceGroup]:
        """The limits of a host's replicas."""
        return self._enclosures[host]

    def own_pids(self) -> set[int]:
        """Children that others here wait for: the relay, and what holds services to their CPU share."""
        return {pid for pid in (self._running.pid, self._limiter.pid) if pid is not None}

    def step(self) -> str | None:
        """Correct CPU caps; return what has broken, or None."""
        try:
            self._limiter.step()
        except PlatformError as error:
            return str(error)
        if not self._running.alive():
            return f"the relay that delays packets ({self._choice.engine.name}) has ended"
        return None

    def verify(self) -> Verification:
        """Probe every distinct link, then the CPU share of every distinct device."""
        with _favoured():
            links = probe(self.fabric, self.fabric.links, self._kinds(), budget_s=PROBE_BUDGET)
        return Verification(tuple(links), tuple(self._verify_shares()), {"engine": dict(self._running.facts())})

    def lift(self) -> None:
        """Let services use the whole machine while they get ready: how long that takes is not what is measured."""
        for group in self._groups.values():
            group.lift()

    def enforce(self) -> None:
        """Hold services to their devices' speed from now on."""
        for group in self._groups.values():
            group.enforce()

    def _kinds(self) -> Mapping[str, str]:
        """The layer of each host: links between the same layers with the same figures are of one kind."""
        return {host.name: host.layer for host in self._order.hosts}

    def _verify_shares(self) -> list[CpuMeasure]:
        distinct: dict[tuple[float, float], str] = {}
        for host in self._order.hosts:
            if host.name in self._groups:
                distinct.setdefault((host.device.cores, host.device.speed), host.name)
        speeds = {host.name: host.device.speed for host in self._order.hosts}
        return verify_shares([(self._groups[name], speeds[name]) for name in distinct.values()], SHARE_SECONDS)

    def facts(self) -> Mapping[str, Any]:
        """What the conductor must know, and what goes into the run's record."""
        hosts = [host.name for host in self._order.hosts]
        if self.fabric.core_fd is None:
            addresses = {f"{a}>{b}": self.fabric.address(a, b) for a in hosts for b in hosts}
        else:
            addresses = {name: self.fabric.address(name, name) for name in hosts}
        return {
            "addresses": addresses,
            "samplers": {host.name: self._sampler(host) for host in self._order.hosts if host.replicas},
            "observers": {host.name: self._observer(host) for host in self._order.hosts if host.commands},
            "record": {
                "fabric": dict(self.fabric.facts()),
                "engine_ladder": {name: asdict(trial) for name, trial in self._choice.trials.items()},
                "limiter": self._limiter.name,
                "limiter_ladder": {name: asdict(trial) for name, trial in self._trials.items()},
                "notes": list(dict.fromkeys(self._notes)),
            },
        }

    def _sampler(self, host: HostOrder) -> Mapping[str, Any]:
        device = host.device
        folders = getattr(self._groups[host.name], "folders", ())
        power = {
            "device": device.name,
            "idle": device.idle_power,
            "busy": device.busy_power,
            "capacity": device.cores * device.speed,
        }
        return {
            "host": host.name,
            "cgroups": [str(folder) for folder in folders],
            "network": self.fabric.core_fd is not None,
            "power": power,
        }

    def _observer(self, host: HostOrder) -> Mapping[str, Any]:
        namespaces = self.fabric.core_fd is not None
        groups = self._enclosures[host.name]
        return {
            "host": host.name,
            "replicas": {name: [str(folder) for folder in getattr(groups[name], "folders", ())] for name in host.commands},
            "addresses": {self.fabric.address(each.name, each.name): each.name for each in self._order.hosts},
            "listening": {each.name: each.ports for each in self._order.hosts if each.ports},
            "passed_over": self._order.stream_ports,
            "unobservable": None if namespaces else UNOBSERVABLE,
        }


@contextmanager
def _favoured() -> Iterator[None]:
    """Be scheduled before others for a while, where that is allowed: links are to be probed, not what else runs here."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    _set_niceness(PROBE_NICENESS)
    try:
        yield
    finally:
        _set_niceness(before)


def _set_niceness(niceness: int) -> None:
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        # Where the kernel groups processes by session, niceness counts within the group only, and the group has one too.
        with suppress(FileNotFoundError):
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
