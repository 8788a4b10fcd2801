"""What is new in a run's tables since they were last read: from the live file while the run goes on, from Parquet afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from estran.errors import DataError
from estran.observe.queries import Run
from estran.observe.store import LIVE, open_live

if TYPE_CHECKING:
    import duckdb

TIMES: Final = {"messages": "done", "metrics": "time", "events": "time", "exchanges": "answer_last"}
"""The tables that are read, and when a row of each came in."""
MOST_ROWS: Final = 200_000
"""Rows of a live table that are read at a time."""

Columns = list[np.ndarray[Any, Any]]


class News(Protocol):
    """New rows of all tables, to be asked for by queries that both SQLite and DuckDB understand."""

    def read(self, query: str) -> Columns:
        """Columns of a query's rows; ``{messages}`` and so on stand for the new rows of a table. Nulls in numbers are NaN."""
        ...


class LiveNews:
    """New rows of a live file: those between two rows of each table."""

    def __init__(self, connection: sqlite3.Connection, spans: Mapping[str, tuple[int, int]]) -> None:
        self._connection = connection
        self._new = {
            table: f"(SELECT * FROM {table} WHERE rowid > {low} AND rowid <= {high})"  # noqa: S608 our own names, and numbers
            for table, (low, high) in spans.items()
        }

    def read(self, query: str) -> Columns:
        cursor = self._connection.execute(query.format_map(self._new))
        rows = cursor.fetchall()
        if not rows:
            return [np.zeros(0) for _ in cursor.description]
        return [_column(values) for values in zip(*rows, strict=True)]


class FinishedNews:
    """Rows of a finished run: all, or those of a time of its clock."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, names: Mapping[str, str]) -> None:
        self._connection = connection
        self._names = names

    def read(self, query: str) -> Columns:
        found = self._connection.execute(query.format_map(self._names)).fetchnumpy()
        return [_plain(column) for column in found.values()]


def _column(values: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _plain(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if column.dtype == object:
        return np.asarray(column)
    return np.asarray(np.ma.filled(column.astype(np.float64), np.nan))


class Tables:
    """One run's tables, read on from where they were left; for one thread at a time.

    Parameters
    ----------
    tables
        Those that will be asked for.
    """

    def __init__(self, folder: Path, tables: tuple[str, ...]) -> None:
        self._folder = folder
        self._read = dict.fromkeys(tables, 0)

    def live(self) -> Iterator[News]:
        """New rows of the live file, in portions.

        Raises
        ------
        FileNotFoundError
            If there is no live file, or no longer.
        DataError
            If it is damaged.
        """
        path = self._folder / LIVE
        if not path.exists():
            raise FileNotFoundError(path)
        try:
            with closing(open_live(path)) as connection:
                while spans := self._spans(connection):
                    yield LiveNews(connection, spans)
                    self._read.update({table: high for table, (_, high) in spans.items()})
        except sqlite3.Error as error:
            if not path.exists():
                raise FileNotFoundError(path) from error
            raise DataError(f"the live file cannot be read: {error}", where=str(path), remedy="`estran clean` mends it") from error

    def _spans(self, connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
        """What is new in each table; nothing where nothing is, or where the tables are not all made yet."""
        made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not made.issuperset(self._read):
            return {}
        spans = {}
        for table, low in self._read.items():
            newest = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0  # noqa: S608 our own names
            spans[table] = (low, min(newest, low + MOST_ROWS))
        return spans if any(high > low for low, high in spans.values()) else {}


@contextmanager
def finished(run: Run) -> Iterator[News]:
    """All rows of a finished run.

    Raises
    ------
    EstranError
        If a table's file is damaged.
    """
    with run.database() as connection:
        yield FinishedNews(connection, {table: table for table in TIMES})


@contextmanager
def between(run: Run, after: float, until: float) -> Iterator[News]:
    """Rows of a finished run that came in after one moment of its clock, until another.

    Raises
    ------
    EstranError
        If a table's file is damaged.
    """
    names = {
        table: f"(SELECT * FROM {table} WHERE {time} > {_literal(after)} AND {time} <= {_literal(until)})"  # noqa: S608 our own names, and numbers
        for table, time in TIMES.items()
    }
    with run.database() as connection:
        yield FinishedNews(connection, names)


def _literal(moment: float) -> str:
    return f"CAST('{moment!r}' AS DOUBLE)"
