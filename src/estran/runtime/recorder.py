"""What a service records about itself: metrics, operations, processed messages, events and log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from estran.runtime.clock import Clock
from estran.runtime.rows import EventRow, ExchangeRow, LogRow, MessageRow, MetricRow, OperationRow

Emit = Callable[[str, Sequence[tuple[Any, ...]]], None]
"""Takes a table's name and its new rows."""


class Recorder:
    """Collects rows in memory until `flush` hands them on; the owner decides when.

    Parameters
    ----------
    emit
        Where rows go.
    host, replica
        Whose rows they are.
    """

    def __init__(self, emit: Emit, clock: Clock, *, host: str, replica: str) -> None:
        self._emit = emit
        self._clock = clock
        self._host = host
        self._replica = replica
        self._pending: dict[str, list[tuple[Any, ...]]] = {}

    def record(self, metric: str, value: float) -> None:
        """Record a sample of a metric, now."""
        self._add("metrics", MetricRow(self._clock.now(), self._host, self._replica, metric, float(value)))

    def event(self, event: str, detail: str = "") -> None:
        """Record that something happened, now."""
        self._add("events", EventRow(self._clock.now(), self._host, self._replica, event, detail))

    def message(self, row: MessageRow) -> None:
        """Record a processed message."""
        self._add("messages", row)

    def exchange(self, row: ExchangeRow) -> None:
        """Record what two commands exchanged."""
        self._add("exchanges", row)

    def operation(self, operation: str, size: int, wall: float, cpu: float) -> None:
        """Record a computation that has just ended."""
        self._add("operations", OperationRow(self._clock.now(), self._host, self._replica, operation, size, wall, cpu))

    def line(self, channel: str, text: str) -> None:
        """Record a line of output."""
        self._add("logs", LogRow(self._clock.now(), self._host, self._replica, channel, printable(text)))

    def flush(self) -> None:
        """Hand on everything collected so far."""
        pending, self._pending = self._pending, {}
        for table, rows in pending.items():
            self._emit(table, rows)

    def mute(self) -> None:
        """Hand on nothing more."""
        self._emit = lambda table, rows: None

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        self._pending.setdefault(table, []).append(row)


def printable(text: str) -> str:
    """Text that can be encoded: what undecodable file names leave in messages is written as escapes."""
    return text.encode(errors="backslashreplace").decode()


class RecorderHandler(logging.Handler):
    """Sends a component's log records to its recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        self._recorder.line("log", f"{record.levelname.lower()}: {self.format(record)}")
