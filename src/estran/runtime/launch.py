"""What an agent must know to start one replica: plain data that crosses to its host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import msgspec

from estran.runtime.transport import ChannelSpec


@dataclass(frozen=True, slots=True)
class Readiness:
    """When a command counts as ready; a component says so itself. See `estran.spec.model.Ready`."""

    port: int | None = None
    output: str | None = None
    file: str | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class ChannelEnd:
    """One end of a channel at this replica: through which port it goes, and who is at the other end."""

    key: str
    stream: str
    port: str
    peer: str
    delivery: Literal["latest", "acknowledged"]
    capacity: int = 1024
    group: str = ""
    """Outputs: channels with one group go to one consumer's input and belong together."""
    rotate: bool = False
    when_full: Literal["block", "drop-newest", "drop-oldest"] = "block"
    rate: float | None = None
    sample: float = 1.0
    routed: bool = False
    """Goes through the run's router, because one end cannot be dialled."""

    @property
    def spec(self) -> ChannelSpec:
        return ChannelSpec(self.key, self.delivery, self.capacity - self.waiting)

    @property
    def waiting(self) -> int:
        """Messages that may wait at the sender: half of the capacity where the oldest of them is dropped."""
        return self.capacity // 2 if self.when_full == "drop-oldest" and self.delivery == "acknowledged" else 0


@dataclass(frozen=True, slots=True)
class Yielding:
    """How one replica lets others of its host go first; see `estran.spec.model.Share`.

    Attributes
    ----------
    cores
        Of its host.
    watched
        Replicas on its host whose latency it is to keep below ``latency``, for 99 % of their messages.
    """

    cores: int
    most: float = 1.0
    latency: float | None = None
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Security:
    """Files on a replica's host with which it proves who it is and examines others (PEM).

    Attributes
    ----------
    authority
        Certificate of the run's own authority: nobody else's are trusted.
    certificate, key
        The host's own.
    """

    authority: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Launch:
    """One replica to start on a host.

    Attributes
    ----------
    component
        ``module:Class``, or None for a command.
    listen, connect
        Transport endpoints (``tcp/10.0.0.7:7450``) on which this replica waits for producers, and of its consumers.
    router
        Endpoint of the run's router (`estran.runtime.router`), for the channels that are routed.
    security
        With which the endpoints (``tls/10.0.0.7:7450``) are used; None for plain TCP.
    origin_ns
        Origin of the clock until the run begins.
    round_trip
        Seconds that a message and its answer take at the most on this replica's links: connecting must wait as long.
    cores
        Threads that the replica may run at once.
    yields
        How it lets others compute first, if it does.
    mortal
        Replicas of the run are killed on purpose: what is acknowledged must have been recorded before.
    """

    replica: str
    service: str
    index: int
    replicas: int
    host: str
    seed: int
    origin_ns: int
    component: str | None = None
    command: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[ChannelEnd, ...] = ()
    outputs: tuple[ChannelEnd, ...] = ()
    listen: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    router: str | None = None
    security: Security | None = None
    round_trip: float = 0.1
    folder: str = "."
    experiment_folder: str = "."
    cores: int = 1
    ready: Readiness = Readiness()
    restart: Literal["never", "on-failure", "always"] = "never"
    max_restarts: int = 5
    yields: Yielding | None = None
    mortal: bool = False

    def plain(self) -> dict[str, Any]:
        """As msgpack-able data."""
        return asdict(self)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Launch:
        """From `plain` data."""
        return msgspec.convert(data, cls)
