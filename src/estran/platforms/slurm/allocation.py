"""Hosts that Slurm provides, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from estran.errors import PlatformError
from estran.platforms.remote.host import RemoteHost
from estran.platforms.slurm.queue import LoginLostError, Queue, UnansweredError
from estran.platforms.slurm.request import Request
from estran.platforms.slurm.states import Standing, ending
from estran.platforms.slurm.steps import last_words

WATCH: Final = 5.0
"""Seconds between two looks at a job that runs."""
LAST: Final = 5.0
"""Seconds that Slurm may take to see that a job whose step has ended does so, too."""
COMPLETION: Final = 20.0
"""Seconds that it may take to say how, which it does when all that ran there has ended."""
PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a host of the experiment is.

    Attributes
    ----------
    address
        By which Slurm itself reaches the node, and so do other nodes.
    """

    node: str
    address: str


class Allocation:
    """Hosts that Slurm provides.

    Attributes
    ----------
    job
        The job's number.
    hosts, placed
        By the experiment's names of hosts.
    """

    def __init__(
        self, request: Request, queue: Queue, job: str, placed: Mapping[str, Placed], hosts: Mapping[str, RemoteHost]
    ) -> None:
        self.job = job
        self.hosts = hosts
        self.placed = placed
        self._request = request
        self._queue = queue
        self._ended: PlatformError | None = None

    async def broken(self) -> PlatformError:
        """Wait until the job or one of its hosts is lost, and say why."""
        losses = {asyncio.create_task(host.lost()): name for name, host in self.hosts.items()}
        try:
            while True:
                done, _ = await asyncio.wait(losses, timeout=WATCH, return_when=asyncio.FIRST_COMPLETED)
                error = await self.ended(LAST if done else 0.0)
                if error is not None:
                    return error
                if done:
                    return await self._gone(losses[next(iter(done))])
        finally:
            for loss in losses:
                loss.cancel()

    async def ended(self, patience: float = 0.0) -> PlatformError | None:
        """Why the job is not what it was; None if it runs.

        Parameters
        ----------
        patience
            Seconds to wait until Slurm knows.
        """
        if self._ended is None:
            self._ended = await self._seen_to_end(patience)
        return self._ended

    async def _seen_to_end(self, patience: float) -> PlatformError | None:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            try:
                standings = await self._queue.standings(self.job)
            except UnansweredError:
                standings = [Standing("RUNNING")]
            except LoginLostError as error:
                what = f"the host where job {self.job} in Slurm was submitted is lost ({error.what}); the job is given back"
                return PlatformError(what, where=error.where, remedy="see whether the connection to it is stable, and run it again")
            completing = patience > 0 and any(one.state == "COMPLETING" for one in standings)
            late = loop.time() >= until + (COMPLETION if completing else 0.0)
            healthy = ("RUNNING",) if completing and late else ("RUNNING", "COMPLETING")
            worst = next((one for one in standings if one.state not in healthy), None)
            if worst is not None or not standings:
                return ending(self._request, self.job, worst, await self._said())
            if late:
                return None
            await asyncio.sleep(PAUSE)

    async def _said(self) -> str:
        """What srun says of hosts that are lost."""
        return "; ".join([await last_words(self._queue.login, name) for name, host in self.hosts.items() if host.gone])

    async def _gone(self, host: str) -> PlatformError:
        said = await last_words(self._queue.login, host)
        what = f"its envoy on node {self.placed[host].node} has gone{f': {said}' if said else ''}"
        return PlatformError(what, where=host, remedy="see whether something ended it there; results so far are kept")
