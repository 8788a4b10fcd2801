"""Faults of emulated hosts: links and limits by the keeper, processes by the hosts' agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from estran.platforms.agent_host import AgentHost
from estran.platforms.breaking import Breaker, Pair, State
from estran.spec.plan import Plan


class EmulatedBreaker(Breaker):
    """Breaks what one keeper holds.

    Parameters
    ----------
    keeper
        The connection to it.
    """

    def __init__(self, plan: Plan, hosts: Mapping[str, AgentHost], keeper: AgentHost) -> None:
        super().__init__(plan, hosts)
        self._keeper = keeper

    async def shape(self, states: Mapping[Pair, State]) -> None:
        links = [[*pair, asdict(state.link), state.down] for pair, state in states.items()]
        await self._keeper.ask("shape", links=links)

    async def slow(self, key: str, host: str, replicas: list[str], speed: float) -> None:
        await self._keeper.ask("pace", host=host, speed=speed)

    async def hurry(self, key: str, host: str) -> None:
        await self._keeper.ask("pace", host=host, speed=1.0)

    async def press(self, key: str, host: str, memory: float) -> None:
        await self._keeper.ask("press", key=key, host=host, memory=int(memory))

    async def relieve(self, key: str, host: str) -> None:
        await self._keeper.ask("relieve", key=key, host=host)

    async def forget(self, host: str) -> None:
        await self._keeper.ask("forget", host=host)
