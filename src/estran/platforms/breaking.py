"""Faults on hosts that have agents: what is the same wherever they are.

Links are in the hands of whoever shapes them, and so is what limits processors and memory; processes and clocks in those of the
hosts' agents.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from estran.errors import EstranError, PlatformError
from estran.platforms.agent_host import AgentHost
from estran.platforms.base import Problem
from estran.spec.faults import Injection
from estran.spec.model import LinkSpec
from estran.spec.plan import Plan

Pair = tuple[str, str]

BY_AGENTS: Final = ("kill", "hang", "crash", "reboot", "disk-full")
"""Kinds that the hosts' agents bring about."""


@dataclass(frozen=True, slots=True)
class State:
    """What a direction between two hosts is to do now; where it is ``down``, nothing passes."""

    link: LinkSpec
    down: bool = False


def clock_problems(plan: Plan) -> list[Problem]:
    """Whose clock cannot be set wrong: programs ask the machine for the time, and its clock is everybody's."""
    found = {}
    for one in plan.injections:
        commands = [
            replica.name
            for replica in plan.replicas.values()
            if one.kind == "clock-skew" and replica.host in one.hosts and replica.service.command is not None
        ]
        if commands:
            what = f"{', '.join(commands)} read the machine's clock, which stays as it is: only components read a wrong one"
            remedy = "expect no effect on commands"
            found[one.fault] = Problem(what, f"faults.{one.fault}", remedy, fatal=False)
    return list(found.values())


class LinkFaults:
    """What faults make of links: any that cuts one does, and of those that degrade one the last to begin.

    Parameters
    ----------
    links
        What is asked of each direction that has a link.
    """

    def __init__(self, links: Mapping[Pair, LinkSpec]) -> None:
        self._links = dict(links)
        self._cut: dict[str, frozenset[Pair]] = {}
        self._degraded: dict[str, tuple[frozenset[Pair], Mapping[str, Any]]] = {}

    def cut(self, key: str, pairs: Iterable[Pair]) -> dict[Pair, State]:
        """Begin to cut; return what has changed."""
        self._cut[key] = frozenset(pairs)
        return self._now(self._cut[key])

    def mend(self, key: str) -> dict[Pair, State]:
        """End to cut; return what has changed."""
        return self._now(self._cut.pop(key, frozenset()))

    def degrade(self, key: str, pairs: Iterable[Pair], settings: Mapping[str, Any]) -> dict[Pair, State]:
        """Begin to do other things to packets; return what has changed."""
        self._degraded[key] = frozenset(pairs), settings
        return self._now(self._degraded[key][0])

    def restore(self, key: str) -> dict[Pair, State]:
        """End that; return what has changed."""
        pairs, _ = self._degraded.pop(key, (frozenset[Pair](), {}))
        return self._now(pairs)

    def _now(self, pairs: Collection[Pair]) -> dict[Pair, State]:
        return {pair: State(self._link(pair), any(pair in cut for cut in self._cut.values())) for pair in sorted(pairs)}

    def _link(self, pair: Pair) -> LinkSpec:
        link = self._links.get(pair, LinkSpec())
        for pairs, settings in self._degraded.values():
            if pair in pairs:
                link = replace(self._links.get(pair, LinkSpec()), **settings)
        return link


