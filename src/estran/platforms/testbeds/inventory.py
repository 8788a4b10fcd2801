"""What a testbed provided: hosts that can be reached over SSH, and nodes that cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Machine:
    """One host and how to reach it over SSH.

    Attributes
    ----------
    name
        The testbed's name of it.
    key
        Private key file; None for the user's own ways (agent, ``~/.ssh``).
    jump
        Hosts to go through, as ``user@host``, the nearest to here first.
    """

    name: str
    layer: str
    address: str
    user: str
    port: int = 22
    key: str | None = None
    jump: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Idle:
    """A node that was reserved and on which no service can run."""

    name: str
    layer: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was reserved.

    Attributes
    ----------
    jobs
        The testbed's reservations: ``site``, ``id``, ``state``, ``starts_at``, ``ends_at``, ``nodes``.
    ends_at
        When the first of them ends, in seconds since 1970; None if never, or not known.
    """

    hosts: tuple[Machine, ...]
    idle: tuple[Idle, ...] = ()
    jobs: tuple[Mapping[str, Any], ...] = ()
    ends_at: float | None = None

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Inventory:
        """Read what the provisioner answered."""
        hosts = tuple(Machine(**{**host, "jump": tuple(host["jump"])}) for host in answer["hosts"])
        idle = tuple(Idle(**node) for node in answer["idle"])
        return cls(hosts, idle, tuple(answer["jobs"]), answer["ends_at"])

    def layer(self, name: str) -> list[Machine]:
        """The hosts of a layer, in the testbed's order."""
        return [host for host in self.hosts if host.layer == name]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    async def ended(self) -> str:
        """Wait until the walltime is over, and say so: from then on hosts vanish."""
        if self.ends_at is None:
            await asyncio.Event().wait()
        await asyncio.sleep(max(0.0, (self.ends_at or 0.0) - time.time()))
        return "the reservation's walltime is over"
