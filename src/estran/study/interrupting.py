"""Ending many runs in good order: SIGTERM does what Ctrl-C does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from estran.run.interrupting import asked_by_waiter, signals_come

T = TypeVar("T")
_NUMBERS: Final = (signal.SIGTERM, signal.SIGHUP)


def carried_out(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end.

    A batch system, a service manager and `kill` ask with SIGTERM what a person asks with Ctrl-C. A signal that is ignored from
    outside stays so: a search under `nohup` outlives its terminal.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted by Ctrl-C, SIGTERM or SIGHUP, once it has ended in good order.
    """
    with asyncio.Runner() as runner:
        done, result = runner.run(_interruptible(work))
    if not done:
        raise KeyboardInterrupt
    return result  # type: ignore[return-value]


async def _interruptible(work: Coroutine[Any, Any, T]) -> tuple[bool, T | None]:
    """Whether it came to its end, and what it returned."""
    loop, asked = asyncio.get_running_loop(), False
    task = asyncio.ensure_future(work)

    def interrupt() -> None:
        nonlocal asked
        if not asked:  # a second one must not cut short the good order
            asked = True
            task.cancel()

    heard = [number for number in _NUMBERS if signals_come() and signal.getsignal(number) != signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, interrupt)
    try:
        with asked_by_waiter(partial(loop.call_soon_threadsafe, interrupt)):
            return True, await task
    except asyncio.CancelledError:
        if asked:
            return False, None
        raise
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
