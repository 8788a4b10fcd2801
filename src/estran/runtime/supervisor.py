"""The supervisor of one host's services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from estran.errors import ServiceError
from estran.runtime.clock import RealClock
from estran.runtime.launch import Launch
from estran.runtime.process import Enclosure
from estran.runtime.supervised import Supervised
from estran.runtime.yielding import SharedBoard, times_of


class Supervisor:
    """All replicas of one host.

    Parameters
    ----------
    say
        Where frames for the conductor go.
    enclosures
        The limits of each replica that has any.
    """

    def __init__(self, say: Callable[[Mapping[str, Any]], None], clock: RealClock, enclosures: Mapping[str, Enclosure]) -> None:
        self._say = say
        self._clock = clock
        self._enclosures = enclosures
        self._board = SharedBoard()
        self.supervised: dict[str, Supervised] = {}

    def start(self, launch: Launch, group: asyncio.TaskGroup) -> None:
        """Start a replica in a task of the agent's group.

        Raises
        ------
        ServiceError
            If one of that name is there already.
        """
        if launch.replica in self.supervised:
            raise ServiceError(f"{launch.replica} is already running", where=launch.host)
        place = self._board.place() if launch.component is not None else None
        replica = Supervised(launch, self._enclosures.get(launch.replica), self._hear, self._clock, place)
        self.supervised[launch.replica] = replica
        group.create_task(replica.run(), name=launch.replica)

    def _hear(self, frame: Mapping[str, Any]) -> None:
        """Hand a frame on, and tell those that yield how long the messages of those took that they watch."""
        self._say(frame)
        if frame.get("table") == "messages":
            for replica in self.supervised.values():
                yields = replica.launch.yields
                times = [] if yields is None else times_of(frame["rows"], yields.watched)
                if times:
                    replica.tell({"say": "latencies", "times": times})

    def go(self, origin_ns: int) -> None:
        """Let all components begin at the origin of the run's clock."""
        self._clock.origin_ns = origin_ns
        for replica in self.supervised.values():
            replica.go(origin_ns)

    def flush(self) -> None:
        """Hand on what all replicas have printed."""
        for replica in self.supervised.values():
            replica.flush()

    def pids(self) -> dict[str, int]:
        """Of the replicas that run now."""
        return {name: replica.pid for name, replica in self.supervised.items() if replica.pid is not None}
