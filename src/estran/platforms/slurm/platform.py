"""The platform of hosts that Slurm allocates, as a platform file asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from estran.errors import EstranError
from estran.platforms.base import Problem
from estran.platforms.remote.environment import Supplies
from estran.platforms.remote.provision import Place, RemoteProvision, provision
from estran.platforms.slurm.file import read_request
from estran.platforms.slurm.leftovers import KIND
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.pilot import allocated, tried
from estran.platforms.slurm.request import Request
from estran.spec.document import Document
from estran.spec.plan import Plan


class SlurmPlatform:
    """Nodes of a cluster, with real processes in real time.

    Parameters
    ----------
    document
        A platform file of kind ``slurm``.
    """

    name = "slurm"
    virtual = False

    def __init__(self, document: Document) -> None:
        self._document = document
        self._note: Callable[[str, str], None] = lambda kind, value: None
        self._tell: Callable[[str], None] = lambda text: None

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """An ordinary event loop."""
        return asyncio.new_event_loop()

    def confide(self, note: Callable[[str, str], None], tell: Callable[[str], None]) -> None:
        """Say where the next run's job is to be noted, and who is told how it waits."""
        self._note = note
        self._tell = tell

    def cost(self, plan: Plan) -> list[str]:
        """What a run may cost, in words.

        Raises
        ------
        SpecErrors
            If the platform file does not fit the experiment.
        """
        return [f"Slurm: {self._request(plan).cost}"]

    async def check(self, plan: Plan) -> list[Problem]:
        """Whether Slurm would take the job.

        Raises
        ------
        SpecErrors
            If the platform file does not fit the experiment.
        """
        request = self._request(plan)
        try:
            async with login_host(request.login, "check") as login:
                await tried(request, login)
        except EstranError as error:
            return [Problem(error.what, str(error.where), error.remedy or "see what `sbatch --test-only` says")]
        return []

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[RemoteProvision]:
        """Wait until Slurm allocates nodes, and bring agents there."""
        request = self._request(plan)
        supplies = Supplies(Path(plan.experiment.folder), request.packages)
        async with (
            login_host(request.login, run_id) as login,
            allocated(request, login, run_id, note=lambda value: self._note(KIND, value), tell=self._tell) as allocation,
        ):
            places = {name: Place(host, allocation.placed[name].address) for name, host in allocation.hosts.items()}
            async with provision(plan, places, supplies, folder) as provided:
                yield provided

    def _request(self, plan: Plan) -> Request:
        layers: dict[str, list[str]] = {}
        for host in plan.hosts.values():
            layers.setdefault(host.layer, []).append(host.name)
        return read_request(self._document, layers)
