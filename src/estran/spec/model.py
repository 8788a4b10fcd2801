"""The experiment as frozen, typed data: every quantity in SI units, every reference checked, no factor left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from estran.spec.claims import Claim
from estran.spec.costs import CommandModel, Cost
from estran.spec.faults import Condition, Fault
from estran.spec.ranges import Range

Delivery = Literal["latest", "acknowledged"]
Routing = Literal["paired", "all", "rotate"]
WhenFull = Literal["block", "drop-newest", "drop-oldest"]
Restart = Literal["never", "on-failure", "always"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A catalogue figure's public source."""

    text: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A catalogue type of host.

    Attributes
    ----------
    cores
        Number of processor cores.
    speed
        Single-thread speed relative to the reference core (1.0: one core of a 2020s cloud server).
    memory
        Bytes of main memory.
    idle_power, busy_power
        Watts when idle, and with all cores busy. Idle never exceeds busy.
    sources
        Where each figure comes from, by field name.
    """

    name: str
    cores: int
    speed: float
    memory: float
    idle_power: float
    busy_power: float
    sources: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """What one direction of a link does to packets.

    Attributes
    ----------
    delay
        One-way propagation delay, seconds.
    jitter
        Standard deviation of the delay (normal, truncated so that no packet overtakes another), seconds.
    rate
        Capacity in bits per second on the wire, or None for unlimited.
    loss
        Probability that a packet is lost, 0 to 1, independent.
    """

    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Layer:
    """A group of like hosts, named ``<layer>-0`` … ``<layer>-<n-1>``."""

    name: str
    hosts: int
    device: Device


@dataclass(frozen=True, slots=True)
class LinkRule:
    """A link between every host that matches one selector and every host that matches the other."""

    source: str
    target: str
    link: LinkSpec
    symmetric: bool = True


@dataclass(frozen=True, slots=True)
class Ready:
    """When a command counts as ready: a listening port, a line of its output (regular expression), or a file."""

    port: int | None = None
    output: str | None = None
    file: str | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Share:
    """How much of its host's processor a service may use beside others.

    Attributes
    ----------
    most
        Share of all cores of the host that each replica may use.
    idle
        It begins no computation while other services of the host compute on all cores.
    latency_p99, of
        It is idle, and uses less yet while more than 1 % of the messages of this service on its host take longer than that.
    """

    most: float = 1.0
    idle: bool = False
    latency_p99: float | None = None
    of: str | None = None

    @property
    def yields(self) -> bool:
        """Whether others go first."""
        return self.idle or self.latency_p99 is not None


@dataclass(frozen=True, slots=True)
class Service:
    """What runs on hosts: a component or a command, with replicas.

    Attributes
    ----------
    on
        Host selectors (layer, host name or glob), in order.
    component
        Built-in name or ``module:Class``; None for a command.
    command
        Argument vector; None for a component.
    settings
        The ``with:`` block: plain values, quantities already in SI units where the component declares them so.
    replicas
        Replicas in all, spread evenly over the hosts; None for one on each host.
    cores
        Cores of its host that the service may use at once.
    share
        Its part of the host's processor.
    costs
        Simulated: declared processor time of a component's operations.
    model
        Simulated: what a command is declared to do.
    """

    name: str
    on: tuple[str, ...]
    component: str | None = None
    command: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    replicas: int | None = None
    cores: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    ready: Ready = Ready()
    restart: Restart = "never"
    max_restarts: int = 5
    costs: Mapping[str, Cost] = field(default_factory=dict)
    model: CommandModel | None = None
    share: Share = Share()


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a stream: an output or an input of a service, written ``service.port``."""

    service: str
    port: str

    def __str__(self) -> str:
        return f"{self.service}.{self.port}"


@dataclass(frozen=True, slots=True)
class Stream:
    """A connection from an output to inputs.

    Attributes
    ----------
    delivery
        ``acknowledged``: nothing lost, in order. ``latest``: newest wins, nothing queues behind it.
    routing
        To which replicas of a consumer each producer replica sends: ``paired`` (the one on its own host, else one
        by index), ``all``, or ``rotate`` (each message to the next).
    capacity
        Messages that may wait unprocessed: then an acknowledged stream is full.
    when_full
        What becomes of a message that finds a channel full, or comes faster than ``rate``: ``block`` holds the sender back,
        ``drop-newest`` leaves the message out, ``drop-oldest`` has it wait at the sender in place of the oldest one there.
    rate
        Messages per second that pass each channel at the most, or None.
    sample
        Share of messages that is sent, drawn at random.
    """

    source: Port
    targets: tuple[Port, ...]
    delivery: Delivery = "acknowledged"
    routing: Routing = "paired"
    capacity: int = 1024
    when_full: WhenFull = "block"
    rate: float | None = None
    sample: float = 1.0


Until: TypeAlias = Condition
"""A stop condition."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How long to run: warm-up first, then a duration, or until a condition holds (at most ``duration``)."""

    warmup: float = 0.0
    duration: float = 30.0
    until: Until | None = None


@dataclass(frozen=True, slots=True)
class Variation:
    """How a factor may vary.

    Attributes
    ----------
    levels
        What the file lists; of a range its ends, or as many levels as the file says, evenly on its scale.
    default
        The level that it has where nothing else is said.
    range
        What it may be between its levels; None for levels only.
    when
        Levels of other factors at which it counts; where one of these has another level, this factor is at its default.
    """

    levels: tuple[Any, ...]
    default: Any
    range: Range | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A whole description with one level chosen for each factor.

    Attributes
    ----------
    variations
        How every factor may vary, in the order of the file; ``factors`` are their levels.
    assignment
        The level in force for each factor.
    title, description
        Words for people.
    claims
        What the author says that runs show.
    faults
        What breaks in a run, and when.
    source, folder
        The file it came from, and the folder that relative paths in it start from; experiments are equal without them.
    document
        The resolved document as plain data, ready to be written as YAML and loaded again.
    """

    name: str
    seed: int
    layers: Mapping[str, Layer]
    network: tuple[LinkRule, ...]
    services: Mapping[str, Service]
    streams: tuple[Stream, ...]
    variations: Mapping[str, Variation]
    assignment: Mapping[str, Any]
    measure: Measure
    source: str = field(compare=False)
    folder: str = field(compare=False)
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)
    title: str = ""
    description: str = ""
    claims: tuple[Claim, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """The levels of every factor."""
        return {name: variation.levels for name, variation in self.variations.items()}
