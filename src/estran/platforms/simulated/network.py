"""The network in virtual time: every directed pair of hosts has a line that messages share, first come, first served.

A message takes the line's delay and jitter, waits until the line is free, and occupies it for its size on the wire: the same
arithmetic as in the emulated relays, on runs of segments instead of packets. Order, windows and repair are TCP's (`tcp`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.platforms.emulated.links.relay_core import MSS
from estran.platforms.simulated.line import Pair
from estran.runtime.lane import FORWARD_SIZE
from estran.spec.model import LinkSpec

ENVELOPE: Final = FORWARD_SIZE + 4 + 14
"""Bytes that stream and transport protocols add to a small message: our header, its size, and zenoh's."""
ANSWER: Final = 62
"""Bytes of an acknowledgement, TCP and below not counted."""
HEADERS: Final = 66
"""Bytes that Ethernet, IP and TCP with timestamps add to each segment, as an interface counts them."""
ANSWER_PERIOD: Final = 0.01
"""Seconds: acknowledgements of messages that come closer together are one."""
CEILING: Final = 16 << 20
"""Bytes that a stream has under way at the most."""
PIECE: Final = 16 << 10
"""Bytes of a large message that are worth sending by themselves when its window is nearly full."""


def on_wire(frame: int) -> int:
    """Bytes of a message as the host's interface counts them."""
    payload = frame + -frame % 8 + ENVELOPE
    return payload + HEADERS * max(1, -(-payload // MSS))


@dataclass(slots=True)
class Traffic:
    """What a host's interface has counted."""

    sent: int = 0
    received: int = 0


class Window:
    """How much of one stream may be under way: the delivery protocol's window in the steady state.

    `estran.runtime.flight.Flight` steers it towards what the line carries in one and a half idle round trips, and the queueing
    that it accepts.

    Parameters
    ----------
    trip
        Idle round trip, seconds.
    floor, initial, queueing
        Those of the protocol, in bytes and seconds.
    """

    def __init__(self, link: LinkSpec, trip: float, *, floor: int, initial: int, queueing: float) -> None:
        size = float(initial) if link.rate is None else link.rate / 8 * (1.5 * trip + queueing)
        self.size = int(min(max(size, floor), CEILING))
        self._landing: deque[tuple[float, int]] = deque()
        self._out = 0
        self._waiting: Callable[[float], None] | None = None

    def room(self, now: float) -> int:
        """Bytes that may be sent now."""
        landing = self._landing
        while landing and landing[0][0] <= now:
            self._out -= landing.popleft()[1]
        return self.size - self._out

    def launched(self, size: int) -> None:
        """Bytes are under way."""
        self._out += size

    def lands(self, when: float, size: int) -> None:
        """It is known when bytes that are under way will be acknowledged."""
        self._landing.append((when, size))
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting(when)

    def wait(self, told: Callable[[float], None]) -> None:
        """Tell when there will be more room, now or once it is known."""
        if self._landing:
            told(self._landing[0][0])
        else:
            self._waiting = told


class Network:
    """All lines of a run.

    Parameters
    ----------
    links
        Source, target and what was asked of the line; pairs that are not among them are not slowed.
    """

    def __init__(self, links: Iterable[tuple[str, str, LinkSpec]], seed: int) -> None:
        self._links = {(source, target): link for source, target, link in links}
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._seed = seed
        self._down: set[tuple[str, str]] = set()
        self.traffic: dict[str, Traffic] = {}

    def link(self, source: str, target: str) -> LinkSpec:
        """What was asked of a pair's line."""
        return self._links.get((source, target), LinkSpec())

    def pair(self, source: str, target: str) -> Pair:
        """The line from one host to another."""
        found = self._pairs.get((source, target))
        if found is None:
            found = self._pairs[source, target] = Pair(source, target, self.link(source, target), self._seed)
            found.down = (source, target) in self._down
        return found

    def change(self, source: str, target: str, link: LinkSpec, *, down: bool = False) -> None:
        """Have a line do something else from now on, or carry nothing."""
        self._links[source, target] = link
        (self._down.add if down else self._down.discard)((source, target))
        self.pair(source, target).change(link, down=down)

    def counted(self, host: str) -> Traffic:
        """A host's counters."""
        return self.traffic.setdefault(host, Traffic())


class UniformDraws:
    """Uniform variates from the open interval, drawn from a generator in blocks."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def __call__(self) -> float:
        if not self._block:
            self._block = (1.0 - self._rng.random(256)).tolist()
        return min(self._block.pop(), 1.0 - 2.0**-53)
