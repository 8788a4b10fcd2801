"""The columns of a run's tables, read off the row types that services emit (`estran.runtime.rows`).

Kinds of event that the analysis reads (``detail`` is text; JSON where braces are shown):

========================  =====================================================================================
``published``             a replica published a model: ``{"version": 3}`` (a bare number will do)
``channel``               what a transport counted on one channel, with ``frames`` sent since the start:
                          ``{"channel": …, "frames": …, "bytes": …, "retransmitted": …, "dropped": …}``; the last one holds
``timer-lateness``        at a replica's end, how late its timers fired:
                          ``{"n": …, "mean": …, "slept": …, "quantiles": […]}``, seconds; quantiles evenly spaced, 0 to 100 %
``observed``              what a host's observer saw of its commands: ``{"packets": …, "lost": …}``
``unobserved``            why what crosses the sockets of a host's commands was not observed
``energy-source``         how the host's energy is known: ``model: raspberry-pi-4 …`` or ``rapl: …``
========================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, get_args, get_type_hints

from estran.runtime.rows import TABLES, EventRow, ExchangeRow, LogRow, MessageRow, MetricRow, OperationRow

__all__ = ["COLUMNS", "TABLES", "Column", "EventRow", "ExchangeRow", "LogRow", "MessageRow", "MetricRow", "OperationRow"]


class Column(NamedTuple):
    """A column as the stores see it: ``kind`` is ``str``, ``int`` or ``float``; a nullable one may hold None."""

    name: str
    kind: type
    nullable: bool


def _column(name: str, hint: object) -> Column:
    options = get_args(hint) or (hint,)
    kind = next(option for option in options if isinstance(option, type) and option is not type(None))
    return Column(name, kind, nullable=len(options) > 1)


COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = MappingProxyType(
    {table: tuple(_column(name, hint) for name, hint in get_type_hints(row).items()) for table, row in TABLES.items()}
)
"""Columns of each table, in the order of its rows."""
