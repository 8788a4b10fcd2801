"""The host from which jobs are submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.host import RemoteHost
from estran.platforms.ssh.connection import reached
from estran.platforms.ssh.target import Target


@asynccontextmanager
async def login_host(login: Target | None, mark: str) -> AsyncIterator[RemoteHost]:
    """An envoy where sbatch and srun are, for as long as the context lasts: on this machine, or over SSH.

    Parameters
    ----------
    mark
        Value of ``ESTRAN_RUN`` of all that is started there.

    Raises
    ------
    PlatformError
        If it cannot be reached.
    """
    async with local_host("this machine", mark) if login is None else reached(login, mark) as host:
        yield host
