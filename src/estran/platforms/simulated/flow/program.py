"""An experiment compiled for the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from estran.platforms.simulated.flow.ground import Ground, Links, Numbers
from estran.platforms.simulated.flow.roles import Role
from estran.platforms.simulated.flow.tables import Array, Source, Station, Wires
from estran.platforms.simulated.flow.traffic import Traffic
from estran.spec.calibration import Handling
from estran.spec.model import Experiment, Port, Routing, Stream

PARTS = 4
"""Into how many parts a station is cut at the most: more than there are threads, so that none is idle for long."""


@dataclass(slots=True)
class Hop:
    """One output to one input.

    Attributes
    ----------
    bits, packets, bytes
        Of one message on the wire; bytes as an interface counts them.
    first, fan
        Its first channel, and channels per producer replica.
    """

    number: int
    stream: Stream
    target: Port
    routing: Routing
    traffic: Traffic
    bits: float
    packets: int
    bytes: float
    first: int = 0
    fan: int = 1

    @property
    def producer(self) -> str:
        """Service that sends."""
        return self.stream.source.service

    @property
    def consumer(self) -> str:
        """Service that takes in."""
        return self.target.service

    @property
    def name(self) -> str:
        """``camera.samples→detector``."""
        return f"{self.stream.source}→{self.consumer}"

    @property
    def latest(self) -> bool:
        """Whether newer messages take the place of older ones."""
        return self.stream.delivery == "latest"

    @property
    def publishes(self) -> bool:
        """Whether these are models of a trainer."""
        return self.traffic.parameters > 0

    @property
    def carries_models(self) -> bool:
        """Whether these are models for a predictor."""
        return self.publishes and self.target.port == "models"


@dataclass(slots=True)
class Node:
    """A station in its place in the order of work.

    Attributes
    ----------
    places
        Replicas, or links of a shared group.
    parts
        First place and number of places of each part.
    part
        Places in each part but the last.
    answers, models
        Hops that leave here: of models that are published, and all others.
    rows
        Where each row of the outbox goes: node and part.
    fan, models_fan
        Messages that one departure causes at the most.
    """

    name: str
    kind: Literal["source", "serve", "batch", "links"]
    places: int
    seed: np.uint64
    answers: Array
    models: Array
    source: Source | None = None
    station: Station | None = None
    rows: list[tuple[int, int]] = field(default_factory=list)
    fan: int = 1
    models_fan: int = 1

    @property
    def outputs(self) -> list[int]:
        """All hops that leave here."""
        return [*self.answers.tolist(), *self.models.tolist()]

    @property
    def shift(self) -> int:
        """By how many bits a place is shifted to give its part."""
        return max(0, (-(-self.places // PARTS) - 1).bit_length())

    @property
    def part(self) -> int:
        """Places in each part but the last."""
        return 1 << self.shift

    @property
    def parts(self) -> list[tuple[int, int]]:
        """First place and number of places, by part."""
        return [(first, min(self.part, self.places - first)) for first in range(0, self.places, self.part)]


@dataclass(slots=True)
class Program:
    """Everything that the engine needs, and what its figures are to be called.

    Attributes
    ----------
    nodes
        In the order in which they work through a window.
    lookahead
        Longest window, seconds; infinite where no messages come back.
    rates
        Messages per second of all replicas together, by source.
    hosts
        Host of each replica, by service.
    handling, classes
        What happens around messages, by service and device; and each replica's device among these.
    estimated
        What of the costs is a mere estimate.
    """

    experiment: Experiment
    ground: Ground
    roles: dict[str, Role]
    hosts: dict[str, Numbers]
    hops: list[Hop]
    links: Links
    wires: Wires
    nodes: list[Node]
    lookahead: float
    rates: dict[str, float]
    handling: dict[str, list[Handling]]
    classes: dict[str, Numbers]
    estimated: list[str]

    def layers_of(self, service: str) -> str:
        """Layers that a service is on, for people: ``fog``, or ``edge+fog``."""
        return "+".join(self.ground.names[layer] for layer in dict.fromkeys(self.ground.layer_of(self.hosts[service]).tolist()))

    def where(self, service: str) -> str:
        """A service with its layers: ``fog/detector``."""
        return f"{self.layers_of(service)}/{service}"

    def way(self, hop: Hop) -> str:
        """Layers at both ends of a hop: ``edge→fog``."""
        return f"{self.layers_of(hop.producer)}→{self.layers_of(hop.consumer)}"

    def channels_of(self, hop: Hop) -> slice:
        """A hop's channels among all."""
        return slice(hop.first, hop.first + len(self.hosts[hop.producer]) * hop.fan)

    def targets(self, hop: Hop) -> Array:
        """Consumer replica of each of a hop's channels."""
        return self.wires.channels["target"][self.channels_of(hop)]

    def link_of(self, hop: Hop) -> Array:
        """Link of each of a hop's channels, -1 within one host."""
        return self.wires.channels["link"][self.channels_of(hop)]

    @property
    def rate(self) -> float:
        """Messages that sources create per second, all together."""
        return sum(self.rates.values())
