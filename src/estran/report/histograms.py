"""The distributions that a run by cost models alone leaves: counts in bins instead of messages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from estran.report.stages import LEVELS, MOST, Distribution

if TYPE_CHECKING:
    import duckdb

NAME = "histograms.parquet"
CREATION = "creation"
"""Stands for the stream in a distribution from creation on, whichever way messages took."""


def latencies(connection: duckdb.DuckDBPyConnection, folder: Path) -> list[Distribution]:
    """From creation to the end of processing at each service, those with most messages first; at most six."""
    path = folder / NAME
    if not path.is_file():
        return []
    rows = connection.execute(
        """SELECT part, list(low ORDER BY low), list(high ORDER BY low), list("count" ORDER BY low) FROM read_parquet($path)
           WHERE name = 'latency' GROUP BY part ORDER BY sum("count") DESC, part LIMIT $most""",
        {"path": str(path), "most": MOST},
    ).fetchall()
    return [_distribution(part, np.array(low), np.array(high), np.array(count)) for part, low, high, count in rows]


def _distribution(
    service: str,
    low: np.ndarray[tuple[int], np.dtype[np.float64]],
    high: np.ndarray[tuple[int], np.dtype[np.float64]],
    count: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Distribution:
    """Quantiles of a histogram, straight within each bin."""
    levels = [i / LEVELS for i in range(LEVELS)] + [0.999, 1.0]
    total = int(count.sum())
    before = np.concatenate(([0.0], np.cumsum(count)[:-1])) / total
    share = count / total
    place = np.minimum(np.searchsorted(before, levels, "right") - 1, len(count) - 1)
    within = np.clip((np.array(levels) - before[place]) / share[place], 0.0, 1.0)
    quantiles = low[place] + within * (high[place] - low[place])
    return Distribution(service, CREATION, False, total, levels, quantiles.tolist())
