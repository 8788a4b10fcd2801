"""Control frames between conductor, agents and services: a length, then msgpack. Never over the experiment's network."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from estran.errors import TransportError

Frame = dict[str, Any]

_LENGTH = struct.Struct("<I")
_LIMIT = 256 * 2**20
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def pack(frame: Mapping[str, Any]) -> bytes:
    """One frame as bytes."""
    body = _encode(frame)
    return _LENGTH.pack(len(body)) + body


class Writer(Protocol):
    """What is needed of an `asyncio.StreamWriter`."""

    def is_closing(self) -> bool: ...

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


class Link:
    """One end of a control connection. Writing never waits; `drained` does.

    Parameters
    ----------
    reader, writer
        The byte stream below.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Link:
        """Over a connected stream socket, which the link then owns."""
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end))

    @classmethod
    async def over_pipes(cls, source: int, target: int) -> Link:
        """Over two descriptors of pipes, which the link then owns."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await loop.connect_read_pipe(lambda: protocol, os.fdopen(source, "rb", buffering=0))
        transport, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(target, "wb", buffering=0))
        return cls(reader, asyncio.StreamWriter(transport, flow, reader, loop))

    def write(self, frame: Mapping[str, Any]) -> None:
        """Queue a frame; one that follows `close` or a lost peer is dropped."""
        if not self._writer.is_closing():
            self._writer.write(pack(frame))

    async def drained(self) -> None:
        """Return when little is left unsent."""
        await self._writer.drain()

    async def read(self) -> Frame | None:
        """The next frame, or None when the peer has gone.

        Raises
        ------
        TransportError
            If what comes is no frame.
        """
        try:
            head = await self._reader.readexactly(_LENGTH.size)
            (length,) = _LENGTH.unpack(head)
            if length > _LIMIT:
                raise TransportError(f"control frame of {length} bytes exceeds {_LIMIT}")
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        try:
            frame = _decode(body)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise TransportError(f"a control frame is malformed: {error}") from error
        if not isinstance(frame, dict) or not all(isinstance(key, str) for key in frame):
            raise TransportError("a control frame is no map of names")
        return frame

    async def frames(self) -> AsyncIterator[Frame]:
        """All frames until the peer goes."""
        while (frame := await self.read()) is not None:
            yield frame

    async def close(self) -> None:
        """Send what is queued, then close."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
