"""What the answers of a run's predictors were worth, over time: accuracy, baselines, staleness, model publications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

BINS = 100
PER_BIN = 60


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Windowed accuracy and its baselines; ``time`` is each window's middle, in seconds of the run's clock.

    ``no_change`` answers with the truth that the same predictor saw last, ``majority`` with the class seen most often so far.
    """

    width: float
    time: list[float]
    answered: list[int]
    accuracy: list[float]
    no_change: list[float | None]
    majority: list[float | None]
    overall: float | None
    overall_no_change: float | None
    overall_majority: float | None


@dataclass(frozen=True, slots=True)
class Staleness:
    """Age of the answering model per window: mean, and range from 5th to 95th percentile, in seconds."""

    time: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    median: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Publications:
    """Times at which models were published by trainers and taken into service by predictors."""

    published: list[float]
    swapped: list[float]


_JUDGED = """
CREATE OR REPLACE TEMP TABLE judged AS
WITH graded AS (
  SELECT done, origin, seq, receiver, truth, answer = truth AS correct,
         lag(truth) OVER (PARTITION BY receiver ORDER BY done, origin, seq) AS previous,
         row_number() OVER (PARTITION BY truth ORDER BY done, origin, seq) - 1 AS seen
  FROM messages WHERE truth IS NOT NULL AND answer IS NOT NULL)
SELECT done, correct, previous = truth AS no_change,
       seen > 0 AND seen >= max(seen + 1) OVER (ORDER BY done, origin, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS majority
FROM graded
"""


def accuracy(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> Accuracy | None:
    """Accuracy over time with its baselines, or None where nothing was answered whose truth is known."""
    connection.execute(_JUDGED)
    total, first, last = _one(connection, "SELECT count(*), min(done), max(done) FROM judged")
    if not total:
        return None
    width = max((last - first) / max(1, min(BINS, total // PER_BIN)), 1e-6)
    rows = connection.execute(
        """SELECT ? + ? * (bin + 0.5), count(*), avg(correct::INT), avg(no_change::INT), avg(majority::INT)
           FROM (SELECT *, least(floor((done - ?) / ?), ?) AS bin FROM judged) GROUP BY bin ORDER BY bin""",
        [first, width, first, width, max(0, min(BINS, total // PER_BIN) - 1)],
    ).fetchall()
    time, answered, correct, no_change, majority = (list(column) for column in zip(*rows, strict=True))
    overall = _one(connection, "SELECT avg(correct::INT), avg(no_change::INT), avg(majority::INT) FROM judged WHERE done BETWEEN ? AND ?", *window)
    return Accuracy(width, time, answered, correct, no_change, majority, *overall)


def staleness(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> Staleness | None:
    """Age of the answering model over time, or None where answers name no model version that was sent over a stream."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE aged AS
           WITH published AS (SELECT version, min(sent) AS issued FROM messages
                              WHERE version IS NOT NULL AND answer IS NULL GROUP BY version)
           SELECT done, done - issued AS age FROM messages JOIN published USING (version) WHERE answer IS NOT NULL AND done >= issued"""
    )
    total, first, last = _one(connection, "SELECT count(*), min(done), max(done) FROM aged")
    if not total:
        return None
    bins = max(1, min(BINS * 2, total // 10))
    width = max((last - first) / bins, 1e-6)
    rows = connection.execute(
        """SELECT ? + ? * (bin + 0.5), avg(age), quantile_cont(age, 0.05), quantile_cont(age, 0.95)
           FROM (SELECT *, least(floor((done - ?) / ?), ?) AS bin FROM aged) GROUP BY bin ORDER BY bin""",
        [first, width, first, width, bins - 1],
    ).fetchall()
    median, p95 = _one(connection, "SELECT quantile_cont(age, 0.5), quantile_cont(age, 0.95) FROM aged WHERE done BETWEEN ? AND ?", *window)
    time, mean, low, high = (list(column) for column in zip(*rows, strict=True))
    return Staleness(time, mean, low, high, median, p95)


def publications(connection: duckdb.DuckDBPyConnection, most: int = 400) -> Publications:
    """When models were published and swapped in; beyond ``most`` of a kind, an even selection of them."""

    def times(event: str) -> list[float]:
        query = "SELECT time FROM events WHERE event = ? ORDER BY time"
        found = [row[0] for row in connection.execute(query, [event]).fetchall()]
        step = -(-len(found) // most) or 1
        return found[::step]

    return Publications(times("published"), times("swapped"))


def _one(connection: duckdb.DuckDBPyConnection, query: str, *values: float) -> tuple[float, ...]:
    row = connection.execute(query, list(values)).fetchone()
    return tuple(row) if row is not None else ()
