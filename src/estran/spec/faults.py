"""Faults as part of an experiment: what breaks, where, when and for how long; and one run's schedule of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

LinkKind = Literal["cut", "degrade", "flap", "partition"]
HostKind = Literal["crash", "reboot", "slow", "clock-skew", "disk-full", "memory-pressure"]
ServiceKind = Literal["kill", "hang"]
DataKind = Literal["corrupt", "burst", "drift"]
FaultKind = LinkKind | HostKind | ServiceKind | DataKind

LINK_KINDS: Final[tuple[FaultKind, ...]] = ("cut", "degrade", "flap", "partition")
HOST_KINDS: Final[tuple[FaultKind, ...]] = ("crash", "reboot", "slow", "clock-skew", "disk-full", "memory-pressure")
SERVICE_KINDS: Final[tuple[FaultKind, ...]] = ("kill", "hang")
DATA_KINDS: Final[tuple[FaultKind, ...]] = ("corrupt", "burst", "drift")
KINDS: Final[tuple[FaultKind, ...]] = (*LINK_KINDS, *HOST_KINDS, *SERVICE_KINDS, *DATA_KINDS)

TOLD: Final[tuple[FaultKind, ...]] = (*DATA_KINDS, "clock-skew")
"""Kinds that replicas of components are told of and bring about themselves, the same on every platform."""

DOWN: Final[tuple[FaultKind, ...]] = ("crash", "reboot", "kill", "hang")
"""Kinds that take replicas out of service."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A relation between a live metric and a number: ``accuracy >= 0.9``."""

    metric: str
    relation: Literal[">=", "<=", "==", ">", "<"]
    value: float


@dataclass(frozen=True, slots=True)
class Chance:
    """Moments drawn uniformly from a part of the measurement, from the run's seed and the fault's name, so that none overlap.

    Attributes
    ----------
    times
        How many.
    within
        From and until when, seconds of the measurement; None for all of it.
    """

    times: int
    within: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What breaks.

    Attributes
    ----------
    on
        What it befalls: host selectors of a host's fault, or of one end of a link's; services or replicas (``detector``,
        ``detector-0``) of a service's; outputs (``camera.samples``) of corruption; source services of other data's.
    beyond
        Host selectors of the other end of the link, or of the other side of the partition.
    one_way
        Whether only the direction from ``on`` to ``beyond`` is meant.
    at, when, chance
        Exactly one: moments, in seconds of the measurement; or once a condition holds (once in a run); or at random.
    duration
        Seconds until it is healed; None for never; 0 for a fault that does not happen, so that this may be a factor's level.
    settings
        What else its kind has, in SI units: the ``delay``, ``jitter``, ``rate``, ``loss`` of a degraded link, in place of the
        link's own; ``period`` and ``share`` (of it that the link is down) of a flapping one; ``speed`` of a slow host, relative
        to its own; ``offset`` of a skewed clock; ``memory`` taken; ``share`` of messages corrupted; ``factor`` of a burst;
        ``amount`` and ``change`` of a drift.
    place
        Where it stands: file, line and column.
    """

    name: str
    kind: FaultKind
    on: tuple[str, ...]
    beyond: tuple[str, ...] = ()
    one_way: bool = False
    at: tuple[float, ...] = ()
    when: Condition | None = None
    chance: Chance | None = None
    duration: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = field(default=None, compare=False)

    @property
    def happens(self) -> bool:
        """Whether it takes any time."""
        return self.duration != 0


@dataclass(frozen=True, slots=True)
class Injection:
    """One happening of a fault in one run, every selector resolved.

    Attributes
    ----------
    key
        Unique in the run: ``wan-cut/0``.
    at
        Seconds of the measurement; None while its condition has not held.
    when
        Its condition.
    links
        Directions between hosts that it befalls, both of a symmetric one.
    hosts, replicas, outputs
        Hosts, replicas (also those that go down with their host, or may), and outputs (``camera-0.samples``) that it befalls.
    """

    key: str
    fault: str
    kind: FaultKind
    at: float | None
    duration: float | None
    when: Condition | None = None
    links: tuple[tuple[str, str], ...] = ()
    hosts: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def targets(self) -> frozenset[tuple[str, str]]:
        """What it takes for itself: two injections with a common target never are on at once."""
        if self.kind in LINK_KINDS:
            return frozenset(self.links)
        if self.kind in DOWN:  # of a host without services, the host itself
            return frozenset(("down", name) for name in self.replicas + self.hosts)
        return frozenset((self.kind, name) for name in self.hosts or self.outputs or self.replicas)
