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


TABLES: dict[str, type[tuple[object, ...]]] = {
    "messages": MessageRow,
    "metrics": MetricRow,
    "operations": OperationRow,
    "logs": LogRow,
    "events": EventRow,
}
