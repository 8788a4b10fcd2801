"""A process on a host at the other end of its envoy, as a byte stream."""

from __future__ import annotations

import asyncio
from typing import Final

from estran.platforms.remote.frames import FrameLink

WINDOW: Final = 1 << 22
"""Bytes of a process's input that may be under way; many times what an envoy lets pass before it tells that they were read."""


class Pipe:
    """A process on a host whose standard input and output are in the controller's hands: a stream reader and writer.

    Attributes
    ----------
    reader
        What it prints.
    """

    def __init__(self, number: int, link: FrameLink) -> None:
        self.reader = asyncio.StreamReader(limit=1 << 20)
        self.status: int | None = None
        self._number = number
        self._link = link
        self._over = asyncio.Event()
        self._under_way = 0
        self._room = asyncio.Event()
        self._room.set()

    def feed(self, data: bytes) -> None:
        """Take what the process printed."""
        self.reader.feed_data(data)

    def shut(self, status: int | None) -> None:
        """Take that it ended, with its status if that is known."""
        self.status = status
        self.reader.feed_eof()
        self._over.set()
        self._room.set()

    def taken(self, count: int) -> None:
        """Take that it has read so many bytes of what was written."""
        self._under_way -= count
        if self._under_way <= WINDOW:
            self._room.set()

    def write(self, data: bytes) -> None:
        """Queue bytes for its input."""
        if data and not self._over.is_set():
            self._link.write({"id": None, "do": "write", "of": self._number}, data)
            self._under_way += len(data)
            if self._under_way > WINDOW:
                self._room.clear()

    async def drain(self) -> None:
        """Wait until little is left unsent, and of what was sent the process has read most: it must not pile up on the host."""
        await self._link.drained()
        await self._room.wait()

    def close(self) -> None:
        """End its input."""
        if not self._over.is_set():
            self._link.write({"id": None, "do": "write", "of": self._number})

    def is_closing(self) -> bool:
        """Whether it takes no more input."""
        return self._over.is_set()

    async def wait_closed(self) -> None:
        """Wait for its end."""
        await self._over.wait()
