"""The platform of real hosts, whoever provides them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from estran.errors import RequestError
from estran.platforms.base import Problem
from estran.platforms.breaking import clock_problems
from estran.platforms.remote.breaking import breaks, hidden
from estran.platforms.remote.provision import RemoteProvision, authority_of, leaves, provision, undialled
from estran.platforms.remote.source import Occasion, Source
from estran.spec.faults import FaultKind
from estran.spec.plan import Plan


@runtime_checkable
class Addressed(Protocol):
    """A source that knows some addresses before any host is reached."""

    def addresses(self, layers: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Addresses by which hosts are dialled, as far as they are known."""
        ...


class RealTime(ABC):
    """What is the same on all platforms of real hosts: their time, and that reservations may have to be waited for."""

    virtual = False

    def __init__(self) -> None:
        self._note: Callable[[str, str], None] = _nothing
        self._tell: Callable[[str], None] = _nothing
        self._kept: Callable[[str], None] | None = None

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """An ordinary event loop."""
        return asyncio.new_event_loop()

    def confide(self, note: Callable[[str, str], None], tell: Callable[[str], None]) -> None:
        """Where reservations are noted, and who is told how one waits."""
        self._note, self._tell = note, tell

    @property
    @abstractmethod
    def reserves(self) -> bool:
        """Whether something is reserved that can be kept."""

    def keep(self, told: Callable[[str], None]) -> None:
        """Keep what the next run reserves; see `estran.platforms.base.Reserving.keep`."""
        if not self.reserves:
            raise RequestError("none of its hosts are reserved, so there is nothing to keep", where="--keep", remedy="leave it out")
        self._kept = told


class RemotePlatform(RealTime):
    """Hosts of a source, with real processes in real time.

    Parameters
    ----------
    source
        What provides the hosts.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.name = source.name
        self.source = source

    @property
    def reserves(self) -> bool:
        """Whether its source reserves hosts."""
        return self.source.reserves

    async def check(self, plan: Plan) -> list[Problem]:
        """What can be said without reaching any host."""
        out_of_reach = hidden(plan, plan.hosts, self.source.access.behind)
        return [*self.source.check(layers_of(plan)), *self._undialled(plan), *out_of_reach, *clock_problems(plan)]

    def _undialled(self, plan: Plan) -> list[Problem]:
        """Hosts of the inventory whose addresses streams cannot use."""
        if not isinstance(self.source, Addressed):
            return []
        consuming = {plan.replicas[channel.consumer].host for channel in plan.channels if leaves(plan, channel)}
        addresses = self.source.addresses(layers_of(plan))
        return [undialled(name, addresses[name]) for name in sorted(consuming) if ":" in addresses.get(name, "")]

    def breaks(self, kind: FaultKind) -> str | None:
        """Why it does not do faults of a kind; see `estran.platforms.base.Breaking`."""
        return breaks(kind)

    def cost(self, plan: Plan) -> list[str]:
        """What the run may cost, in words."""
        return self.source.cost(layers_of(plan))

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[RemoteProvision]:
        """Have hosts provided, and bring agents there."""
        occasion = Occasion(run_id, layers_of(plan), folder, self._note, self._tell, self._kept)
        authority = authority_of(plan, run_id)
        async with (
            self.source.hosts(occasion) as found,
            provision(plan, found, self.source.access, folder, authority) as provided,
        ):
            yield provided


def layers_of(plan: Plan) -> Mapping[str, Sequence[str]]:
    """Names of hosts by layer."""
    layers: dict[str, list[str]] = {}
    for host in plan.hosts.values():
        layers.setdefault(host.layer, []).append(host.name)
    return layers


def _nothing(*words: str) -> None:
    """Nobody is told."""
