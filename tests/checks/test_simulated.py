"""The virtual clock and the simulated transport keep what real ones keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from estran.checks import clocks, transports
from estran.platforms.simulated.clock import VirtualClock
from estran.runtime.transport import Transport
from estran.spec.model import LinkSpec
from tests.platforms.simulated.lines import Hands, Link, play

LINKS = {
    "free": LinkSpec(),
    "delayed": LinkSpec(delay=0.05, rate=20e6),
    "awful": LinkSpec(delay=0.01, jitter=0.005, rate=20e6, loss=0.005),
}


@pytest.mark.parametrize("late", [0.0, 0.002])
@pytest.mark.parametrize("check", clocks.CHECKS, ids=lambda check: check.__name__)
def test_the_virtual_clock(check: clocks.Check, late: float) -> None:
    async def scene() -> None:
        await check(VirtualClock(asyncio.get_running_loop(), 0, (lambda: late) if late else None))

    play(scene())


@pytest.mark.parametrize("link", [*LINKS, "local"])
@pytest.mark.parametrize("check", transports.CHECKS, ids=lambda check: check.__name__)
def test_the_simulated_transport(check: transports.Check, link: str) -> None:
    @asynccontextmanager
    async def pair() -> AsyncIterator[tuple[Transport, Transport]]:
        between = Link(LINKS.get(link, LinkSpec()), hands=Hands(more=1e-4, notice=1e-4), local=link == "local")
        async with between.transport() as producer, between.transport() as consumer:
            yield producer, consumer

    play(check(pair))
