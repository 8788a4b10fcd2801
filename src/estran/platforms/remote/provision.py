"""What is the same on all platforms of real hosts, once an envoy is on each: environment, agents, clocks, links, certificates."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import Access, Host, Problem, Verification
from estran.platforms.remote.agents import RemoteAgent, start_agent
from estran.platforms.remote.breaking import RemoteBreaker, worst_links
from estran.platforms.remote.certificates import Authority, equip
from estran.platforms.remote.environment import Environment, Supplies
from estran.platforms.remote.host import ClockOffset, RemoteHost
from estran.platforms.remote.links.shaping import ShapedLinks, shaped
from estran.platforms.remote.remedies import LOST
from estran.platforms.remote.source import Found, Needs, Open, Place
from estran.platforms.remote.together import together
from estran.runtime.clock import Clock, RealClock
from estran.runtime.launch import Security
from estran.spec.plan import Channel, Plan, host_ports, router_port, stream_ports

SAMPLER: Final = "estran.observe.sampler:run"
OBSERVER: Final = "estran.observe.command_observer:run"
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ready:
    """A host on which services can be started."""

    agent: RemoteAgent
    clock: ClockOffset
    environment: Environment


@asynccontextmanager
async def provision(
    plan: Plan,
    found: Found,
    open_: Open,
    folder: Path,
    authority: Authority | None,
    names: Mapping[str, Collection[str]] | None = None,
) -> AsyncIterator[RemoteProvision]:
    """Bring agents and certificates to hosts, and shape their links; with the context end all that was begun there.

    Parameters
    ----------
    folder
        The run's.
    authority
        Signs certificates of hosts; None if no stream leaves any host.
    names
        By which hosts are dialled beside their addresses; they get agents even if no service is on them.

    Raises
    ------
    PlatformError
        If a host cannot be used, or links cannot be shaped as asked.
    """
    places = found.places
    _refuse_undialled(plan, places)
    busy = dict.fromkeys([*(replica.host for replica in plan.replicas.values()), *(names or {})])
    supplies: dict[Needs, Supplies] = {}
    for place in places.values():
        own = Supplies(Path(plan.experiment.folder), place.needs.packages, shipped=place.needs.shipped)
        supplies.setdefault(place.needs, own)
    ready = await together({name: _ready(name, places[name], supplies[places[name].needs], folder, plan) for name in busy})
    security: Mapping[str, Security] = {}
    if authority is not None:
        dialled = {name: [places[name].address, LOOPBACK, *(names or {}).get(name, ())] for name in busy}
        security = await equip({name: places[name].remote for name in busy}, dialled.__getitem__, authority)
    listen = await together({name: _has(places[name]) for name in security})
    access = replace(_access(plan, places, open_, security), translated=[name for name, can in listen.items() if not can])
    links = {(link.source, link.target): link.link for link in plan.links}
    hosts = {name: place.remote for name, place in places.items()}
    worst = worst_links(plan, places)
    async with (
        shaped(hosts, lambda source, target: places[target].address, links, access.behind, worst) as shaping,
        RemoteBreaker(plan, {name: one.agent for name, one in ready.items()}, shaping) as breaker,
    ):
        yield RemoteProvision(found, ready, access, shaping, observers(plan, places), breaker)


def authority_of(plan: Plan, run_id: str) -> Authority | None:
    """What signs the certificates of a run; None where all streams stay on one host."""
    if not any(leaves(plan, channel) for channel in plan.channels):
        return None
    measure = plan.experiment.measure
    return Authority(run_id, measure.warmup + measure.duration)


def leaves(plan: Plan, channel: Channel) -> bool:
    """Whether a channel leads from one host to another."""
    return plan.replicas[channel.producer].host != plan.replicas[channel.consumer].host


def undialled(name: str, address: str) -> Problem:
    """Why streams cannot use an address of IPv6: zenoh takes it for a name when it compares certificates, and finds it invalid."""
    remedy = "give the host an address: of IPv4, or a name that all hosts resolve"
    return Problem(f"encrypted streams cannot be dialled at the address {address} of IPv6", name, remedy)


def _refuse_undialled(plan: Plan, places: Mapping[str, Place]) -> None:
    for channel in plan.channels:
        place = places.get(name := plan.replicas[channel.consumer].host)
        if place is not None and ":" in place.address and leaves(plan, channel):
            problem = undialled(name, place.address)
            raise PlatformError(problem.what, where=name, remedy=problem.remedy)


async def _ready(name: str, place: Place, supplies: Supplies, folder: Path, plan: Plan) -> Ready:
    environment = await supplies.provide(place.remote)
    clock = await place.remote.clock_offset()
    return Ready(await start_agent(name, place.remote, clock, environment, folder, plan.experiment.folder), clock, environment)


async def _has(place: Place) -> bool:
    """Whether a host can listen on the address by which others dial it; public addresses of clouds are translated on the way."""
    family = "family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET"
    listening = f"import socket, sys; socket.create_server((sys.argv[1], 0), {family})"
    done = await place.remote.run([place.remote.facts["executable"], "-c", listening, place.address])
    return done.returncode == 0


def _access(plan: Plan, places: Mapping[str, Place], open_: Open, security: Mapping[str, Security]) -> Access:
    """The router is on the first host of the gateway's layer, or on the first one that can be dialled."""
    behind = {name for name, place in places.items() if not place.reachable or plan.hosts[name].layer in open_.behind}
    fit = [
        name for name, host in plan.hosts.items() if host.layer == open_.gateway or (open_.gateway is None and name not in behind)
    ]
    return Access(behind, next((name for name in fit if name in security and name not in behind), None), security)


