"""Processes whose input and output are the controller's; sent with the envoy, see `estran.platforms.remote.envoy`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

TOLD = 1 << 18
"""Bytes after which the controller is told that a process has taken them; it stops when too much is under way."""


class Piped:
    """One such process."""

    def __init__(self, process: asyncio.subprocess.Process, say: Callable[[dict[str, Any]], None]) -> None:
        self.process = process
        self.say = say
        self.untold = 0
        self.turn = asyncio.Lock()  # older Pythons let but one wait for a pipe to take what it was given

    def write(self, data: bytes) -> int:
        """Hand it bytes, or close its input with none; how many the controller is to be told of when it has taken them."""
        if self.process.stdin is None:
            return 0
        with contextlib.suppress(OSError, RuntimeError):
            if not data:
                self.process.stdin.close()
                return 0
            self.process.stdin.write(data)
        self.untold += len(data)
        due, self.untold = (self.untold, 0) if self.untold >= TOLD else (0, self.untold)
        return due

    async def tell(self, number: int, count: int) -> None:
        """Tell of bytes when little is left of what it was given."""
        async with self.turn:
            if self.process.stdin is not None:
                with contextlib.suppress(OSError):
                    await self.process.stdin.drain()
            self.say({"say": "taken", "of": number, "count": count})
