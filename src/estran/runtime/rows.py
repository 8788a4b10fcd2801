"""The rows that a run records: one tuple type per table, the only place where their columns are named.

Times are seconds of the run's clock. Rows travel as plain tuples in this order, from services through agents to the store.
"""

from __future__ import annotations

from typing import NamedTuple


class MessageRow(NamedTuple):
    """A frame that a replica has processed. ``truth`` and ``answer`` are class indices where the replica predicted."""

    trace: str
    stream: str
    origin: str
    seq: int
    receiver: str
    created: float
    sent: float
    received: float
    started: float
    done: float
    bytes: int
    version: int | None = None
    truth: int | None = None
    answer: int | None = None


class MetricRow(NamedTuple):
    """A sample of a metric; ``replica`` is empty for figures of the whole host."""

    time: float
    host: str
    replica: str
    metric: str
    value: float


class OperationRow(NamedTuple):
    """One ``self.compute`` call: how many items, wall and CPU seconds."""

    time: float
    host: str
    replica: str
    operation: str
    size: int
    wall: float
    cpu: float


class LogRow(NamedTuple):
    """A line of output; ``channel`` is ``stdout``, ``stderr`` or ``log``."""

    time: float
    host: str
    replica: str
    channel: str
    text: str


class EventRow(NamedTuple):
    """Something that happened: started, ready, ended, restarted, published, swapped, and so on."""

    time: float
    host: str
    replica: str
    event: str
    detail: str


class ExchangeRow(NamedTuple):
    """A request and its answer between commands, as seen at one side: there are two rows of each exchange, one per host.

    Attributes
    ----------
    time
        When it began.
    replica
        Whose socket it was on this side; empty where that could not be told.
    side
        ``client`` or ``server``.
    peer
        The host at the other side, or its address where that is none of the run's.
    port
        The server's.
    connection
        The same at both sides.
    number
        How many exchanges of this connection came before.
    opened
        When the connection was asked for.
    request_bytes, answer_bytes
        Bytes of data, without headers; 0 where nothing was sent.
    request_first, request_last, answer_first, answer_last
        When the first and the last byte left here, or arrived here.
    """

    time: float
    host: str
    replica: str
    side: str
    peer: str
    port: int
    connection: str
    number: int
    opened: float | None
    request_bytes: int
    request_first: float | None
    request_last: float | None
    answer_bytes: int
    answer_first: float | None
    answer_last: float | None


TABLES: dict[str, type[tuple[object, ...]]] = {
    "messages": MessageRow,
    "metrics": MetricRow,
    "operations": OperationRow,
    "logs": LogRow,
    "events": EventRow,
    "exchanges": ExchangeRow,
}
