"""Samples real hosts for as long as a scenario runs on them: what its manager ``monitoring`` is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta

from estran.errors import PlatformError
from estran.observe.sampler import Trace
from estran.platforms.remote import envoy_sampling
from estran.platforms.remote.envoy_sampling import METRICS
from estran.platforms.remote.host import ClockOffset, RemoteHost
from estran.platforms.remote.together import together

MODULE: Final = "estran_sampling"
SAMPLES: Final = list[Annotated[list[int | float], Meta(min_length=1 + len(METRICS), max_length=1 + len(METRICS))]]
PERIOD: Final = 0.1
FETCHING: Final = 1.0
"""Seconds after which samples are fetched."""
LAST_ONES: Final = 5.0
EXCHANGES: Final = 8
"""By which clocks are compared: samples are ten a second, and need not be known to the microsecond."""

Emit = Callable[[str, Sequence[tuple[Any, ...]]], None]


@dataclass(slots=True)
class _Sampled:
    """One host: its envoy, its clock, and the first sample, from which counters grow."""

    host: RemoteHost
    clock: ClockOffset
    trace: Trace
    first: list[float] | None = field(default=None)

    def rows(self, samples: Sequence[list[float]], origin_ns: int) -> list[tuple[Any, ...]]:
        """Samples as rows of the run's clock."""
        rows: list[tuple[Any, ...]] = []
        for when_ns, *values in samples:
            self.first = self.first or values
            named = [
                (metric, value if metric == "memory" else value - before)
                for metric, value, before in zip(METRICS, values, self.first, strict=True)
            ]
            rows += self.trace.rows((when_ns - self.clock.offset_ns - origin_ns) * 1e-9, named)
        return rows


@asynccontextmanager
async def sampled(
    hosts: Mapping[str, RemoteHost], origin_ns: int, emit: Emit, failed: Callable[[PlatformError], None]
) -> AsyncIterator[Mapping[str, ClockOffset]]:
    """Sample hosts as long as the context lasts: their processors, memory, network and disks, with all that runs there.

    Parameters
    ----------
    origin_ns
        When the run began, by the controller's monotonic clock.
    emit
        Takes rows of the table ``metrics``.
    failed
        Is told if a host does not answer.

    Yields
    ------
    Mapping
        How the clocks of the hosts differ from the controller's.
    """
    known = await together({name: _begun(name, host) for name, host in hosts.items()})

    async def fetch(one: _Sampled, verb: str) -> None:
        emit("metrics", one.rows(await one.host.call(f"{MODULE}.{verb}", answer=SAMPLES), origin_ns))

    over = asyncio.Event()

    async def go_on() -> None:
        try:
            while not await _within(over, FETCHING):
                await together({name: fetch(one, "taken") for name, one in known.items()})
        except PlatformError as error:
            failed(error)

    fetching = asyncio.create_task(go_on(), name="samples of hosts")
    try:
        yield {name: one.clock for name, one in known.items()}
    finally:
        over.set()  # what is under way arrives
        await asyncio.wait({fetching}, timeout=LAST_ONES)
        fetching.cancel()
        await asyncio.gather(*(fetch(one, "end") for one in known.values() if one.host.gone is None), return_exceptions=True)
        emit("metrics", [row for one in known.values() for row in one.trace.last()])


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether something happens within some seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def _begun(name: str, host: RemoteHost) -> _Sampled:
    await host.load(MODULE, Path(envoy_sampling.__file__).read_text(encoding="utf-8"))  # noqa: ASYNC240 - a small file of our own
    clock = await host.clock_offset(EXCHANGES)
    await host.call(f"{MODULE}.begin", period=PERIOD)
    return _Sampled(host, clock, Trace(name))
