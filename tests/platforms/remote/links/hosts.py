"""Envoys in namespaces of their own, for tests."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.host import RemoteHost

MARK = "estran-links-test"


def place(number: int | None) -> str:
    """A path to this process's descriptor, for other processes."""
    return f"/proc/{os.getpid()}/fd/{number}"


@asynccontextmanager
async def envoys(
    namespaces: Mapping[str, str], folder: Path, *, python: str = sys.executable, prefix: str = ""
) -> AsyncIterator[dict[str, RemoteHost]]:
    """An envoy in each namespace.

    Parameters
    ----------
    prefix
        Goes before the command: variables, or a program that gives up privileges.
    """
    async with AsyncExitStack() as stack:
        hosts = {}
        for name, namespace in namespaces.items():
            wrapper = folder / f"python-{name}"
            wrapper.write_text(f'#!/bin/sh\nexec nsenter --net={namespace} env {prefix} {python} "$@"\n')
            wrapper.chmod(0o755)
            hosts[name] = await stack.enter_async_context(local_host(name, MARK, python=str(wrapper)))
        yield hosts
