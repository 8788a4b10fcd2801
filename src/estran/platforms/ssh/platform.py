"""The platform of hosts that are reached over SSH, as an inventory lists them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from estran.errors import PlatformError
from estran.platforms.base import Problem
from estran.platforms.remote.environment import Supplies
from estran.platforms.remote.provision import Place, RemoteProvision, provision
from estran.platforms.ssh.connection import all_reached
from estran.platforms.ssh.inventory import Inventory, read_inventory
from estran.platforms.ssh.target import Target
from estran.spec.document import Document
from estran.spec.plan import Plan


class SshPlatform:
    """Hosts of an inventory, with real processes in real time.

    Parameters
    ----------
    document
        A platform file of kind ``ssh``.
    """

    name = "ssh"
    virtual = False

    def __init__(self, document: Document) -> None:
        self._inventory = read_inventory(document)

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """An ordinary event loop."""
        return asyncio.new_event_loop()

    async def check(self, plan: Plan) -> list[Problem]:
        """Whether there are hosts enough for every layer."""
        _, lacking = assigned(self._inventory, plan)
        return [
            Problem(f"the inventory has no host left for {', '.join(names)}", layer, f"add hosts with the label {layer} to it")
            for layer, names in lacking.items()
        ]

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[RemoteProvision]:
        """Connect to all hosts side by side, and bring agents there."""
        targets, lacking = assigned(self._inventory, plan)
        if lacking:
            raise PlatformError("the inventory has too few hosts", where=self._inventory.file)
        supplies = Supplies(Path(plan.experiment.folder), self._inventory.packages)
        async with all_reached(targets, run_id) as hosts:
            places = {name: Place(host, address(targets[name], str(host.facts["ssh"] or ""))) for name, host in hosts.items()}
            async with provision(plan, places, supplies, folder) as provided:
                yield provided


def assigned(inventory: Inventory, plan: Plan) -> tuple[dict[str, Target], dict[str, list[str]]]:
    """A target for each host of a plan, in the order of the inventory; and, by layer, the hosts for which there is none.

    Targets with fewer labels are left for those that nothing else fits.
    """
    free = list(inventory.targets)
    found: dict[str, Target] = {}
    lacking: dict[str, list[str]] = {}
    for host in plan.hosts.values():
        fit = [target for target in free if inventory.may_serve(target, host.layer)]
        if fit:
            chosen = min(fit, key=lambda target: (not target.layers, len(target.layers)))
            free.remove(chosen)
            found[host.name] = chosen
        else:
            lacking.setdefault(host.layer, []).append(host.name)
    return found, lacking


def address(target: Target, connection: str) -> str:
    """By which the other hosts reach a host: what the file says, or where its SSH server was reached (``SSH_CONNECTION``)."""
    if target.address is not None:
        return target.address
    parts = connection.split()
    return parts[2] if len(parts) == 4 else target.host
