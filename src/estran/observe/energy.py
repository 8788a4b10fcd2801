"""Energy of a host, always with its source: a meter of the whole machine (RAPL), or the device's power model.

The model is the usual linear one: idle power plus utilisation times what full load adds (Fan, Weber & Barroso, ISCA 2007),
integrated over the sampled processor time, so no short peak is missed between two samples.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

RAPL_ROOT: Final = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class PowerModel:
    """What a device draws, as plain data.

    Attributes
    ----------
    device
        Name in the catalogue.
    idle, busy
        Watts when idle, and with all cores busy.
    capacity
        What "all cores busy" is on the machine that really runs it: processor seconds per second (an emulated device's share).
    """

    device: str
    idle: float
    busy: float
    capacity: float

    @property
    def label(self) -> str:
        """Where the figures come from."""
        return f"model: {self.device}, {self.idle:g} W idle to {self.busy:g} W busy"

    def watts(self, utilisation: float) -> float:
        """Power at a share of full load; beyond 0 and 1 it is that of 0 and 1."""
        return self.idle + (self.busy - self.idle) * min(max(utilisation, 0.0), 1.0)


class Meter(Protocol):
    """Turns samples into power (watts, mean since the last sample) and energy (joules since the first one)."""

    label: str

    def read(self, time: float, cpu_seconds: float) -> tuple[float, float]:
        """Power and energy at a time of the run's clock, given the host's cumulative processor seconds."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...


class ModelMeter:
    """A `Meter` that follows a device's power model."""

    def __init__(self, model: PowerModel) -> None:
        self.label = model.label
        self._model = model
        self._last: tuple[float, float] | None = None
        self._joules = 0.0

    def read(self, time: float, cpu_seconds: float) -> tuple[float, float]:
        """Power and energy of the model; the first sample starts the count."""
        if self._last is None:
            self._last = (time, cpu_seconds)
            return self._model.watts(0.0), 0.0
        elapsed = time - self._last[0]
        utilisation = (cpu_seconds - self._last[1]) / (elapsed * self._model.capacity) if elapsed > 0 else 0.0
        watts = self._model.watts(utilisation)
        self._joules += watts * max(elapsed, 0.0)
        self._last = (time, cpu_seconds)
        return watts, self._joules

    def close(self) -> None:
        """Nothing to close."""


class RaplMeter:
    """A `Meter` on the processor packages' own counters. It sees the *whole machine*, other work included.

    Parameters
    ----------
    zones
        Folders of the packages (``intel-rapl:0`` …), each with ``energy_uj`` and ``max_energy_range_uj``.

    Raises
    ------
    OSError
        If a counter cannot be read (it is root's on most systems).
    """

    def __init__(self, zones: Sequence[Path]) -> None:
        self.label = f"rapl: {len(zones)} processor package(s) of the whole machine"
        self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
        with ExitStack() as opened:
            self._fds: list[int] = []
            for zone in zones:
                self._fds.append(os.open(zone / "energy_uj", os.O_RDONLY))
                opened.callback(os.close, self._fds[-1])
            self._last = [int(os.pread(fd, 64, 0)) for fd in self._fds]
            self._opened = opened.pop_all()
        self._micro = 0
        self._time: float | None = None

    def __enter__(self) -> RaplMeter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def read(self, time: float, cpu_seconds: float) -> tuple[float, float]:
        """Power and energy of the machine; the processor seconds play no part."""
        before = self._micro
        for index, fd in enumerate(self._fds):
            now = int(os.pread(fd, 64, 0))
            self._micro += (now - self._last[index]) % (self._ranges[index] + 1)  # the counters wrap
            self._last[index] = now
        elapsed = 0.0 if self._time is None else time - self._time
        self._time = time
        return ((self._micro - before) * 1e-6 / elapsed if elapsed > 0 else 0.0), self._micro * 1e-6

    def close(self) -> None:
        """Close the counters."""
        self._opened.close()


def rapl_zones(root: Path = RAPL_ROOT) -> list[Path]:
    """Processor packages whose energy counter this process may read; empty where there is none."""
    zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
    return [zone for zone in zones if os.access(zone / "energy_uj", os.R_OK)]
