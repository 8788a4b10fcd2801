"""What the conductor orders from the keeper: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from estran.spec.model import Device, LinkSpec


@dataclass(frozen=True, slots=True)
class HostOrder:
    """One host to emulate, with the cores that each replica on it may use.

    Attributes
    ----------
    ports
        TCP ports on which something listens there; the loopback rung relays these only.
    commands
        Those of the replicas that are commands.
    yielding
        Those that let the others use the processor first.
    stands_in
        Whether it stands for a host that is not emulated, so that its speed is nobody's.
    """

    name: str
    layer: str
    device: Device
    replicas: dict[str, float] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    yielding: list[str] = field(default_factory=list)
    stands_in: bool = False


@dataclass(frozen=True, slots=True)
class LinkOrder:
    """One direction between two hosts."""

    source: str
    target: str
    link: LinkSpec


@dataclass(frozen=True, slots=True)
class Order:
    """A whole infrastructure to emulate, for one run.

    Attributes
    ----------
    engine, limiter
        Only this rung will do; None for the best that works.
    stream_ports
        TCP ports of streams, on any host.
    """

    run_id: str
    hosts: list[HostOrder]
    links: list[LinkOrder]
    seed: int
    engine: str | None = None
    limiter: str | None = None
    stream_ports: list[int] = field(default_factory=list)
