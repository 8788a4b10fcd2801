"""What a run took from each host between two times: processor time, memory, bytes and energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from estran.observe.intervals import Estimate, ratio
from estran.observe.stories import Floats

if TYPE_CHECKING:
    import duckdb

SLOTS: Final = 30
"""Pieces that a window is cut into for the spread of a rate."""

CUMULATIVE: Final[Mapping[str, tuple[str, str]]] = {
    "cpu_seconds": ("cpu_seconds", "s"),
    "energy": ("energy", "J"),
    "bytes_sent": ("tx_bytes", "B"),
    "bytes_received": ("rx_bytes", "B"),
}
"""Responses that are the growth of a counter: the sampled metric, and the unit."""


def growth(connection: duckdb.DuckDBPyConnection, metric: str, window: tuple[float, float]) -> dict[str, Floats]:
    """By how much a cumulative metric grew per host in each slot of the window; hosts without samples are absent.

    Between samples a counter is taken to grow evenly.
    """
    query = """SELECT host, list(time ORDER BY time), list(value ORDER BY time) FROM metrics
               WHERE replica = '' AND metric = $metric AND value IS NOT NULL GROUP BY host ORDER BY host"""
    edges = np.linspace(*window, SLOTS + 1)
    found = connection.execute(query, {"metric": metric}).fetchall()
    return {host: np.diff(np.interp(edges, times, values)) for host, times, values in found if len(times) > 1}


def total(slots: Floats, window: tuple[float, float]) -> Estimate:
    """Growth over the whole window, with the interval of its rate."""
    seconds = window[1] - window[0]
    rate = ratio(slots, np.full(len(slots), seconds / len(slots)), trend=True)
    bounds = None if rate.ci95 is None else (rate.ci95[0] * seconds, rate.ci95[1] * seconds)
    return Estimate(rate.value * seconds, len(slots), bounds, rate.note)


def peak_memory(connection: duckdb.DuckDBPyConnection, end: float) -> dict[str, tuple[float, int]]:
    """Most memory per host until then, in bytes, and the number of samples: the kernel's own mark where there is one."""
    query = """SELECT host, max(value), count(*) FROM metrics WHERE replica = '' AND time <= $end
               AND metric IN ('memory', 'memory_peak') AND value IS NOT NULL GROUP BY host ORDER BY host"""
    return {host: (value, count) for host, value, count in connection.execute(query, {"end": end}).fetchall()}


def energy_sources(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """How each host's energy is known."""
    return dict(
        connection.execute(
            "SELECT host, last(detail ORDER BY time) FROM events WHERE event = 'energy-source' GROUP BY host"
        ).fetchall()
    )


def recorded(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> dict[str, list[tuple[float, str, float]]]:
    """What components recorded in the window, by metric: time, replica and value, in order of time. NaN is left out.

    Of a replica's processor time, which Estran records beside, only calibration makes use.
    """
    query = """SELECT metric, list(time ORDER BY time), list(replica ORDER BY time), list(value ORDER BY time) FROM metrics
               WHERE replica <> '' AND metric <> 'process_cpu' AND time BETWEEN $a AND $b AND isfinite(value)
               GROUP BY metric ORDER BY metric"""
    found = connection.execute(query, {"a": window[0], "b": window[1]}).fetchall()
    return {metric: list(zip(times, replicas, values, strict=True)) for metric, times, replicas, values in found}
