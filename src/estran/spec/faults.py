"""Faults as part of an experiment: what breaks, where, when and for how long; and one run's schedule of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LinkKind = Literal["cut", "degrade", "flap", "partition"]
HostKind = Literal["crash", "reboot", "slow", "clock-skew", "disk-full", "memory-pressure"]
ServiceKind = Literal["kill", "hang"]
DataKind = Literal["corrupt", "burst", "drift"]
FaultKind = LinkKind | HostKind | ServiceKind | DataKind


@dataclass(frozen=True, slots=True)
class Condition:
    """A relation between a live metric and a number: ``accuracy >= 0.9``."""

    metric: str
    relation: Literal[">=", "<=", "==", ">", "<"]
    value: float


@dataclass(frozen=True, slots=True)
class Chance:
    """Moments drawn uniformly from a part of the measurement, from the run's seed and the fault's name.

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
        What it befalls: host selectors of a host's fault, or of one end of a link's; services (``detector``, ``detector-0``) of a
        service's; a stream's source port (``camera.samples``) or a source service of data's.
    beyond
        Host selectors of the other end of the link, or of the other side of the partition.
    at, when, chance
        Exactly one: moments, in seconds of the measurement; or once a condition holds (once in a run); or at random.
    duration
        Seconds until it is healed; None for never.
    settings
        What else its kind has, in SI units: the ``delay``, ``jitter``, ``rate``, ``loss`` of a degraded link; ``period`` and
        ``share`` of a flapping one; ``speed`` of a slow host; ``offset`` of a skewed clock; ``memory`` taken; ``share`` of messages
        corrupted; ``factor`` of a burst; ``amount`` of a drift.
    """

    name: str
    kind: FaultKind
    on: tuple[str, ...]
    beyond: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    when: Condition | None = None
    chance: Chance | None = None
    duration: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Injection:
    """One happening of a fault in one run, every selector resolved.

    Attributes
    ----------
    key
        Unique in the run: ``wan-cut/0``.
    at
        Seconds of the measurement; None while its condition has not held.
    links
        Directions between hosts that it befalls, both of a symmetric one.
    hosts, replicas, outputs
        Hosts, replicas, and outputs (``camera-0.samples``) that it befalls.
    """

    key: str
    fault: str
    kind: FaultKind
    at: float | None
    duration: float | None
    links: tuple[tuple[str, str], ...] = ()
    hosts: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
