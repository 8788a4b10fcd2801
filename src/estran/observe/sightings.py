"""What a run saw of its commands: exchanges and processor time of each replica within the measured window, as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.observe.queries import Run
from estran.observe.stories import Floats, Integers, Mask

if TYPE_CHECKING:
    import duckdb

TOLERANCE: Final = 0.05
"""Share of exchanges that may remain unattributed, or be seen by one side only."""
_QUERY: Final = """SELECT replica, host, port, peer, connection, number, opened, request_first AS begun, request_last AS asked,
    answer_first AS first, answer_last AS last, request_bytes, answer_bytes FROM exchanges
    WHERE side = $side AND request_first >= $begin AND request_first < $end ORDER BY request_first, connection, number"""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """One side of some exchanges, in order of their beginning; shape (n,) each, seconds of the run's clock, NaN for never.

    Attributes
    ----------
    peer
        Clients: the service that was asked; servers: the host that asked.
    """

    peer: NDArray[np.object_]
    connection: NDArray[np.object_]
    number: Integers
    opened: Floats
    begun: Floats
    asked: Floats
    first: Floats
    last: Floats
    request_bytes: Integers
    answer_bytes: Integers

    def __len__(self) -> int:
        return len(self.begun)

    def select(self, rows: Mask | Integers) -> Exchanges:
        """Some of them."""
        return Exchanges(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True, slots=True)
class Sighting:
    """One command replica.

    Attributes
    ----------
    speed
        Of one core of its device, at most 1: local cores.
    served, asked
        What it answered, and what it asked of others.
    times, seconds
        Readings of its cumulative processor time.
    window
        Begin and end of what was measured.
    """

    replica: str
    speed: float
    served: Exchanges
    asked: Exchanges
    times: Floats
    seconds: Floats
    window: tuple[float, float]


def sightings(run: Run) -> dict[str, list[Sighting]]:
    """All command replicas of a run, by service.

    Raises
    ------
    RequestError
        If nothing was observed, much of it belongs to unknown programs, or the two sides of a connection do not agree.
    """
    plan = run.document("plan") or {}
    speeds = {host["name"]: min(float(host["device"]["speed"]), 1.0) for host in plan.get("hosts", [])}
    commands = [replica for replica in plan.get("replicas", []) if replica.get("command")]
    window = (run.status.warmup, run.status.warmup + run.status.duration)
    with run.database() as connection:
        client, server = (_columns(connection, side, window) for side in ("client", "server"))
        _refuse_unobserved(run, connection, len(client["begun"]) + len(server["begun"]))
        services = {replica["name"]: replica["service"] for replica in commands}
        _name_targets(run, client, server, services)
        cpu = _processor_time(connection)
    found: dict[str, list[Sighting]] = {}
    for replica in commands:
        name = replica["name"]
        times, seconds = cpu.get(name, (np.zeros(0), np.zeros(0)))
        served, asked = (_exchanges(columns, columns["replica"] == name) for columns in (server, client))
        seen = Sighting(name, speeds[replica["host"]], served, asked, times, seconds, window)
        found.setdefault(replica["service"], []).append(seen)
    _refuse_contradiction(run, found)
    return found


def _columns(connection: duckdb.DuckDBPyConnection, side: str, window: tuple[float, float]) -> dict[str, Any]:
    found = connection.execute(_QUERY, {"side": side, "begin": window[0], "end": window[1]}).fetchnumpy()
    names = ("opened", "begun", "asked", "first", "last")
    times = {name: np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), np.nan) for name in names}
    return {name: np.asarray(values) for name, values in found.items()} | times


def _exchanges(columns: Mapping[str, Any], rows: Mask) -> Exchanges:
    return Exchanges(*(columns[column.name][rows] for column in fields(Exchanges)))


def _name_targets(run: Run, client: dict[str, Any], server: Mapping[str, Any], services: Mapping[str, str]) -> None:
    """Put the service that answers in place of the host that it runs on."""
    answering = {
        (host, port): services.get(replica, "")
        for host, port, replica in zip(server["host"], server["port"].tolist(), server["replica"], strict=True)
    }
    named = [answering.get(end, "") for end in zip(client["peer"], client["port"].tolist(), strict=True)]
    places = [f"{peer}:{port}" for peer, port in zip(client["peer"], client["port"].tolist(), strict=True)]
    client["peer"] = np.array(named, dtype=object)
    strangers = Counter(place for place, name in zip(places, named, strict=True) if not name)
    nobody = int((client["replica"] == "").sum() + (server["replica"] == "").sum())
    if strangers.total() > TOLERANCE * len(named):
        place, count = strangers.most_common(1)[0]
        what = f"{count} requests went to {place}, where no command service was seen to answer"
        raise RequestError(what, where=str(run.folder), remedy="make what answers there a command service of the experiment")
    if nobody > TOLERANCE * (len(named) + len(server["replica"])):
        what = f"of {nobody} exchanges it could not be told which of several programs on a host they belong to"
        raise RequestError(what, where=str(run.folder), remedy="give each command a host of its own, or declare its model:")


def _refuse_unobserved(run: Run, connection: duckdb.DuckDBPyConnection, count: int) -> None:
    if not count:
        found = connection.execute("SELECT detail FROM events WHERE event = 'unobserved' LIMIT 1").fetchall()
        what = found[0][0] if found else "no command exchanged anything over TCP within the measured window"
        raise RequestError(what, where=str(run.folder), remedy="declare what the commands do with model: in the experiment file")


def _refuse_contradiction(run: Run, found: Mapping[str, Sequence[Sighting]]) -> None:
    """Both sides saw the same bytes: where they count different exchanges, requests do not wait for answers on a connection."""
    asked: Counter[str] = Counter()
    for seen in (seen for group in found.values() for seen in group):
        asked.update(seen.asked.peer.tolist())
    for service, group in found.items():
        served = sum(len(seen.served) for seen in group)
        if service in asked and abs(served - asked[service]) > max(5, TOLERANCE * max(served, asked[service])):
            what = (
                f"its clients saw {asked[service]} exchanges with {service} and it saw {served}: "
                "on one connection requests are sent before the last one is answered, so they cannot be told apart from outside"
            )
            raise RequestError(what, where=str(run.folder), remedy=f"declare what {service} and its clients do with model:")


def _processor_time(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Floats, Floats]]:
    query = """SELECT replica, list(time ORDER BY time), list(value ORDER BY time) FROM metrics
               WHERE metric = 'process_cpu' GROUP BY replica ORDER BY replica"""
    return {replica: (np.array(times), np.array(values)) for replica, times, values in connection.execute(query).fetchall()}
