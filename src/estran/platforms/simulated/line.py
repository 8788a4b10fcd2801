"""The line from one host to another, in virtual time: shared by all connections between them, with a finite queue."""

from __future__ import annotations

import math
from collections.abc import Callable

from estran.platforms.emulated.links.relay_core import FULL_FRAME, MSS, Line, generator, queue_seconds, stream_wire_size
from estran.spec.model import LinkSpec


class Pair:
    """One directed pair of hosts: its line, shared by all connections between them, and its queue, which is finite.

    Attributes
    ----------
    watchers
        Told when what the line does to segments changes.
    """

    def __init__(self, source: str, target: str, link: LinkSpec, seed: int) -> None:
        self.down = False
        self.watchers: list[Callable[[], None]] = []
        self._line = Line(link, generator(seed, source, target), lossless=True)
        self._luck = generator(seed, target, source)
        self._become(link)

    def _become(self, link: LinkSpec) -> None:
        self.link = link
        self._until_loss = self._gap()
        self._patience = queue_seconds(link)
        self.frame = FULL_FRAME * 8 / link.rate if link.rate else 0.0

    def change(self, link: LinkSpec, *, down: bool = False) -> None:
        """Do ``link`` to segments from now on, or carry none of them if it is ``down``; what is under way arrives."""
        if link != self.link:
            self._line.change(link)
            self._become(link)
        self.down = down
        for watcher in self.watchers:
            watcher()

    def carry(self, now: float, payload: int, *, repair: bool = False) -> tuple[float, int]:
        """Take bytes of a stream in; when the last of them is there, and how many of its segments were lost on the way.

        Segments that would wait longer than the line's queue holds are dropped without taking its time; those that ``repair`` a
        loss come one by one as others leave, and find a place.
        """
        segments = max(1, -(-payload // MSS))
        fitting = segments if repair or not self.frame else self._fitting(now, segments)
        if not fitting:
            return max(self._line.free, now + self.link.delay), segments
        size, frames = stream_wire_size(payload if fitting == segments else fitting * MSS)
        there = self._line.depart(now, size, frames)
        assert there is not None  # the line itself loses nothing
        return there, segments - fitting + self._lost(fitting)

    def _fitting(self, now: float, segments: int) -> int:
        """How many of so many segments find a place in the queue."""
        room = self._patience - max(self._line.free - now - self.link.delay, 0.0)
        return 0 if room < 0 else min(segments, int(room / self.frame) + 1)

    def _lost(self, segments: int) -> int:
        lost = 0
        self._until_loss -= segments
        while self._until_loss <= 0:
            lost += 1
            self._until_loss += self._gap()
        return lost

    def _gap(self) -> float:
        return float(self._luck.geometric(self.link.loss)) if self.link.loss > 0 else math.inf
