"""What a finished run tells about costs, as columns; runs that tell nothing are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from estran.errors import EstranError, RequestError
from estran.observe.queries import Run
from estran.observe.stories import Floats, Integers

if TYPE_CHECKING:
    import duckdb

Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Seat:
    """A replica: what it is and on what it runs. ``component`` is empty for a command; ``speed`` is that of one core."""

    name: str
    service: str
    component: str
    host: str
    device: str
    speed: float
    linger: float
    most: int


@dataclass(frozen=True, slots=True)
class Messages:
    """Processed messages, in order of ``sent``. Times in seconds of the run's clock, shape (n,) each."""

    stream: Names
    origin: Names
    receiver: Names
    sent: Floats
    received: Floats
    started: Floats
    done: Floats
    bytes: Integers


@dataclass(frozen=True, slots=True)
class Operations:
    """Computations, in order of their end."""

    replica: Names
    operation: Names
    end: Floats
    size: Integers
    wall: Floats
    cpu: Floats


@dataclass(frozen=True, slots=True)
class Timers:
    """How late a replica's timers fired: how many, mean and quantiles in seconds; and seconds that were asked of them."""

    n: int
    mean: float
    slept: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One run, from the end of its warm-up to the end of its measurement.

    Attributes
    ----------
    processor
        Replica → times and cumulative processor seconds of its process.
    links
        Source and target host → asked delay, jitter, rate and loss.
    firsts
        Replica and operation → processor seconds of its first call, before the warm-up ended or not.
    begun
        Replica → by how much its first message of its own left later than it was due.
    """

    run: Run
    seats: Mapping[str, Seat]
    channels: Mapping[tuple[str, str, str], Mapping[str, Any]]
    links: Mapping[tuple[str, str], Mapping[str, Any]]
    messages: Messages
    operations: Operations
    processor: Mapping[str, tuple[Floats, Floats]]
    timers: Mapping[str, Timers]
    firsts: Mapping[tuple[str, str], float]
    begun: Mapping[str, float]


_AGAIN: Final = "run the experiment again, on a platform with real processes (`--on emulate`)"


def read(run: Run) -> Reading:
    """Read a run for calibration.

    Raises
    ------
    RequestError
        If it failed, was simulated, or recorded nothing of use.
    EstranError
        If its folder is damaged.
    """
    where = str(run.folder)
    status = run.status
    if status.platform.partition(":")[0] == "simulate":
        raise RequestError("was simulated, so it tells nothing about real costs", where=where, remedy=_AGAIN)
    if status.status != "done":
        raise RequestError(f"is {status.status}, not done", where=where, remedy="calibrate from runs that came to their end")
    seats = _seats(run)
    window = {"begin": status.warmup, "end": status.warmup + status.duration}
    with run.database() as connection:
        reading = Reading(
            run, seats, _channels(run), _links(run), _messages(connection, window), _operations(connection, window),
            _processor(connection, window), _timers(connection), _firsts(connection), _begun(connection),
        )  # fmt: skip
    components = [seat.name for seat in seats.values() if seat.component]
    if components and not len(reading.messages.sent) and not len(reading.operations.end):
        raise RequestError("holds no message and no operation", where=where, remedy="run it for longer")
    if components and not set(components) & set(reading.processor):
        raise RequestError("was made before processes' time was recorded", where=where, remedy=_AGAIN)
    return reading


def _seats(run: Run) -> dict[str, Seat]:
    plan = run.document("plan")
    try:
        devices = {host["name"]: host["device"] for host in plan["hosts"]}
        return {replica["name"]: _seat(replica, devices[replica["host"]]) for replica in plan["replicas"]}
    except (KeyError, TypeError) as error:
        raise EstranError("this is no plan of a run", where=str(run.folder / "plan.json"), remedy=_AGAIN) from error


def _seat(replica: Mapping[str, Any], device: Mapping[str, Any]) -> Seat:
    asked = (replica.get("settings") or {}).get("batch")
    batch = asked if isinstance(asked, dict) else {}
    return Seat(
        replica["name"], replica["service"], replica.get("component") or "", replica["host"],
        device["name"], float(device["speed"]), float(batch.get("max_delay") or 0.0), int(batch.get("max_size") or 1 << 30),
    )  # fmt: skip


def _channels(run: Run) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    channels = run.document("plan").get("channels", [])
    return {(channel["stream"], channel["producer"], channel["consumer"]): channel for channel in channels}


def _links(run: Run) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(link["source"], link["target"]): link for link in run.document("plan").get("links", [])}


def _messages(connection: duckdb.DuckDBPyConnection, window: Mapping[str, float]) -> Messages:
    query = """SELECT stream, origin, receiver, sent, received, started, done, bytes FROM messages
               WHERE sent >= $begin AND done <= $end ORDER BY sent, received, receiver, seq"""
    return Messages(*_columns(connection, query, window))


def _operations(connection: duckdb.DuckDBPyConnection, window: Mapping[str, float]) -> Operations:
    query = """SELECT replica, operation, time, size, wall, cpu FROM operations
               WHERE time BETWEEN $begin AND $end ORDER BY time, replica, operation"""
    return Operations(*_columns(connection, query, window))


def _columns(connection: duckdb.DuckDBPyConnection, query: str, window: Mapping[str, float]) -> Sequence[Any]:
    return [np.ma.getdata(column) for column in connection.execute(query, window).fetchnumpy().values()]


def _processor(connection: duckdb.DuckDBPyConnection, window: Mapping[str, float]) -> dict[str, tuple[Floats, Floats]]:
    query = """SELECT replica, list(time ORDER BY time), list(value ORDER BY time) FROM metrics
               WHERE metric = 'process_cpu' AND replica <> '' AND time BETWEEN $begin AND $end GROUP BY replica ORDER BY replica"""
    found = connection.execute(query, window).fetchall()
    return {replica: (np.array(times), np.array(values)) for replica, times, values in found}


def _timers(connection: duckdb.DuckDBPyConnection) -> dict[str, Timers]:
    query = (
        "SELECT replica, last(detail ORDER BY time) FROM events WHERE event = 'timer-lateness' GROUP BY replica ORDER BY replica"
    )
    return {replica: msgspec.json.decode(detail, type=Timers) for replica, detail in connection.execute(query).fetchall()}


def _firsts(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], float]:
    query = "SELECT replica, operation, arg_min(cpu, time) FROM operations GROUP BY replica, operation ORDER BY replica, operation"
    return {(replica, operation): cpu for replica, operation, cpu in connection.execute(query).fetchall()}


def _begun(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    query = """SELECT origin, arg_min(sent - created, sent) FROM messages
               WHERE starts_with(trace, origin || ':') AND created >= 0 GROUP BY origin ORDER BY origin"""
    return dict(connection.execute(query).fetchall())
