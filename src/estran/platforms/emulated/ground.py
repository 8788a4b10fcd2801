"""What one emulated run can leave to the next: hosts, their wires, and what was measured on them."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from estran.platforms.emulated.links.ladder import Choice
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.connections import end_connections
from estran.platforms.emulated.order import Order

TRUSTED: Final = 600.0
"""Seconds for which a measurement holds on the same hosts, for the same figures."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement, in which run it was made, and when: as a date, and by the monotonic clock."""

    what: Any
    run: str
    at: str
    since: float


class Ground:
    """Hosts and wires of an order; a context manager.

    Only what has no memory of a run is kept: what makes links slow and lossy, limits and processes are made for each run.

    Attributes
    ----------
    built_in
        The run that they were built for.
    """

    def __init__(self, order: Order, choice: Choice) -> None:
        links = {(link.source, link.target): link.link for link in order.links}
        ports = {host.name: host.ports for host in order.hosts}
        self.built_in = order.run_id
        self.fabric = choice.fabric(list(ports), links, ports)
        self._measured: dict[Hashable, Measured] = {}

    def __enter__(self) -> Self:
        self.fabric.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.fabric.down()

    def fits(self, order: Order) -> bool:
        """Whether an order asks for these hosts and wires; without namespaces each run is to have addresses of its own."""
        pairs = {(link.source, link.target) for link in order.links}
        names = [host.name for host in order.hosts]
        return self.fabric.core_fd is not None and list(self.fabric.hosts) == names and set(self.fabric.links) == pairs

    def reshape(self, order: Order) -> None:
        """Ask of the links what an order asks; an engine that is started later does it."""
        self.fabric.change({(link.source, link.target): link.link for link in order.links})

    def recall(self, asked: Hashable) -> Measured | None:
        """What was measured where the same was asked, unless that is too long ago."""
        found = self._measured.get(asked)
        return None if found is None or time.monotonic() - found.since > TRUSTED else found

    def note(self, asked: Hashable, what: Any, run: str, *, good: bool) -> Measured:
        """Remember a measurement, if it found what was asked."""
        measured = Measured(what, run, datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic())
        if good:
            self._measured[asked] = measured
        return measured

    def clear(self) -> list[str]:
        """End the connections that processes left, once they are dead; say what cannot be removed."""
        left = []
        for host in self.fabric.hosts.values():
            if host.namespace_fd is not None:
                with namespace.entered(host.namespace_fd):
                    count = end_connections()
                left += [f"{count} connections of {host.name} that this kernel cannot end"] if count else []
        return left
