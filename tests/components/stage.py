"""Components in one process: messages in memory, the simulator's virtual time, computations of a stated cost."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.loop import VirtualLoop
from estran.runtime.component import Component, Surroundings, build, shape
from estran.runtime.message import Story
from estran.runtime.ports import Input
from estran.runtime.recorder import Recorder
from estran.runtime.transport import Delivered, Frame
from estran.runtime.wire import encode


class StageClock(VirtualClock):
    """That of whichever loop runs: a stage is made before its loop."""

    def __init__(self) -> None:
        self._late = None
        self.origin_ns = 0

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:  # type: ignore[override]
        return asyncio.get_running_loop()


@dataclass
class Cost:
    """Compute at a modelled cost: seconds per call of each operation."""

    clock: StageClock
    seconds: Mapping[str, float] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, operation: str, size: int, fn: Callable[..., Any], *args: Any, parameters: int = 0) -> Any:
        self.calls.append((operation, size))
        result = fn(*args)
        await self.clock.sleep(self.seconds.get(operation, 0.0))
        return result


class Channel:
    """Both ends of a channel: frames arrive after a delay, in order; ``capacity`` may be unprocessed."""

    def __init__(self, clock: StageClock, delay: float, capacity: int) -> None:
        self.clock, self.delay, self.capacity = clock, delay, capacity
        self.window = capacity
        self.renewed: Callable[[], None] | None = None
        self.flying: list[tuple[float, int, bytes]] = []
        self.there: deque[Delivered] = deque()
        self.sent = self.processed = 0
        self.changed = asyncio.Event()
        self.arrived: Callable[[], None] | None = None

    async def send(self, frame: Frame) -> int:
        while self.sent - self.processed >= self.capacity:
            await self._change()
        heapq.heappush(self.flying, (self.clock.now() + self.delay, self.sent, b"".join(frame)))
        self.sent += 1
        self.changed.set()
        if self.arrived is not None:
            asyncio.get_running_loop().call_later(self.delay, self._tell)
        await asyncio.sleep(0)
        return self.sent - 1

    async def drain(self) -> None:
        while self.processed < self.sent:
            await self._change()

    async def receive(self) -> Delivered:
        while True:
            found = self.receive_nowait()
            if found is not None:
                return found
            if self.flying:
                await self.clock.sleep(self.flying[0][0] - self.clock.now())
            else:
                await self._change()

    def receive_nowait(self) -> Delivered | None:
        if self.flying and self.flying[0][0] <= self.clock.now():
            arrival, seq, data = heapq.heappop(self.flying)
            return Delivered(seq, memoryview(data), arrival)
        return None

    def notify(self, arrived: Callable[[], None] | None) -> None:
        self.arrived = arrived
        for when, _, _ in self.flying if arrived is not None else ():
            asyncio.get_running_loop().call_at(when, self._tell)

    def _tell(self) -> None:
        """Whoever listens now is told: a receiver may have been restarted."""
        if self.arrived is not None:
            self.arrived()

    def done(self, seq: int) -> None:
        self.processed = max(self.processed, seq + 1)
        self.changed.set()

    def limit(self, limited: bool) -> None:
        self.capacity = self.window if limited else 10**9
        self.changed.set()

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        self.renewed = renewed

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()


class Stage:
    """Replicas and the streams between them.

    ``rows`` has what they recorded, by table.
    """

    def __init__(self, *, seed: int = 1, cost: Mapping[str, float] | None = None) -> None:
        self.clock = StageClock()
        self.seed, self.cost = seed, Cost(self.clock, cost or {})
        self.rows: dict[str, list[Any]] = defaultdict(list)
        self.parts: list[Component] = []
        self.recorders: list[Recorder] = []

    def add(
        self,
        kind: type[Component],
        name: str,
        settings: Mapping[str, Any] | None = None,
        *,
        index: int = 0,
        replicas: int = 1,
        **where: str,
    ) -> Any:
        recorder = Recorder(lambda table, rows: self.rows[table].extend(rows), self.clock, host="host-0", replica=f"{name}-{index}")
        around = Surroundings(f"{name}-{index}", name, index, replicas, self.clock, self.cost, recorder, self.seed, **where)
        part = build(kind, settings or {}, around)
        self.parts.append(part)
        self.recorders.append(recorder)
        return part

    def connect(
        self,
        sender: Component,
        output: str,
        *receivers: tuple[Component, str],
        delivery: str = "acknowledged",
        delay: float = 0.0,
        capacity: int = 1024,
    ) -> list[Channel]:
        channels = [Channel(self.clock, delay, capacity) for _ in receivers]
        for channel, (receiver, port) in zip(channels, receivers, strict=True):
            getattr(receiver, port).attach(f"{sender.name}.{output}", sender.name, channel, conflate=delivery == "latest")
            getattr(sender, output).attach([channel], rotate=False, peers=[receiver.name])
        return channels

    def hand(self, receiver: Component, port: str, payloads: Sequence[Any], *, at: Sequence[float] | None = None) -> Channel:
        """Let payloads arrive at an input at given times."""
        channel = Channel(self.clock, 0.0, 10**9)
        for seq, payload in enumerate(payloads):
            when = at[seq] if at is not None else 0.0
            data = b"".join(encode(payload, Story(f"hand:{seq}", when, sent=when)))
            heapq.heappush(channel.flying, (when, seq, data))
            channel.sent += 1
        getattr(receiver, port).attach("hand.out", "hand-0", channel, conflate=False)
        return channel

    async def run(self, seconds: float) -> None:
        """Run everything for so long, or until all have ended."""
        for part in self.parts:
            await part.setup()
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for part in self.parts:
                    group.create_task(self._life(part))
        except TimeoutError:
            pass
        for recorder in self.recorders:
            recorder.flush()

    async def _life(self, part: Component) -> None:
        async with asyncio.TaskGroup() as group:
            pumps = [group.create_task(getattr(part, port).pump()) for port in shape(type(part)).inputs]
            assert all(isinstance(getattr(part, port), Input) for port in shape(type(part)).inputs)
            await part.run()
            for pump in pumps:
                pump.cancel()

    def metric(self, replica: str, name: str) -> list[float]:
        return [row.value for row in self.rows["metrics"] if row.replica == replica and row.metric == name]

    def events(self, name: str) -> list[Any]:
        return [row for row in self.rows["events"] if row.event == name]

    def answered(self, receiver: str) -> list[Any]:
        return [row for row in self.rows["messages"] if row.receiver == receiver and row.answer is not None]


def play(scene: Callable[[], Any]) -> Any:
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scene())
