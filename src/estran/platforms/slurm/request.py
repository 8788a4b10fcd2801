"""What is asked of Slurm for one run: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from estran.errors import Where
from estran.platforms.cost import Cost
from estran.platforms.remote.source import Needs
from estran.platforms.ssh.target import Target


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of one kind, for one layer or several: a job of its own, or one component of a heterogeneous job.

    Attributes
    ----------
    nodes
        How many nodes there are of this kind.
    places
        For each experiment host: the index of its node.
    cpus
        Processors of each host; None if it has its node for itself.
    memory
        Bytes of main memory of each host; None for what the cluster gives.
    options
        What distinguishes its nodes, as options of sbatch.
    """

    nodes: int
    places: Mapping[str, int]
    hosts_per_node: int = 1
    cpus: int | None = None
    memory: float | None = None
    options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    python: str = "python3"


@dataclass(frozen=True, slots=True)
class Request:
    """All nodes of one run.

    Attributes
    ----------
    walltime
        Seconds after which Slurm ends the job.
    login
        Where sbatch and srun are; None for this machine.
    needs
        What is brought to the nodes.
    file
        The platform file.
    where
        Place in it of each key, written ``partition`` or ``layers.hpc.partition``.
    values
        What stands there, as text.
    """

    walltime: float
    parts: tuple[Part, ...]
    file: str
    login: Target | None = None
    needs: Needs = field(default_factory=Needs)
    where: Mapping[str, Where] | None = None
    values: Mapping[str, str] | None = None

    @property
    def cost(self) -> Cost:
        """What it can cost at the most."""
        return Cost(sum(part.nodes for part in self.parts), self.walltime)

    def place(self, key: str, said: str = "") -> Where:
        """Where a key stands in the file; of several, the one whose value is in what Slurm said about it."""
        places, values = self.where or {}, self.values or {}
        found = [path for path in places if path.rpartition(".")[2] == key]
        named = [path for path in found if values.get(path) and values[path] in said]
        chosen = next(iter(named or found), None)
        return Where(self.file, 1, 1) if chosen is None else places[chosen]
