"""Measuring what CPU share a host really gets, with a process that wants all of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from estran.platforms.base import CpuMeasure
from estran.platforms.emulated.limits.limiter import HostGroup, ServiceGroup, Usage, quota_and_period

TOLERANCE: Final = 0.10
SETTLE: Final = 0.06
POLL: Final = 0.0005

# It asks after its parent now and then, so that a killed owner leaves no burner.
_BURN: Final = 'while kill -0 "$PPID" 2>/dev/null; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done'


@contextmanager
def burner() -> Iterator[int]:
    """A process that computes for as long as it may, as a pid; it is gone on exit."""
    process = subprocess.Popen(["/bin/sh", "-c", _BURN], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def measure_share(host: HostGroup, seconds: float = 0.4) -> float:
    """Local cores that a greedy throw-away service of the host obtains.

    The window is stretched to at least sixteen enforcement periods: 0.8 s for a share of 0.02.
    """
    return _measure([Probe(host, host.cpu, -int(-host.cpu // 1))], seconds)[0].measured


def verify_shares(hosts: Sequence[tuple[HostGroup, float]], seconds: float = 0.4) -> list[CpuMeasure]:
    """Measure what a single thread obtains on hosts whose cores are to be of a speed, and judge each (see `judge`).

    As many hosts are measured side by side as the machine can feed. Blocks for about ``seconds`` a batch.

    Parameters
    ----------
    hosts
        Each with the speed of one of its cores, in local cores.
    """
    probes = [Probe(host, min(speed, 1.0, host.cpu), 1) for host, speed in hosts]
    return [measure for batch in batches(probes, 0.8 * len(os.sched_getaffinity(0))) for measure in _measure(batch, seconds)]


@dataclass(frozen=True, slots=True)
class Probe:
    """A measurement to be made: the share of local cores that a number of greedy processes should get on a host."""

    host: HostGroup
    share: float
    processes: int


def batches(probes: Sequence[Probe], cores: float) -> list[list[Probe]]:
    """Group probes, in order, so that each group wants at most ``cores`` together (or is a single one)."""
    groups: list[list[Probe]] = []
    room = 0.0
    for probe in probes:
        if not groups or probe.share > room + 1e-9:
            groups.append([])
            room = cores
        groups[-1].append(probe)
        room -= probe.share
    return groups


def _measure(probes: Sequence[Probe], seconds: float) -> list[CpuMeasure]:
    with ExitStack() as stack:
        meters = [stack.enter_context(_meter(probe, seconds)) for probe in probes]
        busy = meters
        while busy:
            time.sleep(POLL)
            busy = [meter for meter in busy if not meter.look(time.monotonic())]
        return [judge(meter.probe, meter.share(), meter.capped(), meter.resolution) for meter in meters]


@contextmanager
def _meter(probe: Probe, seconds: float) -> Iterator[_Meter]:
    group = probe.host.service("share-probe", probe.share)
    try:
        with ExitStack() as stack:
            pids = [stack.enter_context(burner()) for _ in range(probe.processes)]
            for pid in pids:
                group.attach(pid)
            yield _Meter(probe, group, pids, seconds)
    finally:
        group.remove()


class _Meter:
    """Reads the clocks of a host's burners from the start of one slice to the start of another.

    A slow device computes in slices of up to a scheduler tick (4 ms) with long pauses; a window cut at any time would hold
    a slice more or less, which is a quarter of all at a share of 0.02 and 0.8 s.
    """

    def __init__(self, probe: Probe, group: ServiceGroup, pids: Sequence[int], seconds: float) -> None:
        self.probe = probe
        self._group = group
        self._pids = pids
        now = time.monotonic()
        _, period = quota_and_period(probe.share)
        self._settled = now + SETTLE
        self._seconds = max(seconds, 16e-6 * period)
        self._end = 0.0
        self.resolution = 1e-6 * period / self._seconds
        self._before: Usage | None = None
        self._previous = (now, self._clock())
        self._ran = now
        self._pause = 0.5e-6 * period
        self._window: list[tuple[float, float]] = []
        self._slices: list[tuple[float, float]] = []

    def _clock(self) -> float:
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._pids)

    def look(self, now: float) -> bool:
        """Take a reading; True when the measurement is over."""
        if now < self._settled:
            return False
        if self._window and self._window[-1][0] >= self._end:
            return True
        reading = (now, self._clock())
        if self._before is None:
            self._before = self._group.usage()
            self._end = now + self._seconds  # from the first look on, which comes late on a starved machine
        if reading[1] > self._previous[1]:
            if now - self._ran > self._pause:  # shorter ones are other load's doing
                self._slices = [*self._slices[:1], self._previous]
            self._ran = now
        self._previous = reading
        self._window = [*self._window[:1], reading]
        return False

    def share(self) -> float:
        """Cores obtained."""
        sliced = len(self._slices) == 2 and self._slices[1][0] - self._slices[0][0] > 0.6 * self._seconds
        (start, first), (end, last) = self._slices if sliced else self._window
        return (last - first) / (end - start)

    def capped(self) -> bool:
        """Whether the cap held the burners back whenever they could have run."""
        before, after = self._before or Usage(), self._group.usage()
        periods = after.periods - before.periods
        return periods > 0 and after.held - before.held >= 0.9 * periods


def judge(probe: Probe, measured: float, capped: bool, resolution: float = 0.0) -> CpuMeasure:
    """Compare with what was asked; tell too loose a cap, too tight a cap and a starved host apart.

    The tolerance is 10 % and what the measurement itself cannot tell apart (``resolution``: one enforcement period).
    Where the processes could not use more than their share anyway there is no cap that could be wrong: then they are said
    to be starved where they are, but pass.
    """
    cause = None
    tolerance = TOLERANCE + resolution
    if measured > probe.share * (1 + tolerance):
        cause = "not throttled enough"
    elif measured < probe.share * (1 - tolerance):
        cause = "throttled too much" if capped else f"starved by other load on this machine (load {os.getloadavg()[0]:.1f})"
    complaint = cause and f"{cause}: got {measured:.3g} local cores where {probe.share:.3g} were to be had"
    return CpuMeasure(probe.host.name, probe.share, measured, cause is None or probe.share >= probe.processes, complaint)
