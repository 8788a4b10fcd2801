"""Tasks that wait for a channel's end to move on."""

from __future__ import annotations

import asyncio
from collections import deque

from estran.errors import TransportError


class Waiters:
    """Everybody who waits for one condition, which each checks again when woken."""

    def __init__(self) -> None:
        self._futures: deque[asyncio.Future[None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._futures)

    async def wait(self) -> None:
        """Return at the next `wake`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        await future

    def wake(self) -> None:
        """Let all of them go on."""
        while self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_result(None)


def closed(key: str) -> TransportError:
    """What to raise at the end of a closed channel."""
    remedy = "use a channel while its transport is open; drain it first if what was sent matters"
    return TransportError("the channel is closed", where=key, remedy=remedy)
