"""Faults in virtual time: lines that carry nothing or less, replicas that die, stand still or compute more slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from estran.platforms.simulated.host import SimulatedHost
from estran.platforms.simulated.world import World
from estran.spec.faults import LINK_KINDS, FaultKind, Injection

UNSIMULATED: Final[Mapping[FaultKind, str]] = {
    "disk-full": "simulated hosts have no disks",
    "memory-pressure": "simulated hosts have memory without end",
}
"""Why some kinds cannot be simulated."""


class Breaker:
    """Breaks what one simulated run consists of (see `estran.platforms.base.Breakable`)."""

    def __init__(self, world: World, hosts: Mapping[str, SimulatedHost]) -> None:
        self._world = world
        self._hosts = hosts
        self._plan = world.plan
        self._asked = {(link.source, link.target): link.link for link in world.plan.links}
        self._flapping: dict[str, asyncio.Task[None]] = {}
        self._was_running: dict[str, list[str]] = {}

    async def inject(self, injection: Injection) -> None:
        """Begin a fault."""
        kind = injection.kind
        if kind == "flap":
            self._flapping[injection.key] = asyncio.create_task(self._flap(injection), name=f"flapping {injection.key}")
        elif kind in LINK_KINDS:
            self._change(injection, broken=True)
        elif kind == "slow":
            self._slow(injection, injection.settings["speed"])
        elif kind == "hang":
            for name in injection.replicas:
                self._world.stand_still(name, True)
        elif kind == "reboot":
            for name in injection.replicas:
                self._host(name).keep_down(name)
            self._was_running[injection.key] = list(injection.replicas)
            await asyncio.gather(*(self._host(name).end(name) for name in injection.replicas))
            for name in injection.replicas:
                self._world.sever(name)
        else:
            self._kill(injection)

    async def heal(self, injection: Injection) -> None:
        """End a fault."""
        kind = injection.kind
        if kind == "flap":
            await self._calm(injection)
        if kind in LINK_KINDS:
            self._change(injection, broken=False)
        elif kind == "slow":
            self._slow(injection, 1.0)
        elif kind == "hang":
            for name in injection.replicas:
                self._world.stand_still(name, False)
        else:
            for name in self._was_running.pop(injection.key, ()):
                self._host(name).raise_again(name)

    def _host(self, replica: str) -> SimulatedHost:
        return self._hosts[self._plan.replicas[replica].host]

    def _kill(self, injection: Injection) -> None:
        """Of a kill without a duration the policy of the service decides what follows; else it is down until it is healed."""
        by_policy = injection.kind == "kill" and injection.duration is None
        killed = [name for name in injection.replicas if self._host(name).kill(name, down=not by_policy)]
        for name in killed:
            self._world.sever(name)
        if injection.duration is not None:
            self._was_running[injection.key] = killed

    def _slow(self, injection: Injection, speed: float) -> None:
        befallen, now = set(injection.hosts), self._world.loop.time()
        for seat in self._world.seats.values():
            if seat.replica.host in befallen:
                seat.processor.slow(now, speed)

    def _change(self, injection: Injection, *, broken: bool) -> None:
        settings = injection.settings if injection.kind == "degrade" else {}
        for source, target in injection.links:
            asked = self._asked.get((source, target)) or self._world.network.link(source, target)
            link = replace(asked, **settings) if broken else asked
            self._world.network.change(source, target, link, down=broken and injection.kind != "degrade")

    async def _flap(self, injection: Injection) -> None:
        down = injection.settings["period"] * injection.settings["share"]
        while True:
            self._change(injection, broken=True)
            await asyncio.sleep(down)
            self._change(injection, broken=False)
            await asyncio.sleep(injection.settings["period"] - down)

    async def _calm(self, injection: Injection) -> None:
        task = self._flapping.pop(injection.key, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
