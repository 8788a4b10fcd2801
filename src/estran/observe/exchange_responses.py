"""How long commands waited for each other's answers, how long they served, and how much they exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from estran.observe.figures import Response, Responses
from estran.observe.intervals import mean, quantile, ratio
from estran.observe.queries import Run
from estran.observe.stories import Floats
from estran.observe.usage import SLOTS

if TYPE_CHECKING:
    import duckdb

LATENCY: Final = ("exchange_latency", "exchange_latency_p50", "exchange_latency_p95", "exchange_latency_p99")
NAMES: Final = (*LATENCY, "exchange_service_time", "exchanges", "exchange_request_bytes", "exchange_answer_bytes")
QUERY: Final = """SELECT coalesce(service, '') AS service, request_first, request_last, request_bytes,
    answer_first, answer_last, answer_bytes FROM exchanges LEFT JOIN owners USING (replica)
    WHERE side = $side AND request_first >= $begin AND request_first < $end ORDER BY request_first, connection, number"""


def exchange_responses(result: Responses, run: Run, connection: duckdb.DuckDBPyConnection) -> None:
    """Add what was observed of commands; nothing where the run has none."""
    if not _commands(run):
        return
    owners = [(replica, service) for replica, (service, _) in run.replicas.items()]
    connection.execute("CREATE OR REPLACE TEMP TABLE owners (replica VARCHAR, service VARCHAR)")
    connection.executemany("INSERT INTO owners VALUES (?, ?)", owners)
    asked, served = (_Side(connection, side, result.window) for side in ("client", "server"))
    if not len(asked.begun) and not len(served.begun):
        result.lack(NAMES, _why(connection))
        return
    note = _lost(connection)
    _latency(result, asked, note)
    _flow(result, asked, note)
    _service_time(result, served, note)


class _Side:
    """The exchanges of one side that began within the window, in order of their beginning."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, side: str, window: tuple[float, float]) -> None:
        begin, end = window
        found = connection.execute(QUERY, {"side": side, "begin": begin, "end": end}).fetchnumpy()
        self.services = np.asarray(found["service"], dtype=object)
        self.begun, self.asked, self.first, self.last = (
            np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), np.nan)
            for name in ("request_first", "request_last", "answer_first", "answer_last")
        )
        self.request_bytes, self.answer_bytes = (np.asarray(found[f"{burst}_bytes"]) for burst in ("request", "answer"))
        self.answered = np.isfinite(self.last)

    def parts(self) -> Iterator[tuple[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
        """All of them together, then those of each service."""
        yield "", np.ones(len(self.begun), dtype=bool)
        for service in sorted(set(self.services) - {""}):
            yield f"@{service}", self.services == service


def _latency(result: Responses, asked: _Side, note: str | None) -> None:
    if not asked.answered.any():
        result.lack(LATENCY, "no command was answered within the measured window")
        return
    seconds = asked.last - asked.begun
    for part, mine in asked.parts():
        rows = mine & asked.answered
        if not rows.any():
            continue
        open_ = int((mine & ~asked.answered).sum())
        said = "; ".join(text for text in (note, f"{open_} requests without an answer are not counted" if open_ else None) if text)
        result.values[f"exchange_latency{part}"] = Response.of(mean(seconds[rows]), "s", said)
        for percent in (50, 95, 99):
            result.values[f"exchange_latency_p{percent}{part}"] = Response.of(quantile(seconds[rows], percent / 100), "s", said)


def _flow(result: Responses, asked: _Side, note: str | None) -> None:
    if not asked.answered.any():
        result.lack(("exchanges", "exchange_request_bytes", "exchange_answer_bytes"), "no command was answered within the window")
        return
    begin, end = result.window
    edges = np.linspace(begin, end, SLOTS + 1)
    for part, mine in asked.parts():
        rows = mine & asked.answered & (asked.last < end)
        if not rows.any():
            continue
        rate = ratio(np.histogram(asked.last[rows], edges)[0], np.diff(edges))
        told = "; ".join(text for text in ("answered within the window", rate.note, note) if text)
        result.values[f"exchanges{part}"] = Response(rate.value, "/s", int(rows.sum()), rate.ci95, told)
        for burst, sizes in (("request", asked.request_bytes), ("answer", asked.answer_bytes)):
            size: Floats = sizes[rows].astype(np.float64)
            result.values[f"exchange_{burst}_bytes{part}"] = Response.of(mean(size), "B", note)


def _service_time(result: Responses, served: _Side, note: str | None) -> None:
    rows = np.isfinite(served.first)
    if not rows.any():
        result.missing["exchange_service_time"] = "no command answered within the measured window"
        return
    seconds = served.first - served.asked
    for part, mine in served.parts():
        if part and (mine & rows).any():
            result.values[f"exchange_service_time{part}"] = Response.of(mean(seconds[mine & rows]), "s", note)


def _commands(run: Run) -> list[Mapping[str, object]]:
    plan = run.document("plan") or {}
    return [replica for replica in plan.get("replicas", []) if replica.get("command")]


def _why(connection: duckdb.DuckDBPyConnection) -> str:
    """Why nothing was observed."""
    found = connection.execute("SELECT detail FROM events WHERE event = 'unobserved' ORDER BY host LIMIT 1").fetchall()
    return found[0][0] if found else "no command exchanged anything over TCP within the measured window"


def _lost(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What is to be said where the observers themselves missed packets."""
    found = connection.execute("SELECT detail FROM events WHERE event = 'observed'").fetchall()
    lost = sum(msgspec.json.decode(detail)["lost"] for (detail,) in found)
    return f"{lost} packets came too fast to be observed, so some times are those of later ones" if lost else None
