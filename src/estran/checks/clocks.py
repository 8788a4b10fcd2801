"""What every `Clock` must do. Plain async functions that raise AssertionError; `CHECKS` lists them all.

Examples
--------
>>> import asyncio, time
>>> from estran.runtime.clock import RealClock
>>> for check in CHECKS:
...     asyncio.run(check(RealClock(time.monotonic_ns())))
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from estran.runtime.clock import Clock

Check = Callable[[Clock], Awaitable[None]]


async def never_goes_back(clock: Clock) -> None:
    """Successive readings never decrease, also across sleeps."""
    readings = []
    for _ in range(200):
        readings.append(clock.now())
        await clock.sleep(0.0)
    assert readings == sorted(readings), "the clock went back"


async def sleeps_at_least_as_long(clock: Clock) -> None:
    """A sleep lasts at least what was asked, on the same clock."""
    for seconds in (0.001, 0.01, 0.05):
        begun = clock.now()
        await clock.sleep(seconds)
        lasted = clock.now() - begun
        assert lasted >= seconds * 0.999, f"asked to sleep {seconds} s, slept {lasted} s"


async def does_not_sleep_without_need(clock: Clock) -> None:
    """Zero and negative sleeps return at once."""
    begun = clock.now()
    for seconds in (0.0, -1.0):
        await clock.sleep(seconds)
    assert clock.now() - begun < 0.5, "slept without need"


async def wakes_in_order(clock: Clock) -> None:
    """Sleepers wake in the order of their times."""
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (0.09, 0.03, 0.06):
            group.create_task(sleeper(seconds))
    assert woken == sorted(woken), f"woke in the order {woken}"


async def timeouts_keep_its_time(clock: Clock) -> None:
    """A timeout of asyncio ends after as many seconds as this clock counts: both are of one kind."""
    begun = clock.now()
    try:
        async with asyncio.timeout(0.1):
            await asyncio.Event().wait()
    except TimeoutError:
        lasted = clock.now() - begun
        assert 0.099 <= lasted < 1.1, f"a timeout of 0.1 s lasted {lasted} s of the clock"
    else:
        raise AssertionError("a timeout never came")


async def a_cancelled_sleep_ends(clock: Clock) -> None:
    """A sleep that is cancelled ends at once."""
    begun = clock.now()
    sleeping = asyncio.ensure_future(clock.sleep(60))
    await clock.sleep(0.01)
    sleeping.cancel()
    await asyncio.wait({sleeping})
    assert sleeping.cancelled(), "a cancelled sleep went on"
    assert clock.now() - begun < 30, "a cancelled sleep lasted on"


CHECKS: Final[tuple[Check, ...]] = (
    never_goes_back,
    sleeps_at_least_as_long,
    does_not_sleep_without_need,
    wakes_in_order,
    timeouts_keep_its_time,
    a_cancelled_sleep_ends,
)
