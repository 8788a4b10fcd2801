"""Hosts that Slurm allocates, as a platform file asks for them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from estran.platforms.base import Problem
from estran.platforms.remote.platform import RemotePlatform
from estran.platforms.remote.source import Found, Occasion, Place
from estran.platforms.slurm.file import read_access, read_request
from estran.platforms.slurm.leftovers import KIND
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.pilot import allocated
from estran.spec.document import Document


class SlurmSource:
    """Provides nodes of a cluster.

    Parameters
    ----------
    document
        A platform file of kind ``slurm``.
    """

    name = "slurm"
    reserves = True

    def __init__(self, document: Document) -> None:
        self._document = document
        self.access = read_access(document)

    def check(self, layers: Mapping[str, Sequence[str]]) -> list[Problem]:
        """Whether the file fits the experiment, and jobs can be submitted here.

        Raises
        ------
        SpecErrors
            If the file does not fit.
        """
        request = read_request(self._document, layers)
        if request.login is None and shutil.which("sbatch") is None:
            remedy = "run it where jobs are submitted to Slurm, or name that host there: login:"
            return [Problem("there is no sbatch on this machine", request.file, remedy)]
        return []

    def cost(self, layers: Mapping[str, Sequence[str]]) -> list[str]:
        """What the job can cost at the most."""
        return [f"Slurm: {read_request(self._document, layers).cost}"]

    @asynccontextmanager
    async def hosts(self, occasion: Occasion) -> AsyncIterator[Found]:
        """Wait until Slurm allocates nodes."""
        request = read_request(self._document, occasion.layers)
        async with (
            login_host(request.login, occasion.run_id) as login,
            allocated(
                request,
                login,
                occasion.run_id,
                note=lambda value: occasion.note(KIND, value),
                tell=occasion.tell,
                kept=occasion.kept,
            ) as allocation,
        ):
            places = {name: Place(host, allocation.placed[name].address, request.needs) for name, host in allocation.hosts.items()}
            nodes = {name: placed.node for name, placed in allocation.placed.items()}

            yield Found(places, {"slurm": {"job": allocation.job, "nodes": nodes}}, allocation.broken)


def platform(document: Document) -> RemotePlatform:
    """The platform of a file of kind ``slurm``."""
    return RemotePlatform(SlurmSource(document))