def observers(plan: Plan, places: Mapping[str, Place]) -> dict[str, dict[str, Any]]:
    """By host, how its commands are observed; hosts without any are absent. Others use the network there, too."""
    commands: dict[str, dict[str, tuple[str, ...]]] = {}
    for replica in plan.replicas.values():
        if replica.service.command is not None:
            commands.setdefault(replica.host, {})[replica.name] = ()
    addresses = {place.address: name for name, place in places.items() if _is_literal(place.address)}
    return {
        host: {
            "host": host, "replicas": replicas, "addresses": addresses, "listening": host_ports(plan), "alone": False,
            "passed_over": sorted({*stream_ports(plan).values(), router_port(plan), *_ssh_port(places[host])}),
        }
        for host, replicas in commands.items()
    }  # fmt: skip


def _is_literal(address: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(address))
    except ValueError:
        return False


def _ssh_port(place: Place) -> list[int]:
    """The port at which a host's SSH server was reached, by which the run itself speaks to it."""
    words = str(place.remote.facts.get("ssh") or "").split()
    return [int(words[3])] if len(words) == 4 else []


class RemoteProvision:
    """Hosts, addresses and facts of one run on real hosts."""

    def __init__(
        self,
        found: Found,
        ready: Mapping[str, Ready],
        access: Access,
        links: ShapedLinks,
        observing: Mapping[str, Mapping[str, Any]],
        breaker: RemoteBreaker,
    ) -> None:
        self.inject, self.heal = breaker.inject, breaker.heal
        self._breaker = breaker
        self.hosts: Mapping[str, Host] = {name: one.agent for name, one in ready.items()}
        self._found = found
        self._ready = ready
        self._access = access
        self._links = links
        self._late: Mapping[str, ClockOffset] = {}
        self._observing = observing

    @property
    def remotes(self) -> Mapping[str, RemoteHost]:
        """All hosts by their envoys, those without an agent, too."""
        return {name: place.remote for name, place in self._found.places.items()}

    def address(self, source: str, target: str) -> str:
        """A host's address, the same for all."""
        place = self._found.places.get(target)
        if place is None:
            raise PlatformError(f"there is no host {target!r}")
        return place.address

    def access(self) -> Access:
        """Who can dial whom, and with which certificates."""
        return self._access

    async def verify(self) -> Verification:
        """Probe links of which something was asked; devices are what they are, and their facts are recorded."""
        verification = await self._links.verify()
        return replace(verification, facts={**self._facts(), **verification.facts})

    def _facts(self) -> dict[str, Any]:
        """What goes into the run's record."""
        return {
            **self._found.facts,
            "streams": {
                "encrypted": bool(self._access.security),
                "router": self._access.router,
                "behind": sorted(self._access.behind),
            },
            "hosts": {name: self._host(name, place) for name, place in self._found.places.items()},
        }

    def _host(self, name: str, place: Place) -> dict[str, Any]:
        told = ("hostname", "system", "kernel", "machine", "libc", "cores", "memory")
        facts = {"address": place.address, **{key: place.remote.facts[key] for key in told}}
        ready = self._ready.get(name)
        if ready is None:
            return facts
        clocks = {"clock": asdict(ready.clock)}
        if (late := self._late.get(name)) is not None:
            clocks["clock_at_end"] = {**asdict(late), "moved_ns": late.offset_ns - ready.clock.offset_ns}
        return {**facts, "python": ready.environment.python, **clocks}

    async def enforce(self) -> None:
        """Real devices hold themselves to their speed."""

    def sampler(self, host: str) -> tuple[str, Mapping[str, Any]]:
        """How to sample one host: its services' processes, its network, and its own energy counters if it has any."""
        return SAMPLER, {"host": host, "rapl": True}

    def observer(self, host: str) -> tuple[str, Mapping[str, Any]] | None:
        """How to observe a host's commands; where the kernel does not let packets be seen, an event of the run says so."""
        settings = self._observing.get(host)
        return None if settings is None else (OBSERVER, settings)

    def now_ns(self) -> int:
        """Read the controller's monotonic clock."""
        return time.monotonic_ns()

    def clock(self, origin_ns: int) -> Clock:
        """The run's clock, as the controller reads it."""
        return RealClock(origin_ns)

    async def conclude(self) -> Mapping[str, Any]:
        """Compare clocks again: instants are told by what was known at the beginning, and clocks do not all run at one speed."""
        self._late = await together({name: self._found.places[name].remote.clock_offset() for name in self._ready})
        return {"hosts": self._facts()["hosts"]}

    def notes(self) -> list[str]:
        """How far instants on different hosts can be compared."""
        if len(self._ready) < 2:
            return []
        return [*self._bounds(), *moved({name: one.clock for name, one in self._ready.items()}, self._late)]

    def _bounds(self) -> list[str]:
        worst = max(self._ready, key=lambda name: self._ready[name].clock.bound_ns)
        bound = self._ready[worst].clock.bound_ns * 1e-6
        return [f"clocks of hosts are known to within {bound:.2f} ms ({worst} least well)"]

    async def broken(self) -> PlatformError:
        """Wait until a host is lost, what was reserved is taken away, or a fault cannot go on, and say how."""
        hosts = [asyncio.create_task(_lost(name, place.remote)) for name, place in self._found.places.items()]
        hosts.append(asyncio.create_task(self._breaker.failed()))
        reserved = [] if self._found.broken is None else [asyncio.ensure_future(self._found.broken())]
        try:
            done, _ = await asyncio.wait([*reserved, *hosts], return_when=asyncio.FIRST_COMPLETED)
            # A reservation that ended says more than a host that went with it.
            return next(task for task in (*reserved, *hosts) if task in done).result()
        finally:
            for task in (*reserved, *hosts):
                task.cancel()


def moved(early: Mapping[str, ClockOffset], late: Mapping[str, ClockOffset]) -> list[str]:
    """Say whose clock went faster or slower than the controller's by more than both comparisons may be wrong; the worst one."""
    by = {name: abs(one.offset_ns - early[name].offset_ns) for name, one in late.items()}
    sure = {name: size for name, size in by.items() if size > early[name].bound_ns + late[name].bound_ns}
    if not sure:
        return []
    worst = max(sure, key=sure.__getitem__)
    return [
        f"the clock of {worst} moved by {sure[worst] * 1e-6:.2f} ms against the controller's during the run: "
        "at its end, times between hosts may be wrong by as much"
    ]


async def _lost(name: str, host: RemoteHost) -> PlatformError:
    return PlatformError(await host.lost(), where=name, remedy=LOST)
