"""The experiment file's shape as pydantic models: the boundary through which every description passes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StringConstraints

from estran.units import Duration, Fraction, Frequency, Power, Quantity, Rate, Size

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
"""Names of layers and services; they become parts of host and file names."""
KIND = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Names of devices and links."""
NAME_LENGTH = 48
EXPERIMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
PORT = r"^[^.\s]+\.[^.\s]+$"
MEANINGS = {
    NAME: "cannot be a name here; use letters, digits, - and _, beginning with a letter",
    KIND: "cannot be a name here; use letters, digits, - and _, beginning with a letter or digit",
    EXPERIMENT: "cannot name an experiment; use letters, digits, '.', - and _, beginning with a letter or digit",
    PORT: "is no port; write service.port, such as camera.samples",
}
"""What is wrong with a text that a pattern refuses, and what to do."""

Name = Annotated[str, StringConstraints(pattern=NAME, max_length=NAME_LENGTH)]
Kind = Annotated[str, StringConstraints(pattern=KIND, max_length=NAME_LENGTH)]
Count = Annotated[StrictInt, Field(ge=1, le=100_000)]
Text = Annotated[str, StringConstraints(min_length=1)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LongEnough = Annotated[float, Quantity("duration", positive=True)]
PortName = Annotated[str, StringConstraints(pattern=PORT)]
Scalar = str | StrictInt | float | bool


def listed(value: Any) -> Any:
    """Take one item for a list of one."""
    return value if isinstance(value, list) or value is None else [value]


def _timed(value: Any) -> Any:
    """Take a mere duration for a fixed cost."""
    return value if isinstance(value, dict | BaseModel) else {"time": value}


def _shared(value: Any) -> Any:
    """Take the word idle, or a mere share, for a block that says just that."""
    if value is None or isinstance(value, dict | BaseModel):
        return value
    return {"idle": True} if value == "idle" else {"most": value}


def _lasting(value: Any) -> Any:
    """Take the word none for no time at all."""
    return 0.0 if value == "none" else value


class Entry(BaseModel):
    """A block of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class FigureEntry(Entry):
    """Where a figure comes from."""

    text: Text = Field(description="What was measured or stated, and by whom.")
    url: str | None = Field(default=None, description="Public address of the source.")


Sources = Annotated[dict[str, FigureEntry], Field(description="Source of each figure, by key.")]


class DeviceEntry(Entry):
    """A type of host."""

    like: Kind | None = Field(default=None, description="A known device whose figures hold where none is given here.")
    cores: Count | None = Field(default=None, description="Number of processor cores.")
    speed: Positive | None = Field(default=None, description="Single-thread speed; 1.0 is one core of a 2020s cloud server.")
    memory: Annotated[float, Quantity("size", positive=True)] | None = Field(default=None, description="Main memory, such as 4GiB.")
    idle_power: Power | None = Field(default=None, description="Power when idle, such as 2.7W.")
    busy_power: Power | None = Field(default=None, description="Power with all cores busy, such as 6.4W.")
    sources: Sources = {}


class BothWays(Entry):
    """A rate that differs by direction."""

    up: Rate = Field(description="From the first end to the second (from the device towards the network).")
    down: Rate = Field(description="From the second end to the first.")


class LinkFigures(Entry):
    """What a link does to packets, in each direction."""

    delay: Duration | None = Field(default=None, description="One-way propagation delay, such as 5ms.")
    jitter: Duration | None = Field(default=None, description="Standard deviation of the delay, such as 1ms.")
    rate: Rate | BothWays | None = Field(
        default=None, description="Capacity such as 100mbit, or {up: 10mbit, down: 50mbit}; null for unlimited."
    )
    loss: Fraction | None = Field(default=None, description="Share of packets lost, such as 0.1%.")


class LinkEntry(LinkFigures):
    """A type of link."""

    like: Kind | None = Field(default=None, description="A known link whose figures hold where none is given here.")
    sources: Sources = {}


class LayerEntry(Entry):
    """A group of like hosts, named <layer>-0, <layer>-1 and so on."""

    hosts: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = Field(description="Number of hosts.")
    device: Kind = Field(description="Device of each host: from the catalogue, or from devices: in this file.")


class NetworkEntry(LinkFigures):
    """A rule: links between the hosts that match two selectors. Of two rules for one pair of hosts, the later one holds."""

    between: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Two selectors (layer, host or glob); the link works in both directions."
    )
    from_: Text | None = Field(default=None, alias="from", description="Selector of the sending hosts: one direction only.")
    to: Text | None = Field(default=None, description="Selector of the receiving hosts.")
    link: Kind | None = Field(
        default=None, description="Link from the catalogue, or from links: in this file; other keys override it."
    )


class ReadyEntry(Entry):
    """When a command counts as ready."""

    port: Port | None = Field(default=None, description="When it listens on this TCP port.")
    output: Text | None = Field(default=None, description="When a line of its output matches this regular expression.")
    file: Text | None = Field(default=None, description="When this file exists, relative to its working folder.")
    timeout: LongEnough = Field(default=30.0, description="How long it may take to get ready, such as 30s.")


class CostEntry(Entry):
    """Processor time of an operation on n items, on a core of speed 1.0: time + n × each, on the average."""

    time: Duration = Field(default=0.0, description="Time of each call, such as 2ms.")
    each: Duration = Field(default=0.0, description="Time per item, such as 50us.")
    distribution: Literal["fixed", "exponential", "lognormal", "pareto"] = Field(
        default="fixed", description="How it varies around its mean."
    )
    cv: Positive | None = Field(default=None, description="Lognormal: standard deviation over mean.")
    shape: Positive | None = Field(default=None, description="Pareto: shape, above 1.")


ShortCost = Annotated[CostEntry, BeforeValidator(_timed)]


class CallEntry(Entry):
    """Requests that a command sends to another service."""

    to: Name = Field(description="The service that answers.")
    size: Size = Field(description="Size of a request, such as 50kB.")
    rate: Frequency | None = Field(default=None, description="Requests per second, such as 10/s.")
    every: LongEnough | None = Field(default=None, description="Time from one request to the next, such as 100ms.")
    arrivals: Literal["fixed", "poisson"] = Field(default="fixed", description="Whether these times vary.")
    waits: bool = Field(default=True, description="Whether the next request waits for the answer; every: then counts from there.")
    count: Positive | None = Field(default=None, description="Within serves: calls per request, such as 1 or 0.2.")
    cost: ShortCost = Field(
        default=CostEntry(), description="Processor time spent on each request before it leaves; not within serves."
    )


class ServingEntry(Entry):
    """How a command answers requests."""

    cost: ShortCost = Field(default=CostEntry(), description="Processor time per request.")
    answer: Size = Field(description="Size of an answer, such as 2kB.")
    calls: list[CallEntry] = Field(default=[], description="What it asks of other services before it answers.")


class ModelEntry(Entry):
    """What a command does, for the simulator: what it answers, what it asks, and what that costs."""

    serves: ServingEntry | None = Field(default=None, description="How it answers requests.")
    calls: list[CallEntry] = Field(default=[], description="Requests that it sends of its own accord.")
    idle: Fraction = Field(default=0.0, description="Share of a core of speed 1.0 that it uses besides.")


class ShareEntry(Entry):
    """How much of its host's processor a service may use beside others."""

    most: Fraction = Field(default=1.0, description="Share of all cores of the host that each replica may use, such as 30%.")
    idle: bool = Field(default=False, description="Whether it computes only while other services of its host leave a core free.")
    latency_p99: LongEnough | None = Field(
        default=None, description="Compute when others leave a core free, and less while latency is above this, such as 20ms."
    )
    of: Name | None = Field(default=None, description="The service on the same host whose latency that is.")


class ServiceEntry(Entry):
    """What runs on hosts: a component or a command."""

    on: Annotated[list[Text], BeforeValidator(listed), Field(min_length=1)] = Field(
        description="Layer, host or glob, or a list of them."
    )
    component: Text | None = Field(default=None, description="Built-in component, or module:Class.")
    with_: dict[str, Any] = Field(default={}, alias="with", description="Settings of the component.")
    command: Annotated[Text | list[Scalar], Field()] | None = Field(
        default=None, description="Program with arguments; not a shell line."
    )
    replicas: Count | None = Field(
        default=None, description="Replicas in all, spread over the hosts; one on each host if not given."
    )
    cores: Count = Field(default=1, description="Cores of its host that it may use at once.")
    share: Annotated[ShareEntry, BeforeValidator(_shared)] = Field(
        default=ShareEntry(), description="Its part of the host's processor: 30%, idle, or {latency_p99: 20ms, of: detector}."
    )
    env: dict[str, Scalar] = Field(default={}, description="Environment variables.")
    ports: Annotated[list[Port], BeforeValidator(listed)] = Field(default=[], description="TCP ports that it listens on.")
    ready: ReadyEntry = Field(default=ReadyEntry(), description="When a command counts as ready.")
    restart: Literal["never", "on-failure", "always"] = Field(
        default="never", description="Whether to start it again when it ends."
    )
    max_restarts: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = Field(default=5, description="How often at most.")
    costs: dict[Text, ShortCost] = Field(
        default={}, description="Simulated: processor time of a component's operations, by name, such as {predict: 2ms}."
    )
    model: ModelEntry | None = Field(default=None, description="Simulated: what a command does.")


class StreamEntry(Entry):
    """A connection from an output to inputs."""

    from_: PortName = Field(alias="from", description="An output, written service.port.")
    to: Annotated[list[PortName], BeforeValidator(listed), Field(min_length=1)] = Field(
        description="An input (service.port), or a list."
    )
    delivery: Literal["acknowledged", "latest"] = Field(
        default="acknowledged", description="acknowledged: nothing lost, in order. latest: the newest wins."
    )
    routing: Literal["paired", "all", "rotate"] | None = Field(
        default=None,
        description="To which replicas; all if delivery is latest, else paired (the one on the same host, else by index).",
    )
    capacity: Count = Field(default=1024, description="Unprocessed messages of an acknowledged stream when it is full.")
    when_full: Literal["block", "drop-newest", "drop-oldest"] = Field(
        default="block",
        description="A message that finds the stream full, or comes faster than rate: the sender waits; or it is left out; or it "
        "waits at the sender in place of the oldest that waits there.",
    )
    rate: Frequency | None = Field(default=None, description="Messages per second that pass at the most, such as 20/s.")
    sample: Fraction = Field(default=1.0, description="Share of messages that is sent, drawn at random, such as 10%.")


class MeasureEntry(Entry):
    """How long to run."""

    warmup: Duration = Field(default=0.0, description="Time before measuring begins, such as 2s.")
    duration: LongEnough = Field(default=30.0, description="Time measured, such as 20s; with until: at most that long.")
    until: Text | None = Field(default=None, description="Stop when a metric reaches a value, such as accuracy >= 0.9.")


class ChanceEntry(Entry):
    """Moments at random."""

    times: Count = Field(default=1, description="How often it happens.")
    within: Annotated[list[Duration], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="From and until when, from the beginning of the measurement, such as [2s, 18s]; if not given, all.",
    )


Ends = Annotated[list[Text], Field(min_length=2, max_length=2)]
Sides = Annotated[list[Annotated[list[Text], BeforeValidator(listed), Field(min_length=1)]], Field(min_length=2, max_length=2)]
Targets = Annotated[list[Text], BeforeValidator(listed), Field(min_length=1)]


class FaultEntry(Entry):
    """Something that breaks: what and where (one of the kinds), when (at, when or random), and for how long."""

    cut: Ends | None = Field(default=None, description="Links between two selectors carry nothing.")
    degrade: Ends | None = Field(default=None, description="Links between two selectors have another delay, jitter, rate or loss.")
    flap: Ends | None = Field(default=None, description="Links between two selectors go down and up again, over and over.")
    partition: Sides | None = Field(default=None, description="No host of one side reaches one of the other.")
    crash: Targets | None = Field(default=None, description="Hosts that die at once, with all that runs on them.")
    reboot: Targets | None = Field(default=None, description="Hosts that end their services in order, and come up again.")
    slow: Targets | None = Field(default=None, description="Hosts whose processor loses speed.")
    clock_skew: Targets | None = Field(default=None, alias="clock-skew", description="Hosts whose clock goes ahead by offset.")
    disk_full: Targets | None = Field(default=None, alias="disk-full", description="Hosts on which nothing more can be written.")
    memory_pressure: Targets | None = Field(default=None, alias="memory-pressure", description="Hosts of which memory is taken.")
    kill: Targets | None = Field(default=None, description="Services or replicas that are killed.")
    hang: Targets | None = Field(default=None, description="Services or replicas that stand still.")
    corrupt: Targets | None = Field(default=None, description="Outputs (service.port) of whose messages a share is damaged.")
    burst: Targets | None = Field(default=None, description="Sources that send more by a factor.")
    drift: Targets | None = Field(default=None, description="Sources whose data change.")
    at: Annotated[list[Duration], BeforeValidator(listed), Field(min_length=1)] | None = Field(
        default=None, description="When, from the beginning of the measurement: 5s, or [5s, 12s]."
    )
    when: Text | None = Field(default=None, description="Once a metric reaches a value, such as accuracy >= 0.9.")
    random: ChanceEntry | None = Field(default=None, description="At random: {times: 3, within: [2s, 18s]}.")
    for_: Annotated[Duration | None, BeforeValidator(_lasting)] = Field(
        default=None, alias="for", description="How long; 0s or none: it does not happen; not given: to the end."
    )
    one_way: bool = Field(default=False, alias="one-way", description="Of a link: only from the first to the second.")
    delay: Duration | None = Field(default=None, description="Of a degraded link: its delay meanwhile.")
    jitter: Duration | None = Field(default=None, description="Of a degraded link: its jitter meanwhile.")
    rate: Rate | None = Field(default=None, description="Of a degraded link: its rate meanwhile.")
    loss: Fraction | None = Field(default=None, description="Of a degraded link: its loss meanwhile.")
    period: LongEnough | None = Field(
        default=None, description="Of a flapping link: from one time down to the next; 1s if not given."
    )
    share: Fraction | None = Field(
        default=None, description="Of a flapping link: part of the period that it is down; of messages: part that is damaged."
    )
    speed: Annotated[float, Quantity("fraction", positive=True)] | None = Field(
        default=None, description="Of a slow host: part of its speed that is left."
    )
    offset: LongEnough | None = Field(default=None, description="Of a skewed clock: by how much it goes ahead.")
    memory: Annotated[float, Quantity("size", positive=True)] | None = Field(
        default=None, description="Of memory pressure: how much is taken."
    )
    factor: Positive | None = Field(default=None, description="Of a burst: how many times as much is sent.")
    amount: Positive | None = Field(
        default=None, description="Of a drift: standard deviations of a shift, quarter turns of a rotation, share of a swap."
    )
    change: Literal["shift", "rotate", "swap"] | None = Field(
        default=None, description="Of a drift: rows are shifted (if not given) or rotated, or classes swap their labels."
    )


class FactorEntry(Entry):
    """A factor with a range, a default of its own, or a condition."""

    from_: StrictInt | float | str | None = Field(default=None, alias="from", description="Least level of a range: 1, 0.1s.")
    to: StrictInt | float | str | None = Field(default=None, description="Greatest level of a range.")
    scale: Literal["linear", "log"] = Field(default="linear", description="Whether equal differences or equal ratios count alike.")
    step: StrictInt | float | str | None = Field(default=None, description="Distance between neighbours in a range.")
    levels: Annotated[list[Any], Field(min_length=1)] | Annotated[StrictInt, Field(ge=2)] | None = Field(
        default=None, description="The levels; or of a range, how many of them designs with few levels take."
    )
    default: Any = Field(default=None, description="Level where nothing else is said, if not the first, or the least of a range.")
    when: dict[str, Any] = Field(
        default={}, description="Levels of other factors at which it counts; elsewhere it is at its default."
    )


class ExperimentFile(Entry):
    """An experiment: an AI workflow, the hosts that it runs on, and the network between them."""

    experiment: Annotated[str, StringConstraints(pattern=EXPERIMENT, max_length=80)] = Field(
        description="Name of the experiment; it also names the folder of its runs."
    )
    title: str = Field(default="", description="One line for people.")
    description: str = Field(default="", description="What is asked, and why.")
    folder: Text = Field(default=".", description="Where paths and modules start, from this file; files written by Estran have it.")
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = Field(default=0, description="Every random choice follows from it.")
    devices: dict[Kind, DeviceEntry] = Field(default={}, description="Devices of your own, beside the catalogue.")
    links: dict[Kind, LinkEntry] = Field(default={}, description="Links of your own, beside the catalogue.")
    layers: Annotated[dict[Name, LayerEntry], Field(min_length=1)] = Field(description="Groups of like hosts.")
    network: list[NetworkEntry] = Field(default=[], description="Links between hosts; hosts that no rule covers are not slowed.")
    services: Annotated[dict[Name, ServiceEntry], Field(min_length=1)] = Field(description="What runs, and where.")
    streams: list[StreamEntry] = Field(default=[], description="Which output feeds which inputs.")
    faults: dict[Name, FaultEntry] = Field(default={}, description="What breaks, when and for how long.")
    factors: dict[str, Annotated[list[Any], Field(min_length=1)] | FactorEntry] = Field(
        default={},
        description="What a study varies: a list of levels each, the first being the default, or a range; used as ${name}.",
    )
    assignment: dict[str, Any] = Field(
        default={}, description="Level in force for each factor, if not its default; resolved files have it."
    )
    measure: MeasureEntry = Field(default=MeasureEntry(), description="How long to run.")
    claims: list[Text] = Field(
        default=[],
        description="What runs show, checked after each and when it is reproduced, such as latency_p99 <= 120ms ± 10%.",
    )
