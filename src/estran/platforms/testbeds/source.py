"""Hosts of a testbed: reserved by EnOSlib, reached over SSH like any others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estran.errors import PlatformError, expected
from estran.platforms.base import Problem
from estran.platforms.remote.platform import RemotePlatform
from estran.platforms.remote.source import Found, Needs, Occasion, Open, Place
from estran.platforms.ssh.connection import all_reached
from estran.platforms.ssh.source import address
from estran.platforms.ssh.target import Target
from estran.platforms.testbeds.environment import required
from estran.platforms.testbeds.file import asked_in, cost
from estran.platforms.testbeds.inventory import Inventory
from estran.platforms.testbeds.reservation import ended, reserved
from estran.spec.document import Document

if TYPE_CHECKING:
    from estran.platforms.testbeds.models import TestbedFile

BOOT: Final = 600.0
"""Seconds that a machine has to come up."""
LOOK: Final = 5.0
LONGER: Final = "write a longer walltime:, or measure for less"


class EnoslibSource:
    """Reserves what a platform file of kind ``testbed`` asks for."""

    name = "testbed"
    reserves = True

    def __init__(self, document: Document) -> None:
        self._file = document.marks.file
        self._walltime = document.marks.where(("walltime",))
        self._asked = asked_in(document, Path(self._file).resolve().parent)
        self.access = Open(gateway=self._asked.gateway, behind=self._asked.behind)

    def check(self, layers: Mapping[str, Sequence[str]]) -> list[Problem]:
        """Whether EnOSlib is installed, and enough nodes asked for that can be hosts. Asks no testbed."""
        try:
            required(self._asked.provider)
            problems = []
        except PlatformError as error:
            problems = [Problem(error.what, str(error.where), str(error.remedy))]
        for layer in (*layers, *(other for other in self._asked.layers if other not in layers)):
            problems += self._check_layer(layer, len(layers.get(layer, ())))
        return problems

    def _check_layer(self, layer: str, wanted: int) -> list[Problem]:
        group = self._asked.layers.get(layer)
        if group is None:
            return [Problem(f"{self._file} asks for no nodes of this layer", layer, f"add {layer}: below layers:")]
        if group.bare is not None and wanted:
            remedy = "put its services on another layer; reserve the boards alone with `estran testbeds reserve`"
            return [Problem(f"{group.bare} has no SSH: no service can run on it, no link be shaped", layer, remedy)]
        if group.nodes < wanted:
            return [Problem(f"{self._file} asks for {group.nodes} nodes of {wanted}", layer, f"write nodes: {wanted}")]
        if group.nodes > wanted:
            what = f"{group.nodes - wanted} of {group.nodes} nodes will have no use"
            return [Problem(what, layer, f"write nodes: {wanted}" if wanted else f"remove {layer}:", fatal=False)]
        return []

    def cost(self, layers: Mapping[str, Sequence[str]]) -> list[str]:
        """Nodes, walltime and node-hours, whatever is used of them."""
        known = cost(self._asked)
        return [f"{self._asked.provider}: {known}"] if known is not None else []

    @asynccontextmanager
    async def hosts(self, occasion: Occasion) -> AsyncIterator[Found]:
        """Reserve, wait until nodes are up, connect to all."""
        log = occasion.folder / "logs" / "testbed.log"
        asked = self._asked if occasion.kept is None else self._asked.model_copy(update={"keep": True})
        async with reserved(asked, log=log, report=occasion.tell) as inventory, _telling(asked, occasion.kept or occasion.tell):
            targets = self._targets(inventory, occasion)
            if self._asked.boots:
                occasion.tell("waiting for machines to boot")
                await _booted(targets, occasion.run_id)
            async with all_reached(targets, occasion.run_id) as found:
                needs = Needs.of(self._asked)
                places = {
                    name: Place(host, address(targets[name], str(host.facts["ssh"] or "")), needs) for name, host in found.items()
                }
                try:
                    yield Found(places, self._facts(inventory), self._over(inventory) if inventory.ends_at else None)
                except (PlatformError, ExceptionGroup) as error:
                    lost = any(host.gone for host in found.values())
                    if not (lost and expected(error)) or (why := await ended(asked, inventory, log)) is None:
                        raise
                    raise why from error

    def _targets(self, inventory: Inventory, occasion: Occasion) -> dict[str, Target]:
        """How to reach each host of the plan. Nodes are installed anew, so their keys are noted for this run only."""
        known = str(occasion.folder / "known_hosts")
        return {
            name: Target(
                name, machine.address, port=machine.port, user=machine.user, keys=(machine.key,) if machine.key else (),
                jump=",".join(machine.jump) or None, note=known, python=self._asked.python, where=self._file,
            )
            for layer, names in occasion.layers.items()
            for name, machine in zip(names, inventory.layer(layer), strict=False)  # nodes may be more than are needed
        }  # fmt: skip

    def _over(self, inventory: Inventory) -> Callable[[], Awaitable[PlatformError]]:
        async def broken() -> PlatformError:
            return PlatformError(await inventory.ended(), where=self._walltime, remedy=LONGER)

        return broken

    def _facts(self, inventory: Inventory) -> dict[str, Any]:
        """What goes into the run's record."""
        plain = inventory.plain()
        return {"testbed": {"provider": self._asked.provider, "job": self._asked.job, "jobs": plain["jobs"], "idle": plain["idle"]}}


async def _booted(targets: Mapping[str, Target], mark: str) -> None:
    """Until all machines can be reached: clouds say that a machine runs when it begins to boot.

    Raises
    ------
    PlatformError
        Of those that cannot be reached for too long.
    """
    deadline = time.monotonic() + BOOT
    while True:
        try:
            async with all_reached(targets, mark):
                return
        except PlatformError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(LOOK)


@asynccontextmanager
async def _telling(asked: TestbedFile, told: Callable[[str], None]) -> AsyncIterator[None]:
    """Say what is kept when the context is left, and how it is given back."""
    try:
        yield
    finally:
        if asked.keep:
            told(f"{asked.job} on {asked.provider} is kept for later runs; `estran testbeds release {asked.job}` gives it back")


def platform(document: Document) -> RemotePlatform:
    """The platform of a file of kind ``testbed``."""
    return RemotePlatform(EnoslibSource(document))
