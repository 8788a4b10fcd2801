"""The shape of a testbed's platform file, one model for each provider."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from estran.platforms.remote.source import Open, Supplied
from estran.spec.schema import Count, Entry, LongEnough, Name, Text
from estran.units import Duration

Job = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]*$", max_length=40)]
SERVER = re.compile(r"(?P<cluster>[a-z0-9]+)-\d+\.(?P<site>[a-z]+)\.grid5000\.fr")
BOARD = re.compile(r"(?P<archi>[a-z0-9]+)-[a-z0-9-]+\.(?P<site>[a-z]+)\.iot-lab\.info")
LINUX = ("a8", "rpi")
"""Kinds of boards of IoT-LAB that run Linux and have SSH."""
FORMAT = "%Y-%m-%d %H:%M:%S"
HOUR, MINUTE = 3600.0, 60.0


class Group(Entry):
    """The nodes of one layer."""

    nodes: Count = Field(default=1, description="Number of nodes.")

    @property
    def bare(self) -> str | None:
        """What these nodes are if they cannot be hosts."""
        return None


def _text(value: Any) -> Any:
    """YAML may take a date for one; it is kept as text."""
    return str(value) if value is not None and not isinstance(value, str) else value


def _moment(text: str) -> str:
    try:
        datetime.strptime(text, FORMAT)
    except ValueError:
        raise ValueError(f"{text!r} is no moment; write YYYY-MM-DD hh:mm:ss, such as 2031-01-02 19:00:00") from None
    return text


Moment = Annotated[str, BeforeValidator(_text), AfterValidator(_moment)]


L = TypeVar("L", bound=Group)


class Asked(Supplied, Open, Generic[L]):
    """What every testbed is asked for.

    Attributes
    ----------
    folders
        Keys that hold paths, which count from the folder of the file.
    limited
        Whether a reservation ends by itself when its walltime is over.
    boots
        Whether nodes are said to run before they can be reached.
    """

    folders: ClassVar[tuple[str, ...]] = ()
    limited: ClassVar[bool] = True
    boots: ClassVar[bool] = False

    platform: Literal["testbed"] = Field(description="The kind of platform.")
    provider: str
    job: Job = Field(default="estran", description="Name of the reservation; nobody else of your account may use it meanwhile.")
    walltime: LongEnough = Field(default=2 * HOUR, description="How long nodes are reserved, such as 2h.")
    wait: Duration = Field(default=10 * MINUTE, description="How long to wait at most until the reservation begins, such as 10min.")
    patience: Duration = Field(
        default=2 * MINUTE, description="How long to repeat requests that the testbed's API does not answer for the moment."
    )
    keep: bool = Field(default=False, description="Whether to keep the nodes for later runs, until `estran testbeds release`.")
    python: Text = Field(default="python3", description="Command that starts Python on the nodes.")
    layers: Annotated[dict[Name, L], Field(min_length=1)] = Field(description="The nodes of each layer of the experiment.")

    @property
    def nodes(self) -> int:
        """Number of nodes of all layers."""
        return sum(layer.nodes for layer in self.layers.values())

    def request(self) -> dict[str, Any]:
        """What the provisioner is told, as JSON: all keys, and how many seconds from now the start is that was asked for."""
        data = self.model_dump()
        if data.get("start") is None:
            return data | {"delay": 0.0}
        start = datetime.strptime(data["start"], FORMAT).replace(tzinfo=ZoneInfo("Europe/Paris"))
        return data | {"delay": max(0.0, start.timestamp() - time.time())}


class Grid5000Group(Group):
    """Nodes of one cluster: any, or those named."""

    cluster: Text | None = Field(default=None, description="Name of a cluster, such as ecotype.")
    servers: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="Full names of nodes of one cluster, such as gros-1.nancy.grid5000.fr, instead of a cluster."
    )
    network: Literal["prod", "kavlan", "kavlan-local", "kavlan-global"] = Field(
        default="prod", description="The nodes' network: the production network, or a VLAN of its own."
    )
    disks: bool = Field(default=False, description="Whether to reserve the nodes' reservable disks, too.")

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        """As many nodes as are named."""
        if isinstance(data, dict) and isinstance(data.get("servers"), list) and "nodes" not in data:
            return data | {"nodes": len(data["servers"])}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Grid5000Group:
        if (self.cluster is None) == (self.servers is None):
            raise ValueError("needs either cluster or servers; name a cluster, or list servers")
        matches = [SERVER.fullmatch(server) for server in self.servers or ()]
        if not all(matches):
            raise ValueError("servers must be full names; write for example gros-1.nancy.grid5000.fr")
        if len({match["cluster"] for match in matches if match}) > 1:
            raise ValueError("servers are of several clusters; make one layer for each cluster")
        if self.servers and self.nodes > len(self.servers):
            raise ValueError(f"asks for {self.nodes} nodes of {len(self.servers)} servers; list more, or leave out nodes")
        return self


class Grid5000File(Asked[Grid5000Group]):
    """Grid'5000."""

    folders: ClassVar[tuple[str, ...]] = ("public_key",)

    provider: Literal["g5k"]
    env: Text | None = Field(default=None, description="Environment to deploy, such as debian12-min; without it the standard one.")
    queue: Literal["default", "production", "testing", "besteffort", "admin"] = Field(default="default", description="OAR queue.")
    project: Text | None = Field(default=None, description="Project or team that the job is charged to.")
    start: Moment | None = Field(default=None, description="Start of an advance reservation, as YYYY-MM-DD hh:mm:ss (Paris time).")
    job_types: list[Text] = Field(default=[], description="Further OAR job types, such as night.")
    public_key: Text | None = Field(default=None, description="Public key for deployed nodes; all of ~/.ssh/*.pub if not given.")
    jump: bool | None = Field(
        default=None,
        description="Whether to go through access.grid5000.fr; by default from outside of Grid'5000.",
    )

    @model_validator(mode="after")
    def _deployed(self) -> Grid5000File:
        if self.env is None and any(layer.network != "prod" for layer in self.layers.values()):
            raise ValueError("nodes can be put into a VLAN only if they are deployed; add env: debian12-min")
        return self


