"""An emulated infrastructure put together in the keeper for one run: engine and limits on hosts and wires, with their probes."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from estran.errors import PlatformError
from estran.platforms.base import Verification
from estran.platforms.emulated.faults import Faults
from estran.platforms.emulated.ground import Ground, Measured
from estran.platforms.emulated.isolation import forget_name_servers
from estran.platforms.emulated.limits.ladder import choose_limiter, make_limiter
from estran.platforms.emulated.limits.limiter import HostGroup, Limiter, ServiceGroup
from estran.platforms.emulated.limits.shares import verify_shares
from estran.platforms.emulated.links.engine import Running, Trial
from estran.platforms.emulated.links.ladder import Choice, choose, make_engine
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.order import HostOrder, Order
from estran.platforms.emulated.probes.probe import probe

LOCALHOST: Final = "127.0.0.1\tlocalhost\n"
PROBE_BUDGET: Final = 1.2
SHARE_SECONDS: Final = 0.3
PROBE_NICENESS: Final = -15
GROUP_PATIENCE: Final = 2.0
UNOBSERVABLE: Final = "without network namespaces all hosts share one network, and what commands exchange cannot be told apart"


@dataclass(slots=True)
class Rungs:
    """The engine and the limiter that work here, by their trials: found for the first order, the same for all of a keeper."""

    choice: Choice | None = None
    limiter: str | None = None
    limiter_trials: Mapping[str, Trial] = field(default_factory=dict)

    def engine(self, order: Order) -> Choice:
        """An engine that draws from the order's seed."""
        if self.choice is None:
            self.choice = choose(order.engine, seed=order.seed)
        return Choice(make_engine(self.choice.engine.name, order.seed), self.choice.trials)

    def new_limiter(self, order: Order) -> Limiter:
        """A limiter with nothing in its books."""
        if self.limiter is not None:
            return make_limiter(self.limiter, order.run_id)
        limiter, self.limiter_trials = choose_limiter(order.run_id, order.limiter)
        self.limiter = limiter.name
        return limiter


class Assembly:
    """Everything that one order needs, for as long as the context lasts.

    Parameters
    ----------
    ground
        Hosts and wires, from this run or one before.
    """

    def __init__(self, order: Order, rungs: Rungs, ground: Ground, notes: Sequence[str]) -> None:
        self._order = order
        self._rungs = rungs
        self._ground = ground
        self.fabric = ground.fabric
        self._notes = list(notes)
        self._resources = ExitStack()
        self._doubted = False
        self._groups: dict[str, HostGroup] = {}
        self._enclosures: dict[str, dict[str, ServiceGroup]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self._limit(resources)
            self._choice: Choice = self._rungs.engine(self._order)
            self._shaping = resources.enter_context(ExitStack())
            self._shape()
            self._resources = resources.pop_all()
        return self

    def _shape(self) -> None:
        """Start the engine, anew if it runs: nothing under way, nothing counted, its random numbers from the beginning."""
        self._shaping.close()
        self._running: Running = self._shaping.enter_context(self._choice.engine.start(self.fabric))
        self.faults = Faults(self.fabric, self._running, self._groups)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def _limit(self, resources: ExitStack) -> None:
        self._limiter: Limiter = resources.enter_context(self._rungs.new_limiter(self._order))
        for host in self._order.hosts:
            if host.replicas:
                self._enclosures[host.name] = self._limit_host(host)

    def _limit_host(self, host: HostOrder) -> dict[str, ServiceGroup]:
        """A single thread on a slow device of four cores runs at the speed of one of them, not of four."""
        device = host.device
        group = self._groups[host.name] = self._limiter.host(host.name, device.cores * device.speed, int(device.memory))
        self._notes.extend(group.notes)
        return {
            name: group.service(name, min(cores, device.cores) * device.speed, yields=name in host.yielding)
            for name, cores in host.replicas.items()
        }

    def names(self) -> str:
        """What ``/etc/hosts`` says: names of hosts resolve on all of them, where addresses are the same for all."""
        hosts = [] if self.fabric.core_fd is None else self._order.hosts
        return LOCALHOST + "".join(f"{self.fabric.address(host.name, host.name)}\t{host.name}\n" for host in hosts)

    def enter(self, host: str) -> None:
        """Move the calling process onto a host, for good."""
        descriptor = self.fabric.hosts[host].namespace_fd
        if descriptor is not None:
            namespace.enter(descriptor)
            forget_name_servers()

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
        except (PlatformError, OSError) as error:
            return f"the limiter ({self._limiter.name}): {error}"
        if not self._running.alive():
            return f"the relay that delays packets ({self._choice.engine.name}) has ended"
        return None

    def verify(self) -> Verification:
        """Probe every distinct link, then the CPU share of every distinct device, as far as that is not known of these hosts.

        If anything is not as asked, the next attempt measures everything. Afterwards links begin anew, so that what they do to the
        workload does not depend on how often they were probed.
        """
        links = self._verify_links()
        shares = self._verify_shares()
        self._doubted = not all(measure.ok for measure in (*links.what, *(measured.what for measured in shares)))
        engine = dict(self._running.facts())
        if links.run == self._order.run_id:
            self._shape()
        since = {"links": links, **{measured.what.host: measured for measured in shares}}
        measured_in = {name: {"run": measured.run, "at": measured.at} for name, measured in since.items()}
        facts = {"engine": engine, "hosts_built_in": self._ground.built_in, "measured_in": measured_in}
        return Verification(links.what, tuple(measured.what for measured in shares), facts)

    def _verify_links(self) -> Measured:
        links, kinds = self.fabric.links, self._kinds()
        asked = frozenset(links.items()), frozenset(kinds.items())
        known = self._recall(asked)
        if known is not None:
            return known
        with _favoured():
            fresh = tuple(probe(self.fabric, links, kinds, budget_s=PROBE_BUDGET))
        return self._ground.note(asked, fresh, self._order.run_id, good=all(measure.ok for measure in fresh))

    def _recall(self, asked: Hashable) -> Measured | None:
        return None if self._doubted else self._ground.recall(asked)

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

    def _verify_shares(self) -> list[Measured]:
        distinct: dict[tuple[float, float], str] = {}
        for host in self._order.hosts:
            if host.name in self._groups and not host.stands_in:
                distinct.setdefault((host.device.cores, host.device.speed), host.name)
        known = {kind: self._recall(kind) for kind in distinct}
        unknown = [kind for kind, measured in known.items() if measured is None]
        fresh = verify_shares([(self._groups[distinct[kind]], kind[1]) for kind in unknown], SHARE_SECONDS)
        noted = {
            kind: self._ground.note(kind, measure, self._order.run_id, good=measure.ok)
            for kind, measure in zip(unknown, fresh, strict=True)
        }
        return [measured or noted[kind] for kind, measured in known.items()]

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
                "limiter_ladder": {name: asdict(trial) for name, trial in self._rungs.limiter_trials.items()},
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
    allowed = True
    try:
        _set_niceness(PROBE_NICENESS)
    except PermissionError:
        allowed = False
    try:
        yield
    finally:
        if allowed:
            _set_niceness(before)


def _set_niceness(niceness: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    # Where the kernel groups processes by session, niceness counts within the group only, and the group has one too.
    with suppress(FileNotFoundError):
        group = Path("/proc/self/autogroup")
        deadline = time.monotonic() + GROUP_PATIENCE
        while True:
            try:
                group.write_text(str(niceness), encoding="ascii")
                return
            except BlockingIOError:  # of those without privilege the kernel takes one such change in 100 ms, machine-wide
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
