"""Hosts of an inventory, reached over SSH."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from estran.errors import PlatformError
from estran.platforms.base import Problem
from estran.platforms.remote.platform import RemotePlatform
from estran.platforms.remote.source import Found, Occasion, Open, Place
from estran.platforms.ssh.connection import all_reached
from estran.platforms.ssh.inventory import Inventory, read_inventory
from estran.platforms.ssh.target import Target
from estran.spec.document import Document


class SshSource:
    """Provides hosts of an inventory.

    Parameters
    ----------
    document
        A platform file of kind ``ssh``.
    """

    name = "ssh"
    reserves = False

    def __init__(self, document: Document) -> None:
        self._inventory = read_inventory(document)
        self.access: Open = self._inventory.access

    def check(self, layers: Mapping[str, Sequence[str]]) -> list[Problem]:
        """Whether there are hosts enough for every layer."""
        _, lacking = assigned(self._inventory, layers)
        return [
            Problem(f"the inventory has no host left for {', '.join(names)}", layer, f"add hosts with the label {layer} to it")
            for layer, names in lacking.items()
        ]

    def addresses(self, layers: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """What the inventory says."""
        return {name: target.address or target.host for name, target in assigned(self._inventory, layers)[0].items()}

    def cost(self, layers: Mapping[str, Sequence[str]]) -> list[str]:
        """They are there anyway."""
        return []

    @asynccontextmanager
    async def hosts(self, occasion: Occasion) -> AsyncIterator[Found]:
        """Connect to all hosts side by side."""
        targets, lacking = assigned(self._inventory, occasion.layers)
        if lacking:
            raise PlatformError("the inventory has too few hosts", where=self._inventory.file)
        async with connected(targets, occasion.run_id, self._inventory) as found:
            yield found


@asynccontextmanager
async def connected(targets: Mapping[str, Target], run_id: str, inventory: Inventory) -> AsyncIterator[Found]:
    """Targets by the names of the plan's hosts, with an envoy on each."""
    named = {name: replace(target, name=name) for name, target in targets.items()}
    async with all_reached(named, run_id) as hosts:
        yield Found(
            {
                name: Place(host, address(targets[name], str(host.facts["ssh"] or "")), inventory.needs)
                for name, host in hosts.items()
            }
        )


def assigned(inventory: Inventory, layers: Mapping[str, Sequence[str]]) -> tuple[dict[str, Target], dict[str, list[str]]]:
    """A target for each host, in the order of the inventory; and, by layer, the hosts for which there is none.

    Targets without labels, which fit anywhere, are left for what nothing else fits.
    """
    free = list(inventory.targets)
    found: dict[str, Target] = {}
    lacking: dict[str, list[str]] = {}
    for layer, names in layers.items():
        for name in names:
            fit = [target for target in free if inventory.may_serve(target, layer)]
            if fit:
                found[name] = min(fit, key=lambda target: (not target.layers, len(target.layers)))
                free.remove(found[name])
            else:
                lacking.setdefault(layer, []).append(name)
    return found, lacking


def address(target: Target, connection: str) -> str:
    """By which the other hosts reach a host: what the file says, or where its SSH server was reached (``SSH_CONNECTION``)."""
    if target.address is not None:
        return target.address
    parts = connection.split()
    return parts[2] if len(parts) == 4 else target.host


def platform(document: Document) -> RemotePlatform:
    """The platform of a file of kind ``ssh``."""
    return RemotePlatform(SshSource(document))
