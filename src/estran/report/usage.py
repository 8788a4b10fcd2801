"""What hosts used over time: processor, network and energy, per host or (where there are many) per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estran.observe.usage import growth
from estran.report.folder import Host

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

POINTS = 240
MOST_LINES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One host's (or layer's) series on the shared time axis; ``low`` and ``high`` are the range over a layer's hosts."""

    name: str
    layer: str
    hosts: int
    values: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Series by metric: ``cpu`` in cores, ``received`` and ``sent`` in bytes per second, ``memory`` in bytes."""

    time: list[float]
    series: Mapping[str, list[Line]]


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one host over the run."""

    host: str
    layer: str
    device: str
    joules: float
    watts: float


_CUMULATIVE = {"cpu": "cpu_seconds", "received": "rx_bytes", "sent": "tx_bytes"}
_GAUGES = {"memory": "memory"}


def usage(connection: duckdb.DuckDBPyConnection, hosts: Mapping[str, Host], window: tuple[float, float]) -> Usage | None:
    """Rates from the hosts' counters until the end of a window, exact over each interval; None where nothing was sampled."""
    import numpy as np

    end = _end(connection, window)
    if end is None:
        return None
    edges = np.linspace(0.0, max(end, 1e-3), _points(connection) + 1)
    series = {name: _lines(_rates(_sampled(connection, metric), edges), hosts) for name, metric in _CUMULATIVE.items()}
    series |= {name: _lines(_levels(_sampled(connection, metric), edges), hosts) for name, metric in _GAUGES.items()}
    middles = (edges[1:] + edges[:-1]) / 2
    return Usage([float(t) for t in middles], {name: lines for name, lines in series.items() if lines})


def energy(connection: duckdb.DuckDBPyConnection, hosts: Mapping[str, Host], window: tuple[float, float]) -> list[Energy]:
    """Energy of each host in a window (seconds), as the responses count it."""
    end = _end(connection, window)
    if end is None or end <= window[0]:
        return []
    span = end - window[0]
    grown = {host: float(slots.sum()) for host, slots in growth(connection, "energy", (window[0], end)).items()}
    return [
        Energy(host.name, host.layer, host.device, grown[host.name], grown[host.name] / span)
        for host in hosts.values()
        if host.name in grown
    ]


def _end(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> float | None:
    """The end of the window, or of the samples where they end before."""
    row = connection.execute("SELECT max(time) FROM metrics WHERE replica = ''").fetchone()
    return None if row is None or row[0] is None else min(float(row[0]), window[1])


def _points(connection: duckdb.DuckDBPyConnection) -> int:
    """Intervals of the time axis: no more than samples of a host, no more than a screen can show."""
    row = connection.execute(
        "SELECT max(n) FROM (SELECT count(*) n FROM metrics WHERE replica = '' GROUP BY host, metric)"
    ).fetchone()
    return max(1, min(POINTS, int(row[0]) // 2 if row else 1))


def _sampled(connection: duckdb.DuckDBPyConnection, metric: str) -> dict[str, tuple[Array, Array]]:
    """Times and values of a whole-host metric, per host."""
    columns = connection.execute(
        """SELECT host, list(time ORDER BY time), list(value ORDER BY time) FROM metrics
           WHERE replica = '' AND metric = ? AND isfinite(value) GROUP BY host""",
        [metric],
    ).fetchnumpy()
    import numpy as np

    hosts, times, values = (columns[name] for name in columns)
    return {
        str(host): (np.asarray(time, float), np.asarray(value, float))
        for host, time, value in zip(hosts, times, values, strict=True)
    }


def _rates(samples: Mapping[str, tuple[Array, Array]], edges: Array) -> dict[str, Array]:
    import numpy as np

    return {host: np.diff(np.interp(edges, time, value)) / np.diff(edges) for host, (time, value) in samples.items()}


def _levels(samples: Mapping[str, tuple[Array, Array]], edges: Array) -> dict[str, Array]:
    import numpy as np

    return {host: np.interp((edges[1:] + edges[:-1]) / 2, time, value) for host, (time, value) in samples.items()}


def _lines(values: Mapping[str, Array], hosts: Mapping[str, Host]) -> list[Line]:
    known = [host for host in hosts if host in values]
    if len(known) <= MOST_LINES:
        return [Line(host, hosts[host].layer, 1, _rounded(values[host])) for host in known]
    layers = dict.fromkeys(hosts[host].layer for host in known)
    return [_band(layer, [values[host] for host in known if hosts[host].layer == layer]) for layer in layers]


def _band(layer: str, values: list[Array]) -> Line:
    import numpy as np

    stacked = np.vstack(values)
    mean = _rounded(stacked.mean(axis=0))
    if len(values) == 1:
        return Line(layer, layer, 1, mean)
    return Line(layer, layer, len(values), mean, _rounded(stacked.min(axis=0)), _rounded(stacked.max(axis=0)))


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
