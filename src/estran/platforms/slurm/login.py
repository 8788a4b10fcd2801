"""The host from which jobs are submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.host import RemoteHost


@asynccontextmanager
async def login_host(login: str | None, mark: str) -> AsyncIterator[RemoteHost]:
    """An envoy where sbatch and srun are: on this machine, or where ``login`` says."""
    async with local_host("this machine", mark) as host:
        yield host
