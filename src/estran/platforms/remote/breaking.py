"""Faults of real hosts: links by what shapes them, all else by the hosts' agents, and only of what the run itself started."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.agent_host import AgentHost
from estran.platforms.base import Problem
from estran.platforms.breaking import Breaker, Pair, State
from estran.platforms.remote.links.shaping import ShapedLinks
from estran.spec.faults import LINK_KINDS, FaultKind
from estran.spec.model import LinkSpec
from estran.spec.plan import Plan

NO_REBOOT: Final = "real machines are not rebooted: others may be at work on them; a crash ends all that the run has there"


def breaks(kind: FaultKind) -> str | None:
    """Why faults of a kind are not done on real hosts; None where they are."""
    return NO_REBOOT if kind == "reboot" else None


def hidden(plan: Plan, hosts: Collection[str], layers: Collection[str]) -> list[Problem]:
    """Faults of links of hosts behind NAT: streams there go through a router, and nothing could measure or shape the way.

    Parameters
    ----------
    hosts
        Those that are real.
    layers
        Layers whose hosts nobody can dial.
    """
    found: dict[str, Problem] = {}
    for one in plan.injections:
        for pair in sorted(one.links):
            name = next((end for end in pair if plan.hosts[end].layer in layers), None)
            if name is not None and set(pair) <= set(hosts):
                what = (
                    f"no {one.kind} of links of {name}: it is behind NAT, its streams go through a router, its links are not shaped"
                )
                found.setdefault(
                    one.fault, Problem(what, f"faults.{one.fault}", "let it befall links of hosts that others can dial")
                )
    return list(found.values())


def worst_links(plan: Plan, hosts: Collection[str]) -> dict[Pair, LinkSpec]:
    """What faults of links may ask of directions between some hosts, all of them at once."""
    links = {(link.source, link.target): link.link for link in plan.links}
    found: dict[Pair, LinkSpec] = {}
    for injection in plan.injections:
        pairs = injection.links if injection.kind in LINK_KINDS else ()
        for pair in (pair for pair in pairs if set(pair) <= set(hosts)):
            before = found.get(pair, links.get(pair, LinkSpec()))
            found[pair] = replace(before, **injection.settings) if injection.kind == "degrade" else before
    return found


class RemoteBreaker(Breaker):
    """Breaks what one run has on real hosts.

    Parameters
    ----------
    links
        Those that are shaped, and can be changed.
    """

    def __init__(self, plan: Plan, hosts: Mapping[str, AgentHost], links: ShapedLinks) -> None:
        super().__init__(plan, hosts)
        self._shaped = links

    async def shape(self, states: Mapping[Pair, State]) -> None:
        await self._shaped.change({pair: None if state.down else state.link for pair, state in states.items()})

    def around(self, hosts: Collection[str]) -> set[Pair]:
        """None: connections of what is killed end as its kernel ends them, since hosts without faults of links are not shaped."""
        return set()

    async def slow(self, key: str, host: str, replicas: list[str], speed: float) -> None:
        await self._agent(host).ask("break", key=key, kind="slow", replicas=replicas, settings={"speed": speed})

    async def hurry(self, key: str, host: str) -> None:
        await self._agent(host).ask("mend", key=key)

    async def press(self, key: str, host: str, memory: float) -> None:
        settings: dict[str, Any] = {"memory": memory}
        await self._agent(host).ask("break", key=key, kind="memory-pressure", replicas=[], settings=settings)

    async def relieve(self, key: str, host: str) -> None:
        await self._agent(host).ask("mend", key=key)

    async def forget(self, host: str) -> None:
        """Nothing: what else the host has connections for is not ours."""

    def _agent(self, host: str) -> AgentHost:
        if host not in self._hosts:
            raise PlatformError("has no services that could be broken", where=host)
        return self._hosts[host]
