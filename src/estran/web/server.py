"""The server's life: one socket on this machine, from the first link to Ctrl-C or the end of the run that it shows."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError
from estran.web.gate import Access

GRACE: Final = 2
"""Seconds in which open pages get their last word."""


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1.

    Parameters
    ----------
    port
        0 for any that is free.

    Raises
    ------
    RequestError
        If the port is taken, or not ours to take.
    """
    try:
        return socket.create_server(("127.0.0.1", port), reuse_port=False)
    except (OSError, OverflowError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"cannot listen on port {port}: {what}", where="--port", remedy="leave --port out") from error


def scraping_token(path: Path | None) -> str | None:
    """The token that Prometheus shows: the content of a file, which is made if it is not there and read by its owner only.

    Raises
    ------
    RequestError
        If it can be read by others, holds too little, or cannot be read or made.
    """
    if path is None:
        return None
    try:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
        mode, token = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read or make it: {error}", where=str(path), remedy="name another file") from error
    if mode & 0o077:
        raise RequestError("others may read this token", where=str(path), remedy=f"chmod 600 {path}")
    if len(token) < 16:
        raise RequestError("this token is too short to be secret", where=str(path), remedy="remove the file: a new one is made")
    return token


async def serve(
    sock: socket.socket,
    access: Access,
    roots: Sequence[Path],
    *,
    awaited: str | None = None,
    until: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM, or until ``until`` has returned."""
    import uvicorn  # the socket listens already: whoever comes meanwhile waits

    from estran.web.app import make_app

    server: uvicorn.Server

    def ending() -> bool:
        return server.should_exit

    config = uvicorn.Config(
        make_app(roots, access, awaited=awaited, ending=ending),
        loop="asyncio", http="h11", lifespan="off", log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    waiting = asyncio.create_task(until()) if until is not None else None
    try:
        await asyncio.wait({serving, waiting} if waiting else {serving}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        if waiting is not None:
            waiting.cancel()
