"""The calibration file: what runs at a higher fidelity taught about costs, for the simulator. Plain JSON, versioned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from estran.errors import RequestError
from estran.spec.costs import FREE, Amount, CommandModel, Cost, Spread

SCHEMA: Final = 1
TOGETHER: Final = 1e-3
"""Seconds: messages of a replica that are no further apart than this come together."""
FILE_NAME: Final = "calibration.json"


@dataclass(frozen=True, slots=True)
class OperationFit:
    """One operation of one component on one device.

    Attributes
    ----------
    cost
        Fitted processor time, on a core of speed 1.0.
    first
        That of a replica's first call, when caches are cold and code is loaded.
    observed
        What the fit rests on, per batch size: ``{size: {n, cpu_mean, wall_mean, cpu: [quantiles], wall: [quantiles]}}``, seconds as
        measured on the device, quantiles at 0, 5, …, 100 %.
    """

    service: str
    component: str
    operation: str
    device: str
    n: int
    cost: Cost
    observed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first: Cost = FREE


@dataclass(frozen=True, slots=True)
class Handling:
    """What happens around a service's messages besides its operations, in seconds.

    Attributes
    ----------
    wake
        From arrival at an idle replica to being taken up.
    take
        Between being taken up and being done, beside operations: per batch (``time``) and per message (``each``).
    receive_cpu, send_cpu
        Processor seconds at speed 1.0, all threads of the replica together, beside operations and ``take``: once for messages that
        come together (`TOGETHER`), which wake it up once, and for each of them; acknowledgements of what was sent wake it up, too.
    idle_cpu
        Processor seconds at speed 1.0 per second, whatever comes.
    late
        How late a timer of this service fires.
    begin
        How much later than it is due the first message of a source leaves.
    """

    service: str
    device: str
    wake: Cost = FREE
    take: Cost = FREE
    receive_cpu: Cost = FREE
    send_cpu: Cost = FREE
    idle_cpu: float = 0.0
    late: Cost = FREE
    begin: Cost = FREE


@dataclass(frozen=True, slots=True)
class StreamFit:
    """What a stream's messages take beside the link's own delay and rate, and how large they are.

    Attributes
    ----------
    way
        Devices at both ends (``raspberry-pi-4 → cloud-vm-2``), or the one within which they stay (``raspberry-pi-4``).
    """

    stream: str
    consumer: str
    delivery: Literal["latest", "acknowledged"]
    n: int
    extra: Cost
    size: Amount
    way: str = ""


@dataclass(frozen=True, slots=True)
class LinkFit:
    """One direction of one link: asked and measured figures (``delay``, ``jitter``, ``rate``, ``loss``), in SI units."""

    source: str
    target: str
    asked: Mapping[str, float | None]
    measured: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything that was learned from some runs.

    Attributes
    ----------
    runs
        Folder, experiment, platform, seed and assignment of each run that it was made from; ``setting`` is a digest of its
        resolved description without seed and duration, by which a validation tells whether its setting was held out.
    processor
        How devices were slowed down there: ``quota`` (a share of each enforcement period) or ``native``.
    commands
        Models of command services, by service.
    warnings
        What its user should know of it: too few observations, costs that could not be told apart.
    """

    runs: tuple[Mapping[str, Any], ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    processor: Literal["quota", "native"] = "quota"
    operations: tuple[OperationFit, ...] = ()
    handling: tuple[Handling, ...] = ()
    streams: tuple[StreamFit, ...] = ()
    links: tuple[LinkFit, ...] = ()
    commands: Mapping[str, CommandModel] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    schema: int = SCHEMA

    def save(self, path: Path) -> None:
        """Write it as JSON in one step."""
        part = path.with_name(path.name + ".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        part.replace(path)


def way(source: str, target: str, *, within: bool) -> str:
    """How the way of a stream's messages is called, by the devices at its ends."""
    return target if within else f"{source} → {target}"


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises
    ------
    RequestError
        If it is not there, damaged, of another version, or says what cannot be: costs below 0, spreads without a mean.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except OSError as error:
        remedy = "`estran calibrate RUN…` makes one from emulated or deployed runs"
        raise RequestError(f"cannot be read: {error.strerror}", where=str(path), remedy=remedy) from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        remedy = "make it anew with `estran calibrate RUN…`"
        raise RequestError(f"is no calibration file: {error}", where=str(path), remedy=remedy) from error
    if found.schema != SCHEMA:
        raise RequestError(f"has schema {found.schema}, and {SCHEMA} is understood", where=str(path), remedy="calibrate anew")
    parts: dict[str, tuple[object, ...]] = {"operations": found.operations, "handling": found.handling, "streams": found.streams}
    parts |= {f"commands.{service}": (model,) for service, model in found.commands.items()}
    for wrong in (wrong for place, part in parts.items() for wrong in _impossible(place, part)):
        raise RequestError(wrong, where=str(path), remedy="make it anew with `estran calibrate RUN…`")
    return found


def _impossible(place: str, value: object) -> Iterator[str]:
    """What cannot be within a part of a calibration, in words."""
    if isinstance(value, Spread):
        yield from _impossible_spread(place, value)
    elif isinstance(value, tuple):
        for index, one in enumerate(value):
            yield from _impossible(f"{place}[{index}]", one)
    elif is_dataclass(value):
        for own in fields(value):
            yield from _impossible(f"{place}.{own.name}", getattr(value, own.name))
    elif isinstance(value, int | float) and value < 0:
        yield f"{place} is {value:g}: it cannot be negative"


def _impossible_spread(place: str, spread: Spread) -> Iterator[str]:
    if spread.kind == "pareto" and spread.parameter <= 1:
        yield f"{place} is a Pareto distribution of shape {spread.parameter:g}, which has no mean"
    elif spread.kind == "observed" and len(spread.quantiles) < 2:
        yield f"{place} has {len(spread.quantiles)} quantiles: at least 2 are needed"
    elif list(spread.quantiles) != sorted(spread.quantiles):
        yield f"{place} has quantiles that are not in order"
    else:
        yield from _impossible(f"{place}.quantiles", spread.quantiles)
        yield from _impossible(f"{place}.parameter", spread.parameter)
