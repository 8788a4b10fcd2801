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
    average: float | None
    median: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Publications:
    """Times at which models were published by trainers and taken into service by predictors."""

    published: list[float]
    swapped: list[float]


# Both rivals are judged at each replica on its own, in order of arrival. A class leads once it has been seen more often than any
# before it, and until another one has (so the first to get there leads on a tie): the leader is the class of the last record.
_JUDGED = """
CREATE OR REPLACE TEMP TABLE judged AS
WITH graded AS (
  SELECT created, done, receiver, truth, answer = truth AS correct,
         row_number() OVER (PARTITION BY receiver ORDER BY received, done) AS turn
  FROM messages WHERE truth IS NOT NULL AND answer IS NOT NULL),
counted AS (SELECT *, row_number() OVER (PARTITION BY receiver, truth ORDER BY turn) AS seen FROM graded),
led AS (
  SELECT *, seen > coalesce(max(seen) OVER
    (PARTITION BY receiver ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS record FROM counted)
SELECT created, done, correct, truth = lag(truth) OVER earlier AS no_change,
       truth = last_value(CASE WHEN record THEN truth END IGNORE NULLS) OVER
         (PARTITION BY receiver ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS majority
FROM led WINDOW earlier AS (PARTITION BY receiver ORDER BY turn)
"""

# A publication is known from its event (models of a *latest* stream may be dropped on the way) or from the message that carried it.
_AGED = """
CREATE OR REPLACE TEMP TABLE aged AS
WITH carried AS (SELECT receiver, origin, version, min(sent) AS issued FROM messages
                 WHERE version IS NOT NULL AND answer IS NULL GROUP BY ALL),
told AS (SELECT replica AS origin, CAST(regexp_extract(detail, '[0-9]+') AS BIGINT) AS version, min(time) AS issued FROM events
         WHERE event = 'published' AND regexp_matches(detail, '[0-9]') GROUP BY ALL),
known AS (SELECT receiver, version, min(issued) AS issued FROM (
            FROM carried SELECT receiver, version, issued UNION ALL
            SELECT receiver, told.version, told.issued
            FROM told JOIN (SELECT DISTINCT receiver, origin FROM carried) USING (origin))
          GROUP BY ALL)
SELECT created, done, done - issued AS age FROM messages JOIN known USING (receiver, version)
WHERE answer IS NOT NULL AND done >= issued
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
    overall = _one(
        connection,
        "SELECT avg(correct::INT), avg(no_change::INT), avg(majority::INT) FROM judged WHERE created >= ? AND created < ?",
        *window,
    )
    return Accuracy(width, time, answered, correct, no_change, majority, *overall)


def staleness(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> Staleness | None:
    """Age of the answering model over time, or None where answers name no model version that was sent over a stream."""
    connection.execute(_AGED)
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
    overall = "SELECT avg(age), quantile_cont(age, 0.5), quantile_cont(age, 0.95) FROM aged WHERE created >= ? AND created < ?"
    average, median, p95 = _one(connection, overall, *window)
    time, mean, low, high = (list(column) for column in zip(*rows, strict=True))
    return Staleness(time, mean, low, high, average, median, p95)


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
