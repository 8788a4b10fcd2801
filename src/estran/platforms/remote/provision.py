"""What is the same on all platforms of real hosts, once an envoy is on each: environment, agents, clocks, addresses, links."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import Host, Verification
from estran.platforms.remote.agents import RemoteAgent, start_agent
from estran.platforms.remote.environment import Environment, Supplies
from estran.platforms.remote.host import ClockOffset, RemoteHost
from estran.runtime.clock import Clock, RealClock
from estran.spec.plan import Plan

SAMPLER: Final = "estran.observe.sampler:run"


@dataclass(frozen=True, slots=True)
class Place:
    """One of the plan's hosts: its envoy, and the address by which the others reach it."""

    remote: RemoteHost
    address: str


@asynccontextmanager
async def provision(plan: Plan, places: Mapping[str, Place], supplies: Supplies, folder: Path) -> AsyncIterator[RemoteProvision]:
    """Bring agents to hosts; with the context end all that was begun there.

    Parameters
    ----------
    places
        All hosts of the plan.
    folder
        The run's.

    Raises
    ------
    PlatformError
        If a host cannot be used.
    """
    busy = {replica.host for replica in plan.replicas.values()}
    async with asyncio.TaskGroup() as group:
        ready = {
            name: group.create_task(_ready(name, place.remote, supplies, folder, plan))
            for name, place in places.items()
            if name in busy
        }
    found = {name: task.result() for name, task in ready.items()}
    yield RemoteProvision(places, {name: one[0] for name, one in found.items()}, _facts(places, found))


async def _ready(
    name: str, remote: RemoteHost, supplies: Supplies, folder: Path, plan: Plan
) -> tuple[RemoteAgent, ClockOffset, Environment]:
    environment = await supplies.provide(remote)
    clock = await remote.clock_offset()
    agent = await start_agent(name, remote, clock, environment, folder, plan.experiment.folder)
    return agent, clock, environment


def _facts(places: Mapping[str, Place], found: Mapping[str, tuple[RemoteAgent, ClockOffset, Environment]]) -> dict[str, Any]:
    """What goes into the run's record."""
    told = ("hostname", "system", "kernel", "machine", "libc", "cores", "memory")
    return {
        "hosts": {
            name: {
                "address": place.address,
                **{key: place.remote.facts[key] for key in told},
                **({"python": found[name][2].python, "clock": asdict(found[name][1])} if name in found else {}),
            }
            for name, place in places.items()
        }
    }


class RemoteProvision:
    """Hosts, addresses and facts of one run on real hosts."""

    def __init__(self, places: Mapping[str, Place], agents: Mapping[str, RemoteAgent], facts: Mapping[str, Any]) -> None:
        self.hosts: Mapping[str, Host] = agents
        self._places = places
        self._facts = facts

    @property
    def remotes(self) -> Mapping[str, RemoteHost]:
        """All hosts by their envoys, those without an agent, too."""
        return {name: place.remote for name, place in self._places.items()}

    def address(self, source: str, target: str) -> str:
        """A host's address, the same for all."""
        place = self._places.get(target)
        if place is None:
            raise PlatformError(f"there is no host {target!r}")
        return place.address

    async def verify(self) -> Verification:
        """Devices are what they are: their facts are recorded."""
        return Verification(facts=self._facts)

    async def enforce(self) -> None:
        """Real devices hold themselves to their speed."""

    def sampler(self, host: str) -> tuple[str, Mapping[str, Any]]:
        """How to sample one host: its services' processes, its network, and its own energy counters if it has any."""
        return SAMPLER, {"host": host, "rapl": True}

    def observer(self, host: str) -> tuple[str, Mapping[str, Any]] | None:
        """What commands exchange is not observed here."""
        return None

    def now_ns(self) -> int:
        """Read the controller's monotonic clock."""
        return time.monotonic_ns()

    def clock(self, origin_ns: int) -> Clock:
        """The run's clock, as the controller reads it."""
        return RealClock(origin_ns)

    def notes(self) -> list[str]:
        """How far instants on different hosts can be compared."""
        clocks = {name: facts["clock"]["bound_ns"] for name, facts in self._facts["hosts"].items() if "clock" in facts}
        if len(clocks) < 2:
            return []
        worst = max(clocks, key=lambda name: clocks[name])
        return [f"clocks of hosts are known to within {clocks[worst] * 1e-6:.2f} ms ({worst} least well)"]

    async def broken(self) -> str:
        """Wait until a host is lost, and say how."""
        waiting = {asyncio.create_task(place.remote.lost()): name for name, place in self._places.items()}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            first = next(iter(done))
            return f"{waiting[first]}: {first.result()}"
        finally:
            for task in waiting:
                task.cancel()