class Breaker(ABC):
    """Begins and ends faults of one provision; a context manager.

    Parameters
    ----------
    hosts
        Those that have agents.
    """

    def __init__(self, plan: Plan, hosts: Mapping[str, AgentHost]) -> None:
        self._hosts = hosts
        self._at = {replica.name: replica.host for replica in plan.replicas.values()}
        self._pairs = {(link.source, link.target) for link in plan.links}
        self._links = LinkFaults({(link.source, link.target): link.link for link in plan.links})
        self._one_at_a_time = asyncio.Lock()
        self._flapping: dict[str, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[PlatformError] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._flapping.values():
            task.cancel()
        if self._flapping:
            await asyncio.wait(self._flapping.values())

    async def failed(self) -> PlatformError:
        """Wait until a fault that lasts cannot go on, and say why."""
        return await asyncio.shield(self._failed)

    async def inject(self, injection: Injection) -> None:
        """Begin a fault; see `estran.platforms.base.Breakable`."""
        key, kind = injection.key, injection.kind
        if kind in ("cut", "partition"):
            await self._shape(self._links.cut, key, injection.links)
        elif kind == "degrade":
            await self._shape(self._links.degrade, key, injection.links, injection.settings)
        elif kind == "flap":
            self._flapping[key] = asyncio.create_task(self._flap(injection), name=f"flap {key}")
        elif kind == "slow":
            for host in injection.hosts:
                await self.slow(key, host, self._replicas(host), injection.settings["speed"])
        elif kind == "memory-pressure":
            for host in injection.hosts:
                await self.press(key, host, injection.settings["memory"])
        elif kind in BY_AGENTS:
            if kind in ("crash", "reboot"):  # first, so that nobody hears the connections of those end that are killed
                await self._shape(self._links.cut, key, self.around(injection.hosts))
            await self._tell("break", injection, kind=_of_processes(injection), settings=dict(injection.settings))
        else:
            raise PlatformError(f"no platform does {kind}: replicas do it themselves", where=key)

    async def heal(self, injection: Injection) -> None:
        """End a fault; see `estran.platforms.base.Breakable`. What was to go for good stays dead."""
        key, kind = injection.key, injection.kind
        if kind in ("cut", "partition"):
            await self._shape(self._links.mend, key)
        elif kind == "degrade":
            await self._shape(self._links.restore, key)
        elif kind == "flap":
            await self._still(key)
        elif kind == "slow":
            for host in injection.hosts:
                await self.hurry(key, host)
        elif kind == "memory-pressure":
            for host in injection.hosts:
                await self.relieve(key, host)
        elif kind in BY_AGENTS:
            if kind in ("crash", "reboot"):
                for host in injection.hosts:
                    await self.forget(host)
                await self._shape(self._links.mend, key)
            if kind not in ("crash", "reboot", "kill") or injection.duration is not None:
                await self._tell("mend", injection)

    async def _tell(self, do: str, injection: Injection, **details: Any) -> None:
        """Ask the agents that it concerns, side by side."""
        if injection.kind in ("kill", "hang"):
            by_host: dict[str, list[str]] = {}
            for name in injection.replicas:
                by_host.setdefault(self._at[name], []).append(name)
        else:
            by_host = {host: self._replicas(host) for host in injection.hosts if host in self._hosts}
        async with asyncio.TaskGroup() as group:
            for host, replicas in by_host.items():
                more = {**details, "replicas": replicas} if do == "break" else {}
                group.create_task(self._hosts[host].ask(do, key=injection.key, **more))

    def _replicas(self, host: str) -> list[str]:
        return [name for name, at in self._at.items() if at == host]

    def around(self, hosts: Collection[str]) -> set[Pair]:
        """The directions that are cut while hosts are down."""
        return {pair for pair in self._pairs if pair[0] in hosts or pair[1] in hosts}

    async def _shape(self, change: Any, key: str, *details: Any) -> None:
        """Change what faults make of links, and have that done."""
        async with self._one_at_a_time:
            states: dict[Pair, State] = change(key, *details)
            if states:
                await self.shape(states)

    async def _flap(self, injection: Injection) -> None:
        """Be down for a part of each period, first."""
        period, share = injection.settings["period"], injection.settings["share"]
        try:
            while True:
                await self._shape(self._links.cut, injection.key, injection.links)
                await asyncio.sleep(period * share)
                await self._shape(self._links.mend, injection.key)
                await asyncio.sleep(period * (1 - share))
        except EstranError as error:
            if not self._failed.done():
                self._failed.set_result(PlatformError(f"links flap no more: {error.what}", where=injection.key))

    async def _still(self, key: str) -> None:
        task = self._flapping.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._shape(self._links.mend, key)

    @abstractmethod
    async def shape(self, states: Mapping[Pair, State]) -> None:
        """Let directions between hosts do as they are to."""

    @abstractmethod
    async def slow(self, key: str, host: str, replicas: list[str], speed: float) -> None:
        """Let a host compute at this part of its speed."""

    @abstractmethod
    async def hurry(self, key: str, host: str) -> None:
        """Let it have its own speed again."""

    @abstractmethod
    async def press(self, key: str, host: str, memory: float) -> None:
        """Take so many bytes of a host's memory."""

    @abstractmethod
    async def relieve(self, key: str, host: str) -> None:
        """Give them back."""

    @abstractmethod
    async def forget(self, host: str) -> None:
        """End the connections that dead processes of a host have left."""


def _of_processes(injection: Injection) -> str:
    """What an agent does: services that are killed for some time stay down, as by a crash; else their policy decides."""
    if injection.kind in ("crash", "reboot") or (injection.kind == "kill" and injection.duration is not None):
        return "crash"
    return injection.kind
