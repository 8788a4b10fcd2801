"""Samples one host's processor time, memory, network, disk and energy, ten times a second, inside the host's agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from estran.errors import EstranError
from estran.observe.counters import CgroupCounters, NetworkCounters, ProcessCounters, Source
from estran.observe.energy import Meter, ModelMeter, PowerModel, RaplMeter, rapl_zones
from estran.runtime.clock import Clock
from estran.runtime.rows import EventRow, MetricRow

Emit: TypeAlias = Callable[[str, Sequence[tuple[Any, ...]]], None]
"""Takes a table's name and its new rows."""


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """What to sample, as plain data.

    Attributes
    ----------
    host
        Name under which the samples are recorded.
    period
        Seconds from one sample to the next.
    cgroups
        Folders of the host's control groups (v2: one; v1: cpuacct, memory, blkio). Without any, processes are summed.
    pids
        Processes to sum where there are no control groups; none means all descendants of the sampling process.
    network
        Whether to count the bytes of this network namespace.
    power
        The device's power model, or None for no energy by model.
    rapl
        Whether to prefer the machine's own energy counters where they can be read (they see everything that the machine does).
    """

    host: str
    period: float = 0.1
    cgroups: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    network: bool = True
    power: PowerModel | None = None
    rapl: bool = False


class Trace:
    """Turns samples into rows without loss: a value that does not change is recorded when it begins and when it ends.

    Parameters
    ----------
    replica
        Whose samples they are; empty for those of the whole host.
    """

    def __init__(self, host: str, replica: str = "") -> None:
        self._host = host
        self._replica = replica
        self._held: dict[str, tuple[float, float, bool]] = {}

    def rows(self, time: float, values: Sequence[tuple[str, float]]) -> list[MetricRow]:
        """Rows that the samples of one instant call for."""
        rows = []
        for metric, value in values:
            held = self._held.get(metric)
            if held is not None and held[1] == value:
                self._held[metric] = (time, value, False)
                continue
            if held is not None and not held[2]:
                rows.append(MetricRow(held[0], self._host, self._replica, metric, held[1]))
            rows.append(MetricRow(time, self._host, self._replica, metric, value))
            self._held[metric] = (time, value, True)
        return rows

    def last(self) -> list[MetricRow]:
        """The end of every value that is still unchanged."""
        return [
            MetricRow(time, self._host, self._replica, metric, value)
            for metric, (time, value, told) in self._held.items()
            if not told
        ]


async def run(emit: Emit, clock: Clock, settings: Mapping[str, Any]) -> None:
    """`sample` with its settings as plain data: what an agent starts by name."""
    await sample(emit, clock, msgspec.convert(dict(settings), SamplerSettings))


async def run_modelled(
    emit: Emit, clock: Clock, settings: Mapping[str, Any], read_counters: Callable[[], Iterator[tuple[str, float]]]
) -> None:
    """Sample a simulated host, whose counters are read by a call, until cancelled."""
    await _sampled(emit, clock, msgspec.convert(dict(settings), SamplerSettings), [_Modelled(read_counters)])


class _Modelled:
    """Counters that a model keeps."""

    def __init__(self, read_counters: Callable[[], Iterator[tuple[str, float]]]) -> None:
        self.read = read_counters

    def close(self) -> None:
        """Nothing to close."""


async def sample(emit: Emit, clock: Clock, settings: SamplerSettings) -> None:
    """Sample a host until cancelled, on an absolute schedule; instants that were missed are skipped, not made up.

    Parameters
    ----------
    emit
        Takes ``("metrics", rows)`` after each sample, and once ``("events", rows)`` with the source of the energy figures.

    Raises
    ------
    EstranError
        If a counter cannot be opened, or vanishes while it is sampled.
    """
    with ExitStack() as stack:
        try:
            sources = [stack.enter_context(closing(source)) for source in _sources(settings)]
        except OSError as error:
            raise _unreadable(settings, error) from error
        await _sampled(emit, clock, settings, sources)


async def _sampled(emit: Emit, clock: Clock, settings: SamplerSettings, sources: Sequence[Source]) -> None:
    with ExitStack() as stack:
        try:
            meter = _meter(settings)
        except OSError as error:
            raise _unreadable(settings, error) from error
        if meter is not None:
            stack.enter_context(closing(meter))
            emit("events", [EventRow(clock.now(), settings.host, "", "energy-source", meter.label)])
        trace = Trace(settings.host)
        try:
            await _loop(emit, clock, settings, sources, meter, trace)
        finally:
            emit("metrics", trace.last())


async def _loop(
    emit: Emit, clock: Clock, settings: SamplerSettings, sources: Sequence[Source], meter: Meter | None, trace: Trace
) -> None:
    due = clock.now()
    while True:
        now = clock.now()
        try:
            values = read(now, sources, meter)
        except OSError as error:
            raise _unreadable(settings, error) from error
        emit("metrics", trace.rows(now, values))
        due += settings.period * max(1, 1 + int((clock.now() - due) / settings.period))
        await clock.sleep(due - clock.now())


def read(now: float, sources: Sequence[Source], meter: Meter | None) -> list[tuple[str, float]]:
    """Read all sources, and the meter, once."""
    values = [value for source in sources for value in source.read()]
    if meter is not None:
        cpu = next((value for metric, value in values if metric == "cpu_seconds"), 0.0)
        watts, joules = meter.read(now, cpu)
        values += [("power", watts), ("energy", joules)]
    return values


def _sources(settings: SamplerSettings) -> list[Source]:
    first: Source = CgroupCounters(settings.cgroups) if settings.cgroups else ProcessCounters(settings.pids)
    return [first, NetworkCounters()] if settings.network else [first]


def _meter(settings: SamplerSettings) -> Meter | None:
    zones = rapl_zones() if settings.rapl else []
    if zones:
        return RaplMeter(zones)
    return None if settings.power is None else ModelMeter(settings.power)


def _unreadable(settings: SamplerSettings, error: OSError) -> EstranError:
    return EstranError(
        f"cannot sample the host: {error}", where=settings.host, remedy="see `estran doctor` for what can be measured here"
    )