class IotLabGroup(Group):
    """Boards of one kind at one site, or those named."""

    archi: Text | None = Field(default=None, description="Kind of board, such as m3:at86rf231, a8:at86rf231 or rpi3:xbee.")
    site: Text | None = Field(default=None, description="Site, such as grenoble.")
    boards: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="Full names such as m3-1.grenoble.iot-lab.info, instead of archi and site."
    )
    image: Text | None = Field(default=None, description="Firmware that microcontrollers are flashed with: a file.")
    profile: Text | None = Field(default=None, description="Name of a monitoring profile of your account.")

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        """As many nodes as are named."""
        return data | {"nodes": len(data["boards"])} if isinstance(data, dict) and isinstance(data.get("boards"), list) else data

    @model_validator(mode="after")
    def _consistent(self) -> IotLabGroup:
        if (self.boards is None) == (self.archi is None and self.site is None):
            raise ValueError("needs either archi and site, or boards; add archi: and site:")
        if self.boards is None and (self.archi is None or self.site is None):
            raise ValueError("needs both archi and site; add the other")
        if not all(BOARD.fullmatch(board) for board in self.boards or ()):
            raise ValueError("boards must be full names; write for example m3-1.grenoble.iot-lab.info")
        return self

    @property
    def bare(self) -> str | None:
        """Microcontrollers run their firmware and nothing else."""
        kind = self.archi or (self.boards or [""])[0]
        return None if kind.startswith(LINUX) else f"a board {kind}"


class IotLabFile(Asked[IotLabGroup]):
    """FIT IoT-LAB."""

    provider: Literal["iotlab"]
    start: Moment | None = Field(default=None, description="Start of the reservation, as YYYY-MM-DD hh:mm:ss (Paris time).")

    @model_validator(mode="after")
    def _one_way(self) -> IotLabFile:
        if len({layer.boards is None for layer in self.layers.values()}) > 1:
            raise ValueError("IoT-LAB takes boards by name or by kind, not both in one reservation; name all, or none")
        return self


class CloudGroup(Group):
    """Servers of one kind."""

    flavour: Text = Field(description="Flavour of virtual machines (m1.medium), or type of bare-metal nodes (compute_skylake).")
    image: Text | None = Field(default=None, description="Image of these nodes, if not that of the file.")


class CloudFile(Asked[CloudGroup]):
    """Chameleon, and other clouds with OpenStack."""

    folders: ClassVar[tuple[str, ...]] = ("rc_file",)
    boots: ClassVar[bool] = True

    provider: Literal["chameleon", "chameleon-kvm", "openstack"]
    rc_file: Text = Field(description="OpenStack RC file with your credentials, as the site's web page gives it.")
    key_name: Text = Field(description="Name of your SSH key pair at the site.")
    image: Text = Field(default="CC-Ubuntu22.04", description="Image of the nodes.")
    user: Text = Field(default="cc", description="Who logs in: the image's user.")
    network: Text | None = Field(default=None, description="Network of the nodes, if not the site's usual one.")
    subnet: Text | None = Field(default=None, description="Subnet of that network.")

    @model_validator(mode="after")
    def _network_whole(self) -> CloudFile:
        if (self.network is None) != (self.subnet is None):
            raise ValueError("needs network and subnet together; add the other")
        return self


class VagrantGroup(Group):
    """Virtual machines of one size."""

    cores: Count = Field(default=1, description="Processor cores.")
    memory: Annotated[int, Field(ge=128)] = Field(default=512, description="Memory in MiB.")
    box: Text | None = Field(default=None, description="Box of these machines, if not that of the file.")


class VagrantFile(Asked[VagrantGroup]):
    """Virtual machines on this computer, by Vagrant."""

    limited: ClassVar[bool] = False

    provider: Literal["vagrant"]
    box: Text = Field(default="generic/debian12", description="Box of the machines.")
    backend: Literal["libvirt", "virtualbox"] = Field(default="libvirt", description="What runs them.")
    network: Text = Field(default="192.168.142.0/24", description="Their network.")


TestbedFile = Grid5000File | IotLabFile | CloudFile | VagrantFile
FILES: tuple[type[TestbedFile], ...] = (Grid5000File, IotLabFile, CloudFile, VagrantFile)
