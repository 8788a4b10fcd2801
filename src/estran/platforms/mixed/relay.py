"""Brings connections from an emulated network to a real host: within that network a process listens in the real host's place.

It hands each connection over a UNIX socket to the controller, which is outside, and dials the real host. Bytes pass as they are, so
that streams stay encrypted from end to end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

PIECE: Final = 1 << 16


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def _join(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter], far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Pass bytes both ways until both have ended."""
    await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))


async def listen(address: str, port: int, socket: str) -> None:
    """Be the process within: until it is killed."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        await _join((reader, writer), far)

    server = await asyncio.start_server(take, address, port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


@asynccontextmanager
async def dialling(socket: Path, address: str, port: int) -> AsyncIterator[None]:
    """Be the end outside, for as long as the context lasts. The socket must be in a folder of the user's own."""
    joined: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()  # whoever dialled tries again
            return
        task = asyncio.create_task(_join((reader, writer), far))
        joined.add(task)
        task.add_done_callback(joined.discard)

    server = await asyncio.start_unix_server(take, socket)
    try:
        yield
    finally:
        server.close()
        for task in list(joined):
            task.cancel()


def main() -> None:
    """Entry point: ``python -m estran.platforms.mixed.relay ADDRESS PORT SOCKET``."""
    address, port, socket = sys.argv[1:]
    asyncio.run(listen(address, int(port), socket))


if __name__ == "__main__":
    main()
