"""From an experiment to what must exist: hosts, replicas, channels and links. A pure function of the description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from estran.spec.faults import Injection
from estran.spec.model import Delivery, Device, Experiment, LinkSpec, Routing, Service, WhenFull

FIRST_PORT: Final = 7450
ROUTER_PORT: Final = 7447


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
    when_full: WhenFull = "block"
    rate: float | None = None
    sample: float = 1.0


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """One direction between two hosts with what was asked of it."""

    source: str
    target: str
    link: LinkSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a platform must provide and the conductor must start; and what it breaks meanwhile."""

    experiment: Experiment
    hosts: Mapping[str, PlannedHost]
    replicas: Mapping[str, Replica]
    channels: tuple[Channel, ...]
    links: tuple[PlannedLink, ...]
    warnings: tuple[str, ...] = ()
    injections: tuple[Injection, ...] = ()


def stream_ports(plan: Plan) -> dict[str, int]:
    """The TCP port on which each replica that consumes a stream listens; never one that a service declares as its own."""
    consumers = sorted({channel.consumer for channel in plan.channels})
    declared = declared_ports(plan)
    free = (port for port in range(FIRST_PORT, 1 << 16) if port not in declared)
    return dict(zip(consumers, free, strict=False))


def declared_ports(plan: Plan) -> set[int]:
    """All ports that services declare as theirs."""
    return {port for service in plan.experiment.services.values() for port in _declared(service)}


def router_port(plan: Plan) -> int:
    """The TCP port on which a router of streams listens, if the platform needs one."""
    taken = declared_ports(plan) | set(stream_ports(plan).values())
    return next(port for port in range(ROUTER_PORT, 1 << 16) if port not in taken)


def host_ports(plan: Plan) -> dict[str, list[int]]:
    """The TCP ports on which something listens, by host: for streams, and those that services declare as theirs."""
    streams = stream_ports(plan)
    found: dict[str, set[int]] = {name: set() for name in plan.hosts}
    for replica in plan.replicas.values():
        found[replica.host].update(_declared(replica.service))
        if replica.name in streams:
            found[replica.host].add(streams[replica.name])
    return {name: sorted(ports) for name, ports in found.items()}


def _declared(service: Service) -> set[int]:
    return {*service.ports} | ({service.ready.port} if service.ready.port is not None else set())
