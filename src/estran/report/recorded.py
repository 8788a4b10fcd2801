"""What components recorded of themselves, over time: errors that fall, work that is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from estran.report import charts

if TYPE_CHECKING:
    import duckdb

POINTS: Final = 120
MOST: Final = 12
"""Metrics that are drawn; all are in the table of responses."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One metric: means of equal slots of time, by service; None where nothing was recorded."""

    metric: str
    time: list[float]
    services: dict[str, list[float | None]]


def recorded(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> list[Recorded]:
    """Metrics of services in the order of their names, up to the end of a window, or of what was recorded."""
    last = connection.execute("SELECT max(time) FROM metrics WHERE replica <> ''").fetchone()
    if last is None or last[0] is None or last[0] <= 0:
        return []
    end = min(window[1], last[0] + 1e-9)
    rows = connection.execute(_BINNED, {"end": end, "points": POINTS}).fetchall()
    found: dict[str, dict[str, dict[int, float]]] = {}
    for metric, service, slot, value in rows:
        found.setdefault(metric, {}).setdefault(service, {})[slot] = value
    width = end / POINTS
    return [_filled(metric, services, width) for metric, services in sorted(found.items())][:MOST]


def _filled(metric: str, services: dict[str, dict[int, float]], width: float) -> Recorded:
    slots = sorted({slot for values in services.values() for slot in values})
    lines = {service: [values.get(slot) for slot in slots] for service, values in sorted(services.items())}
    return Recorded(metric, [(slot + 0.5) * width for slot in slots], lines)


def recorded_charts(found: list[Recorded], warmup: float) -> list[charts.Chart]:
    """A chart for each metric, a line for each service."""
    return [charts.lines_chart(f"recorded-{one.metric}", one.time, one.services, warmup) for one in found]


_BINNED = """
SELECT metric, regexp_replace(replica, '-[0-9]+$', '') AS service, CAST(least(floor(time / $end * $points), $points - 1) AS INTEGER)
  AS slot, avg(value) FROM metrics
WHERE replica <> '' AND isfinite(value) AND time >= 0 AND time < $end GROUP BY ALL ORDER BY ALL
"""
