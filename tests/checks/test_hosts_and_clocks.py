"""Our own hosts and clocks pass the suites that third parties run on theirs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from estran.checks import clocks, hosts
from estran.runtime.clock import RealClock
from tests.runtime.agents import running_agent


@pytest.mark.parametrize("check", clocks.CHECKS, ids=lambda check: check.__name__)
async def test_the_real_clock(check: clocks.Check) -> None:
    await check(RealClock(time.monotonic_ns()))


@pytest.mark.parametrize("check", hosts.CHECKS, ids=lambda check: check.__name__)
async def test_a_host_behind_an_agent(check: hosts.Check, tmp_path: Path) -> None:
    async with running_agent(listen=False) as agent:
        await check(agent.host, tmp_path)


async def test_a_clock_that_goes_back_is_found_out() -> None:
    class Broken(RealClock):
        def now(self) -> float:
            return -super().now()

    with pytest.raises(AssertionError, match="went back"):
        await clocks.never_goes_back(Broken(time.monotonic_ns()))


async def test_a_clock_that_sleeps_too_little_is_found_out() -> None:
    class Hasty(RealClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="asked to sleep"):
        await clocks.sleeps_at_least_as_long(Hasty(time.monotonic_ns()))
