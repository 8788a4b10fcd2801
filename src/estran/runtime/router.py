"""A router of streams: passes on what is for replicas that nobody can dial, because they are behind NAT and dial it.

It is a process of its own, ``python -m estran.runtime.router``, since an agent, which forks, must have no threads. Whoever starts
it writes one line of settings to its standard input and holds that open: when it closes, the router ends.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from estran.errors import EstranError, TransportError
from estran.runtime.clock import Clock
from estran.runtime.launch import Security
from estran.runtime.recorder import Emit
from estran.runtime.zenoh_session import ENGINE, close_session, open_session


class Settings(msgspec.Struct):
    """Endpoints on which it is dialled, and the certificates that it shows."""

    listen: list[str]
    security: Security | None = None


async def route(emit: Emit, clock: Clock, settings: Mapping[str, Any]) -> None:
    """Keep a router running until cancelled: a task for an agent.

    Raises
    ------
    TransportError
        If the router ends by itself, with what it said.
    """
    process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own would start a thread, and this process forks
        [sys.executable, "-m", "estran.runtime.router"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != ENGINE},
    )
    if process.stdin is None or process.stderr is None:
        raise AssertionError("both are pipes")
    try:
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        process.stdin.flush()
        await _ended(process.pid)
        said = process.stderr.read().decode(errors="replace").strip()
        raise TransportError(f"the router of streams has ended: {said}", where=", ".join(settings["listen"]))
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()
        process.stderr.close()


async def _ended(pid: int) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _serve() -> None:
    settings = msgspec.json.decode(await asyncio.to_thread(sys.stdin.buffer.readline), type=Settings)
    session = await open_session(settings.listen, (), security=settings.security, mode="router")
    try:
        await asyncio.to_thread(sys.stdin.buffer.read)
    finally:
        close_session(session)


def main() -> int:
    """Route until standard input ends."""
    try:
        asyncio.run(_serve())
    except EstranError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
