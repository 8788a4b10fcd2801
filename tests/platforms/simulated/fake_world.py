"""A world that is easy to calculate: a fixed delay on every link, one core per replica, a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estran.platforms.simulated.commands import Peers, replay
from estran.runtime.rows import ExchangeRow, MetricRow
from estran.spec.costs import CommandModel
from estran.spec.model import Service
from estran.spec.plan import Replica
from tests.runtime.virtual_time import VirtualClock, run

DELAY = 0.01


@dataclass
class World:
    """What one replica sees; ``used`` are its processor seconds."""

    replica: Replica
    rng: np.random.Generator
    rows: list[ExchangeRow]
    clock: VirtualClock = field(default_factory=VirtualClock)
    speed: float = 1.0
    used: float = 0.0
    free: float = 0.0
    readings: list[MetricRow] = field(default_factory=list)

    async def compute(self, seconds: float) -> None:
        self.used += seconds
        self.free = max(self.free, self.clock.now()) + seconds / self.speed
        await self.clock.sleep(self.free - self.clock.now())

    def send(self, source: str, target: str, size: int, arrived: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(0.0 if source == target else DELAY, arrived)

    def record(self, row: ExchangeRow) -> None:
        self.rows.append(row)

    async def read(self) -> None:
        while True:
            now = self.clock.now()
            done = self.used - max(0.0, self.free - now) * self.speed  # work in hand is used as it goes on
            self.readings.append(MetricRow(now, self.replica.host, self.replica.name, "process_cpu", done))
            await self.clock.sleep(0.1)


def replicas(services: Sequence[str], copies: Mapping[str, int] | None = None) -> dict[str, Replica]:
    """Each service on a host of its own per replica."""
    found = {}
    for service in services:
        for index in range((copies or {}).get(service, 1)):
            name = f"{service}-{index}"
            found[name] = Replica(name, index, Service(service, ("any",), command=(service,), ports=(8000,)), f"host-{name}")
    return found


def play(
    models: Mapping[str, CommandModel],
    seconds: float,
    *,
    copies: Mapping[str, int] | None = None,
    seed: int = 1,
    speed: float = 1.0,
) -> tuple[list[ExchangeRow], dict[str, World]]:
    """Replay some commands for so long; return the rows, and the replicas' worlds."""
    rows: list[ExchangeRow] = []
    planned = replicas(list(models), copies)
    seeds = np.random.SeedSequence(seed).spawn(len(planned))
    worlds = {
        name: World(replica, np.random.default_rng(own), rows, speed=speed)
        for (name, replica), own in zip(planned.items(), seeds, strict=True)
    }

    async def main() -> None:
        peers = Peers()
        tasks: list[asyncio.Task[Any]] = []
        for name, replica in planned.items():
            tasks.append(asyncio.create_task(replay(models[replica.service.name], replica, peers, worlds[name])))
            tasks.append(asyncio.create_task(worlds[name].read()))
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()

    run(main())
    return rows, worlds
