"""The controller's end of a connection to an envoy: frames of a JSON head and raw bytes (see `estran.platforms.remote.envoy`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from estran.errors import PlatformError
from estran.platforms.remote.envoy import HEADS, LENGTHS, LIMIT, MAGIC

NOISE: int = 1 << 16
"""Bytes that login shells may print before the envoy speaks."""

Message = tuple[dict[str, Any], bytes]


class Reader(Protocol):
    """What is needed of a byte stream to read from it."""

    async def readexactly(self, n: int, /) -> bytes:
        """Read that many bytes.

        Raises
        ------
        asyncio.IncompleteReadError
            If the stream ends before.
        """
        ...


class Writer(Protocol):
    """What is needed of a byte stream to write to it."""

    def write(self, data: bytes, /) -> None:
        """Queue bytes."""
        ...

    async def drain(self) -> None:
        """Wait until few are queued."""
        ...

    def close(self) -> None:
        """Send what is queued, then end."""
        ...


class FrameLink:
    """One end of a connection to an envoy. Writing never waits; `drained` does."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def await_envoy(self) -> None:
        """Skip what precedes the envoy's first word.

        Raises
        ------
        asyncio.IncompleteReadError
            If the connection ends before.
        PlatformError
            If something else speaks.
        """
        seen = bytearray(await self._reader.readexactly(len(MAGIC)))
        while not seen.endswith(MAGIC):
            seen += await self._reader.readexactly(1)
            if len(seen) > NOISE:
                raise PlatformError(
                    f"the host says something else than was expected: {bytes(seen[:60])!r}",
                    remedy="let its login scripts print nothing when they are not interactive",
                )

    def write(self, head: Mapping[str, Any], data: bytes = b"") -> None:
        """Queue a frame."""
        text = json.dumps(head).encode()
        self._writer.write(LENGTHS.pack(len(text), len(data)) + text)
        if data:
            self._writer.write(data)

    async def drained(self) -> None:
        """Wait until little is left unsent; a lost connection is told by the reading of it."""
        try:
            await self._writer.drain()
        except OSError:
            return

    async def frames(self) -> AsyncIterator[Message]:
        """All frames until the connection ends."""
        while True:
            try:
                head, body = LENGTHS.unpack(await self._reader.readexactly(LENGTHS.size))
                if head > HEADS or body > LIMIT:
                    return
                frame = json.loads(await self._reader.readexactly(head)), await self._reader.readexactly(body)
            except (asyncio.IncompleteReadError, OSError, ValueError, RecursionError):
                return
            if not isinstance(frame[0], dict):
                return
            yield frame

    def close(self) -> None:
        """Let the envoy see the end."""
        self._writer.close()
