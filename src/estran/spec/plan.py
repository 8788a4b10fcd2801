"""From an experiment to what must exist: hosts, replicas, channels and links. A pure function of the description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from estran.spec.model import Delivery, Device, Experiment, LinkSpec, Routing, Service


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """One host: ``edge-0`` of layer ``edge``."""

    name: str
    layer: str
    device: Device


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy of a service: ``camera-2`` on ``edge-2``."""

    name: str
    index: int
    service: Service
    host: str


@dataclass(frozen=True, slots=True)
class Channel:
    """One producer replica's way to one consumer replica, part of a stream.

    ``key`` names it uniquely: ``camera.samples/camera-2/detector-0.samples``.
    """

    key: str
    stream: str
    producer: str
    output: str
    consumer: str
    input: str
    delivery: Delivery
    routing: Routing
    capacity: int


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """One direction between two hosts with what was asked of it."""

    source: str
    target: str
    link: LinkSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a platform must provide and the conductor must start."""

    experiment: Experiment
    hosts: Mapping[str, PlannedHost]
    replicas: Mapping[str, Replica]
    channels: tuple[Channel, ...]
    links: tuple[PlannedLink, ...]
    warnings: tuple[str, ...] = ()
