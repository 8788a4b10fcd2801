"""What an envoy tells the controller, as types: a host that says something else is named, and not met with a traceback."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+(\.|$)")]


class Facts(TypedDict):
    """See `estran.platforms.remote.envoy_facts.facts`."""

    python: Version
    bytecode: str
    executable: str
    uid: int
    home: str
    user: str
    hostname: str
    system: str
    kernel: str
    machine: str
    cores: int | None
    memory: int
    libc: str
    scratch: str
    pid: int
    ssh: Annotated[str, Meta(pattern=r"^(\S+ \d+ \S+ \d+)?$")] | None
    cache: str
    pythons: dict[str, Version]
    tools: dict[str, str | None]
    mark: str


class Ended(TypedDict):
    """How a command ended, and how much it printed to its standard output and error."""

    returncode: int
    sizes: tuple[Count, Count]


class Sent(TypedDict):
    """A file that came piece by piece."""

    sha256: str
    mode: Annotated[int, Meta(ge=0, le=0o777)]


class Packed(TypedDict):
    """How many files an archive holds that comes with the answer."""

    files: Count


class Clocks(TypedDict):
    """A host's clocks."""

    monotonic_ns: int


class Way(Struct, frozen=True):
    """How packets leave for a target, or why they do not; see `estran.platforms.remote.links.envoy_queues.look`."""

    error: str | None = None
    index: int = 0
    interface: str = ""
    local: bool = True
    kind: str = "noqueue"
    handle: Count = 0
    signature: tuple[int, int] = (0, 0)


class Refusal(Struct, frozen=True):
    """What a kernel refused, and why; without a purpose if nothing was."""

    purpose: str = ""
    error: str = ""
    errno: int = 0


class Volley(TypedDict):
    """What was sent to one target, by phase, and when (ns), how large and how many at once."""

    sent: tuple[Count, Count, Count]
    departures: list[tuple[int, Count, Count]]


class Hearing(TypedDict):
    """What arrived at one port."""

    received: tuple[Count, Count, Count]
    delays: list[int]
    arrivals: list[tuple[int, Count]]


class Fired(TypedDict):
    """What became of probes; see `estran.platforms.remote.links.envoy_probes.fire`."""

    sent: list[Volley]
    heard: dict[str, Hearing]
