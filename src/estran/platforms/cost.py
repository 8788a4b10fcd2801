"""What hosts that others share can cost."""

from __future__ import annotations

from dataclasses import dataclass

from estran.units import show


@dataclass(frozen=True, slots=True)
class Cost:
    """What a reservation, or a job in a queue, can take of an account at the most.

    Attributes
    ----------
    walltime
        Seconds.
    """

    nodes: int
    walltime: float

    @property
    def node_hours(self) -> float:
        """Nodes times walltime in hours: the most that can be charged; giving back early costs less."""
        return self.nodes * self.walltime / 3600

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        return f"{nodes} for {show(self.walltime, 'duration')} at the most: {self.node_hours:.3g} node-hours"
