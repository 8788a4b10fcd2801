"""A scenario of E2Clab as frozen data: every service with its machines, every rule of the network, every play with its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from estran.errors import Where
from estran.spec.marks import Marks, Path
from estran.spec.model import LinkSpec

Stage = Literal["prepare", "launch", "finalize"]
Grouping = Literal["round_robin", "asarray", "aggregate", "address_match"]
ArrayInfo = Literal["id", "hostname", "g5k_ipv6_hostname"]

STAGES: Final[tuple[Stage, ...]] = ("prepare", "launch", "finalize")
TESTBEDS: Final = ("g5k", "iotlab", "chameleoncloud", "chameleonedge", "scalewayinstances")
MANAGERS: Final = ("monitoring", "monitoring_iotlab", "kwollect", "provenance")


@dataclass(frozen=True, slots=True)
class Note:
    """What the reader of a scenario should know of one place in it, and need not change."""

    where: Where
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Testbed:
    """Where machines come from: the settings of one of `TESTBEDS`, those common to all filled in."""

    name: str
    settings: Mapping[str, Any]
    where: Where


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of a service.

    Attributes
    ----------
    key
        What selectors find it by: ``layer.service.service_id.machine_id``, in lower case.
    host
        Name of the host that plays it: ``<layer>-<n>``.
    """

    key: str
    host: str
    layer_id: int
    service_id: int
    machine_id: int

    @property
    def identity(self) -> str:
        """What E2Clab calls its ``_id``."""
        return f"{self.layer_id}_{self.service_id}_{self.machine_id}"


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a layer, copies that ``repeat`` asks for counted as services of their own.

    Attributes
    ----------
    key
        ``layer.service.service_id``, in lower case.
    layer_id, service_id
        Places of the layer in the file and of the service in the layer, from 1.
    testbed
        Name of the testbed that its machines come from; None if the file names none.
    roles
        Further names by which selectors find its machines.
    metadata
        All of its entry in the file, for plug-ins.
    """

    name: str
    layer: str
    layer_id: int
    service_id: int
    testbed: str | None
    roles: tuple[str, ...]
    env: Mapping[str, Any]
    metadata: Mapping[str, Any]
    machines: tuple[Machine, ...]
    where: Where

    @property
    def key(self) -> str:
        return f"{self.layer}.{self.name}.{self.service_id}".lower()


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """What packets meet from all machines that one selector finds to all that another does."""

    source: str
    target: str
    link: LinkSpec
    symmetric: bool
    where: Where


@dataclass(frozen=True, slots=True)
class Dependency:
    """Variables that a play's hosts are given about other services."""

    selector: str
    prefix: str
    grouping: Grouping
    array_info: ArrayInfo
    where: Where


@dataclass(frozen=True, slots=True)
class Task:
    """One task of Ansible, as it stands in the file.

    Attributes
    ----------
    module
        Name of its module as written; None for a block.
    path
        Its place in the file's data: ``(0, "launch", 2)``.
    """

    data: Mapping[str, Any]
    module: str | None
    path: Path
    where: Where

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.data.get("name") or self.module or "block")


@dataclass(frozen=True, slots=True)
class Play:
    """What is done on the machines that a selector finds.

    Attributes
    ----------
    keywords
        Ansible's own keys of a play, such as ``vars`` and ``become``.
    """

    selector: str
    depends_on: tuple[Dependency, ...]
    keywords: Mapping[str, Any]
    stages: Mapping[Stage, tuple[Task, ...]]
    where: Where


@dataclass(frozen=True, slots=True)
class Manager:
    """Monitoring or provenance that the scenario asks for."""

    name: str
    settings: Any
    where: Where

    @property
    def kind(self) -> str:
        """Its type where it has one (``dstat``), else its name."""
        return str(self.settings.get("type", self.name)) if isinstance(self.settings, Mapping) else self.name


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a scenario's files say.

    Attributes
    ----------
    layers
        Names of the layers, as written.
    services
        In the order of their ids, layer by layer.
    configurations
        Variables by configuration (``--app_conf``), without their prefix ``env_``.
    marks
        Positions in `workflow.yaml`, for errors about tasks.
    notes
        What is read in a way that somebody might not expect.
    """

    name: str
    folder: FilePath
    job_name: str | None
    testbeds: Mapping[str, Testbed]
    layers: tuple[str, ...]
    services: tuple[Service, ...]
    managers: tuple[Manager, ...]
    network: tuple[NetworkRule, ...]
    plays: tuple[Play, ...]
    configurations: Mapping[str, Mapping[str, Any]]
    marks: Marks = field(compare=False)
    notes: tuple[Note, ...] = ()

    def machines(self) -> Iterator[Machine]:
        """All machines, in the order of the file."""
        return (machine for service in self.services for machine in service.machines)

    def tasks(self, stage: Stage) -> Iterator[tuple[Play, Task]]:
        """Tasks of a stage with their plays."""
        return ((play, task) for play in self.plays for task in play.stages.get(stage, ()))
