"""Hosts as they are sampled: processor, memory, network, power."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from estran.web.series import Grid
from estran.web.tables import Columns, News

COUNTERS: Final = ("cpu_seconds", "energy", "rx_bytes", "tx_bytes")
GAUGES: Final = ("memory",)

_SLOT: Final = "CAST(time * 1000000 AS BIGINT) - CAST(time * 1000000 AS BIGINT) % 250000"
_SAMPLES: Final = f"""SELECT host, metric, max(time) AS time, max(value) AS value FROM {{metrics}}
  WHERE replica = '' AND metric IN ({", ".join(repr(name) for name in COUNTERS + GAUGES)}) AND value IS NOT NULL
  GROUP BY host, metric, {_SLOT} ORDER BY host, metric, 3"""  # noqa: S608 our own names


@dataclass
class Machines:
    """Figures of each host, by metric and host."""

    grids: dict[str, dict[str, Grid]] = field(default_factory=lambda: {name: {} for name in COUNTERS + GAUGES})

    def take(self, news: News) -> None:
        """Read new samples."""
        for host, metric, times, values in _groups(news.read(_SAMPLES)):
            grid = self.grids[metric].setdefault(host, Grid(counter=metric in COUNTERS))
            grid.add(times, values)

    def now(self, metric: str, host: str, newest: float, seconds: float) -> float | None:
        """Mean of a host's figure over the last seconds."""
        grid = self.grids[metric].get(host)
        values = None if grid is None else grid.until(newest)[-max(1, round(seconds / grid.width)) :]
        return float(values.mean()) if values is not None and len(values) else None

    def newest(self, metric: str, host: str) -> float | None:
        """The last sample."""
        grid = self.grids[metric].get(host)
        return None if grid is None else grid.newest

    def grown(self, metric: str, host: str) -> float | None:
        """By how much a counter has grown."""
        grid = self.grids[metric].get(host)
        return None if grid is None else grid.grown


def _groups(columns: Columns) -> Iterator[tuple[str, str, Any, Any]]:
    """Consecutive rows of the same host and metric."""
    host, metric, time, value = columns
    if not len(host):
        return
    edges = np.flatnonzero((host[1:] != host[:-1]) | (metric[1:] != metric[:-1])) + 1
    for start, end in zip([0, *edges], [*edges, len(host)], strict=True):
        yield str(host[start]), str(metric[start]), time[start:end], value[start:end]
