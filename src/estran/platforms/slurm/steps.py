"""One envoy on one node, at the other end of srun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from estran.errors import PlatformError
from estran.platforms.remote.bootstrap import attended, program
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.pipe import Pipe
from estran.platforms.slurm.commands import step
from estran.platforms.slurm.request import Part

START: Final = 120.0
"""Seconds that srun and Python may take on a node: it may have a prologue, or a slow shared file system."""
LEAVE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """A host of the experiment, and the node that it is on."""

    host: str
    job: str
    component: int | None
    part: Part
    node: str
    mark: str


@asynccontextmanager
async def attended_step(login: RemoteHost, its: Step) -> AsyncIterator[RemoteHost]:
    """An envoy on a node, for as long as the context lasts.

    Raises
    ------
    PlatformError
        If it does not start, with the last that srun said.
    """
    sent = program(its.mark)
    argv = step(its.job, its.component, its.part, its.node, its.mark, len(sent))
    pipe = await login.open(argv, log=_log(login, its.host))
    try:
        pipe.write(sent)
        link = FrameLink(pipe.reader, pipe)
        await _arrived(login, its, pipe, link)

        async def lost() -> PlatformError:
            return await _complaint(login, its, pipe)

        async with attended(RemoteHost(its.host, link), lost) as host:
            yield host
    finally:
        pipe.close()
        try:
            async with asyncio.timeout(LEAVE):
                await pipe.wait_closed()
        except TimeoutError:
            pass  # srun goes with the job


async def _arrived(login: RemoteHost, its: Step, pipe: Pipe, link: FrameLink) -> None:
    try:
        async with asyncio.timeout(START):
            await link.await_envoy()
    except TimeoutError:
        what, remedy = f"no envoy came up on node {its.node} within {START:g}s", "see whether Python or its modules hang there"
        raise PlatformError(what, where=its.host, remedy=remedy) from None
    except asyncio.IncompleteReadError:
        raise await _complaint(login, its, pipe) from None


async def _complaint(login: RemoteHost, its: Step, pipe: Pipe) -> PlatformError:
    said = await last_words(login, its.host)
    what = f"its envoy on node {its.node} did not start (status {pipe.status}){f': {said}' if said else ''}"
    return PlatformError(what, where=its.host, remedy="see python: and modules: in the platform file, and try srun there by hand")


async def last_words(login: RemoteHost, host: str) -> str:
    """The last that the srun of a host said; nothing if the login node has gone."""
    try:
        shown = await login.run(["tail", "-n", "5", _log(login, host)])
    except PlatformError:
        return ""
    lines = [line.strip() for line in shown.stdout.decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines)


def _log(login: RemoteHost, host: str) -> str:
    return f"{login.facts['scratch']}/srun-{host}.log"
