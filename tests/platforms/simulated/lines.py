"""Transports over one simulated link, without a run around them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from estran.platforms.simulated.channel import Channel
from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.loop import VirtualLoop
from estran.platforms.simulated.network import Network
from estran.platforms.simulated.tcp import Connection
from estran.platforms.simulated.transport import Ends, SimulatedTransport
from estran.runtime.transport import ChannelSpec
from estran.spec.model import LinkSpec

T = TypeVar("T")
UNSHAPED = LinkSpec()


@dataclass
class Hands:
    """What messages cost beside the network; counts them."""

    sent: int = 0
    received: int = 0
    more: float = 0.0
    notice: float = 0.0

    def sending(self) -> None:
        self.sent += 1

    def extra(self) -> float:
        return self.more

    def wake(self) -> float:
        return self.notice

    def answered(self) -> None:
        """Costs nothing."""

    def receiving(self) -> None:
        self.received += 1


class Link:
    """Two hosts, ``near`` and ``far``, and the link between them; to be made in a running loop."""

    def __init__(self, link: LinkSpec = UNSHAPED, *, seed: int = 1, hands: Hands | None = None, local: bool = False) -> None:
        both = [("near", "far", link), ("far", "near", LinkSpec(delay=link.delay))]
        self.network = Network(both, seed)
        self.hands = hands or Hands()
        self.hosts = ("near", "near") if local else ("near", "far")
        loop = asyncio.get_running_loop()
        self._connection = Connection(loop, self.network.pair(*self.hosts), self.network.pair(*self.hosts[::-1]))
        self._ends: dict[str, Ends] = {}

    def find(self, spec: ChannelSpec) -> Ends:
        if spec.key not in self._ends:
            clock = VirtualClock(asyncio.get_running_loop(), 0)
            made = Channel(spec, self.network, clock, self.hosts, self._connection, self.hands, None, None)
            self._ends[spec.key] = Ends(made)
        return self._ends[spec.key]

    def transport(self) -> SimulatedTransport:
        return SimulatedTransport(self.find)


def play(scene: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scene)
