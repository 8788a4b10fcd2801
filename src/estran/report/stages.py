"""Where the time of messages went: queueing, transfer and compute per service, and the distribution of end-to-end latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

LEVELS = 200
MOST = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """Seconds that messages of one stream spent on their way into and through one service."""

    queueing: float
    transfer: float
    compute: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.queueing + self.transfer + self.compute


@dataclass(frozen=True, slots=True)
class Leg:
    """One service's share of a stream: the mean message, and the mean of its slowest 1 %."""

    service: str
    stream: str
    messages: int
    mean: Stage
    slowest: Stage
    p99: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """End-to-end latency (creation at the source to the end of processing) of one service's messages, as quantiles."""

    service: str
    stream: str
    answers: bool
    messages: int
    levels: list[float]
    quantiles: list[float]

    def at(self, level: float) -> float:
        """The quantile nearest to ``level``."""
        nearest = min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - level))
        return self.quantiles[nearest]


# A message waits at its sender, from creation or (in relays: services that both receive and send) from the end of the stage before,
# and at its receiver.
_DIRECT = """
CREATE OR REPLACE TEMP TABLE legs AS
SELECT service, stream, greatest(0, sent - created) + started - received AS queueing,
       greatest(0, received - sent) AS transfer, done - started AS compute
FROM messages WHERE created >= $start AND created < $end AND sender NOT IN (SELECT DISTINCT service FROM messages)
"""

_RELAYED = """
INSERT INTO legs
WITH relays AS (
  SELECT name FROM names WHERE service IN (SELECT service FROM messages) AND service IN (SELECT sender FROM messages)),
onward AS (SELECT * FROM recorded WHERE origin IN (FROM relays) AND created >= $start AND created < $end),
earlier AS (SELECT trace, receiver AS origin, max(done) AS ended FROM recorded
            WHERE receiver IN (FROM relays) AND trace IN (SELECT trace FROM onward) GROUP BY ALL)
SELECT service, stream, greatest(0, sent - coalesce(ended, sent)) + started - received, greatest(0, received - sent), done - started
FROM onward LEFT JOIN earlier USING (trace, origin) JOIN names ON names.name = receiver
"""

_SPLIT = """
WITH sums AS (SELECT *, queueing + transfer + compute AS total FROM legs),
tails AS (SELECT service, stream, quantile_cont(total, 0.99) AS p99, count(*) AS messages FROM sums GROUP BY ALL)
SELECT service, stream, any_value(messages), any_value(p99),
       avg(queueing), avg(transfer), avg(compute),
       avg(queueing) FILTER (total >= p99), avg(transfer) FILTER (total >= p99), avg(compute) FILTER (total >= p99)
FROM sums JOIN tails USING (service, stream) GROUP BY service, stream ORDER BY service, stream
"""


def legs(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> list[Leg]:
    """Split the time of every message created in a window (seconds) into stages, per service and stream."""
    bounds = dict(zip(("start", "end"), window, strict=True))
    connection.execute(_DIRECT, bounds)
    connection.execute(_RELAYED, bounds)
    rows = connection.execute(_SPLIT).fetchall()
    return [Leg(row[0], row[1], row[2], Stage(*row[4:7]), Stage(*row[7:10]), row[3]) for row in rows]


def distributions(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> list[Distribution]:
    """End-to-end latency per service and stream, those with answers first, then by number of messages; at most six."""
    levels = [i / LEVELS for i in range(LEVELS)] + [0.999, 1.0]
    rows = connection.execute(
        """SELECT service, stream, count(answer) > 0 AS answers, count(*) AS messages,
                  quantile_cont(done - created, ?)
           FROM messages WHERE created >= ? AND created < ? GROUP BY ALL ORDER BY answers DESC, messages DESC, service LIMIT ?""",
        [levels, *window, MOST],
    ).fetchall()
    return [Distribution(service, stream, answers, messages, levels, found) for service, stream, answers, messages, found in rows]
