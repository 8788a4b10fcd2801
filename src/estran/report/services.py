"""How each service fared: its last state, restarts, messages and errors."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estran.report.folder import Replica, RunFolder

if TYPE_CHECKING:
    import duckdb

MOST_ROWS = 40
_WELL = (0, None, -signal.SIGTERM)  # a service that the conductor asked to stop may end by the signal


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One replica, or all replicas of a service where there are many."""

    name: str
    kind: str
    place: str
    state: str
    bad: bool
    restarts: int
    received: int
    sent: int
    errors: int


def services(connection: duckdb.DuckDBPyConnection, run: RunFolder) -> list[ServiceRow]:
    """A row per replica; above forty replicas, a row per service."""
    events = _events(connection)
    received = dict(connection.execute("SELECT receiver, count(*) FROM messages GROUP BY receiver").fetchall())
    sent = dict(connection.execute("SELECT origin, count(*) FROM messages GROUP BY origin").fetchall())
    culprit = str((run.failure or {}).get("service") or "")
    rows = [
        _row(replica, events.get(replica.name, []), received.get(replica.name, 0), sent.get(replica.name, 0), culprit)
        for replica in run.replicas.values()
    ]
    if len(rows) <= MOST_ROWS:
        return rows
    together: dict[str, list[ServiceRow]] = {}
    for replica, row in zip(run.replicas.values(), rows, strict=True):
        together.setdefault(replica.service, []).append(row)
    return [_merged(service, like) for service, like in together.items()]


def _events(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    query = (
        "SELECT replica, event, detail FROM events WHERE event IN ('started', 'ready', 'ended', 'restarted', 'error') ORDER BY time"
    )
    for replica, event, detail in connection.execute(query).fetchall():
        found.setdefault(replica, []).append((event, detail))
    return found


def _row(replica: Replica, events: list[tuple[str, str]], received: int, sent: int, culprit: str) -> ServiceRow:
    happened = [event for event, _ in events]
    endings = [_status(detail) for event, detail in events if event in ("ended", "restarted")]
    failed = culprit in (replica.name, replica.service) and bool(culprit)
    errors = happened.count("error") + sum(status not in _WELL for status in endings)
    state = _state(happened, endings)
    return ServiceRow(
        replica.name,
        replica.kind,
        replica.host,
        "failed" if failed else state,
        failed or state == "never started",
        happened.count("restarted"),
        received,
        sent,
        errors,
    )


def _state(happened: list[str], endings: list[int | None]) -> str:
    last = next((event for event in reversed(happened) if event != "error"), "never started")
    if last != "ended" or endings[-1] in (0, None):
        return last
    return "stopped" if endings[-1] == -signal.SIGTERM else f"ended with status {endings[-1]}"


def _status(detail: str) -> int | None:
    """The exit status that a detail ends with, as in ``attempt 1 of 5 after exit status 3``."""
    numbers = re.findall(r"-?\d+", detail)
    return int(numbers[-1]) if numbers else None


def _merged(service: str, rows: list[ServiceRow]) -> ServiceRow:
    states = {state: sum(row.state == state for row in rows) for state in dict.fromkeys(row.state for row in rows)}
    return ServiceRow(
        f"{service} ×{len(rows)}" if len(rows) > 1 else rows[0].name,
        rows[0].kind,
        f"{len({row.place for row in rows})} hosts" if len(rows) > 1 else rows[0].place,
        ", ".join(state if len(states) == 1 else f"{number} {state}" for state, number in states.items()),
        any(row.bad for row in rows),
        sum(row.restarts for row in rows),
        sum(row.received for row in rows),
        sum(row.sent for row in rows),
        sum(row.errors for row in rows),
    )
