"""What each operation of each component costs, by how much it works on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from estran.observe.calibrate.fitting import cost, spread
from estran.observe.calibrate.readings import Reading
from estran.observe.stories import Floats
from estran.spec.calibration import OperationFit
from estran.spec.costs import Cost
from estran.units import minus

FEW: Final = 30
"""Observations below which a fit is warned of."""
_OFF: Final = 0.25
_QUANTILES: Final = np.linspace(0, 1, 21)

Key = tuple[str, str, str, str]
"""Service, component, operation, device."""


def operation_fits(readings: Sequence[Reading], *, native: bool, warnings: list[str]) -> tuple[OperationFit, ...]:
    """Fit every operation over all runs.

    Parameters
    ----------
    native
        Whether processor seconds are those of the devices themselves, not of a core of speed 1.0.
    warnings
        Gets what a user should know of the fits.
    """
    parts: defaultdict[Key, list[tuple[Floats, Floats, Floats, float]]] = defaultdict(list)
    firsts: defaultdict[Key, list[float]] = defaultdict(list)
    for reading in readings:
        for key, rows, speed in _observed(reading):
            parts[key].append((*rows, speed if native else 1.0))
        for (replica, operation), seconds in reading.firsts.items():
            if (seat := reading.seats.get(replica)) is not None:
                key = seat.service, seat.component, operation, seat.device
                firsts[key].append(seconds * (seat.speed if native else 1.0))
    return tuple(_fit(key, parts[key], firsts[key], warnings) for key in sorted(parts))


def _observed(reading: Reading) -> Iterator[tuple[Key, tuple[Floats, Floats, Floats], float]]:
    table = reading.operations
    for name in sorted(set(table.replica.tolist()) & set(reading.seats)):
        seat = reading.seats[name]
        for operation in sorted(set(table.operation[table.replica == name].tolist())):
            mine = (table.replica == name) & (table.operation == operation)
            rows = table.size[mine].astype(np.float64), table.cpu[mine], table.wall[mine]
            yield (seat.service, seat.component, operation, seat.device), rows, seat.speed


def _fit(
    key: Key, parts: Sequence[tuple[Floats, Floats, Floats, float]], firsts: Sequence[float], warnings: list[str]
) -> OperationFit:
    size, cpu, wall = (np.concatenate([part[column] for part in parts]) for column in range(3))
    speed = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
    fitted = cost(size, cpu * speed)
    _judge(key, size, cpu * speed, fitted.time + fitted.each * size, warnings)
    observed = {f"{one:g}": _quantiles(cpu[size == one], wall[size == one]) for one in np.unique(size)}
    return OperationFit(*key, len(size), fitted, observed, Cost(float(np.mean(firsts)), 0.0, spread(firsts)))


def _judge(key: Key, size: Floats, seconds: Floats, fitted: Floats, warnings: list[str]) -> None:
    name = f"{key[0]}: {key[2]} on {key[3]}"
    if len(size) < FEW:
        warnings.append(f"{name} was observed {len(size)} times only")
    if len(np.unique(size)) == 1:
        if size[0] != 1:
            warnings.append(f"{name} was observed with {size[0]:g} items only: other sizes are taken to cost in proportion")
        return
    for one in np.unique(size):
        mine = size == one
        off = seconds[mine].mean() / fitted[mine][0] - 1
        if mine.sum() >= FEW and abs(off) > _OFF:
            warnings.append(f"{name} takes {minus(f'{off:+.0%}')} against its straight line with {one:g} items")


def _quantiles(cpu: Floats, wall: Floats) -> Mapping[str, Any]:
    return {
        "n": len(cpu),
        "cpu_mean": float(cpu.mean()),
        "wall_mean": float(wall.mean()),
        "cpu": np.quantile(cpu, _QUANTILES).tolist(),
        "wall": np.quantile(wall, _QUANTILES).tolist(),
    }
