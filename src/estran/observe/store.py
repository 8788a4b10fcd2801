"""A run's records: an SQLite file that others may read while it grows, compacted to Parquet when the run ends.

Nothing that was flushed is lost when the process is killed. `Store.compact` (or `recover`, after a kill) replaces the live
file by ``messages``, ``metrics``, ``operations``, ``events`` and ``exchanges`` as zstd Parquet, and by one text file per replica's
log.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from estran.errors import EstranError
from estran.observe.rows import COLUMNS, Column

if TYPE_CHECKING:
    import duckdb

LIVE: Final = "live.sqlite"
"""Name of the live file inside a run folder."""
PARQUET: Final = ("messages", "metrics", "operations", "events", "exchanges")
"""Tables that are compacted to Parquet; logs become text files."""
_YOUNGER: Final = ("exchanges",)
"""Tables that the live files of earlier versions do not have."""

_FULL: Final = 20_000  # rows held in memory before a flush is forced
CHUNK: Final = 100_000  # rows moved at a time when compacting
_SQL_TYPES: Final[Mapping[type, str]] = {str: "TEXT", int: "INTEGER", float: "REAL"}
DUCK_TYPES: Final[Mapping[type, str]] = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE"}

Chunk: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
"""Some rows of a table, by column."""


class StoreError(EstranError):
    """A run's store cannot be written or read."""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's complaints into ours."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        text = str(error)
        remedy = None
        if "full" in text or "I/O" in text:
            text, remedy = f"the disk is full ({text})", "free some space; what was recorded before is kept and can be read"
        raise StoreError(f"cannot record: {text}", where=str(path), remedy=remedy) from error


def _schema(table: str) -> str:
    # A REAL column holds NaN as NULL, so only text and integers can be required.
    columns = (
        f'"{name}" {_SQL_TYPES[kind]}{"" if nullable or kind is float else " NOT NULL"}' for name, kind, nullable in COLUMNS[table]
    )
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)}) STRICT"


class Store:
    """The live store of one run: a context manager that owns one SQLite file.

    Rows are kept in memory until `flush`, which the owner calls at least every half second; each flush is one transaction.
    Not for use from several threads.

    Parameters
    ----------
    path
        The file, created if absent; usually ``<run folder>/live.sqlite``.

    Raises
    ------
    StoreError
        If the file cannot be created or written (a full disk, say), or a row does not fit its table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: dict[str, list[Sequence[Any]]] = {table: [] for table in COLUMNS}
        self._count = 0
        with _explained(path):
            self._db = sqlite3.connect(path, isolation_level=None)
            self._prepare()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; only a power cut may
        self._db.execute("PRAGMA wal_autocheckpoint=4000")
        for table in COLUMNS:
            self._db.execute(_schema(table))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows of one table, each in the order of its columns.

        Raises
        ------
        StoreError
            If there is no such table, or a forced flush fails.
        """
        if table not in self._pending:
            raise StoreError(f"there is no table {table!r}", where=str(self.path), remedy=f"one of {', '.join(COLUMNS)}")
        self._pending[table].extend(rows)
        self._count += len(rows)
        if self._count >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Commit what was added. On failure nothing of it is in the file, and it stays in memory for another attempt."""
        if not self._count:
            return
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for table, rows in self._pending.items():
                    if rows:
                        self._db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(COLUMNS[table]))})", rows)  # noqa: S608 our own names
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        for rows in self._pending.values():
            rows.clear()
        self._count = 0

    def close(self) -> None:
        """Flush and close; the file stays. Closing twice is harmless."""
        try:
            self.flush()
        finally:
            self._count = 0
            self._db.close()

    def compact(self, folder: Path) -> None:
        """Close, write the Parquet and log files of ``folder``, then remove the live file.

        Raises
        ------
        StoreError
            If the disk is full or the folder cannot be written; the live file is then untouched and readable.
        """
        self.close()
        compact(self.path, folder)


def compact(live: Path, folder: Path) -> None:
    """Turn a closed live file into Parquet and log files, and remove it once they are complete.

    Raises
    ------
    StoreError
        If the live file is damaged or the folder cannot be written; the live file then stays as it is.
    """
    with closing(open_live(live)) as source:
        write_tables(folder, lambda table: read_chunks(source, table), lambda logs: _write_logs(source, logs), live.name)
    _remove(live)


def write_tables(folder: Path, chunks: Callable[[str], Iterable[Chunk]], logs: Callable[[Path], None], kept: str) -> None:
    """Write the Parquet and log files of a folder, all or none.

    Parameters
    ----------
    chunks
        A table's rows as columns, in order.
    logs
        Writes the log files into a folder.
    kept
        Where the records still are if that fails.

    Raises
    ------
    StoreError
        If the records are damaged or the folder cannot be written.
    """
    import duckdb

    parts: list[tuple[Path, Path]] = []
    try:
        with duckdb.connect(":memory:", config={"threads": 1}) as target:  # one thread keeps the order of rows
            for table in PARQUET:
                parts.append((folder / f"{table}.parquet.part", folder / f"{table}.parquet"))
                _write_parquet(chunks(table), target, table, parts[-1][0])
            logs(folder / "logs")
        for part, final in parts:
            part.replace(final)
    except (duckdb.Error, sqlite3.Error, OSError) as error:
        for part, _ in parts:
            part.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write the run's Parquet files: {_reason(error)}",
            where=str(folder),
            remedy="free some space, then run `estran clean`; the records are still in " + kept,
        ) from error


def _reason(error: Exception) -> str:
    """Why a file could not be written; of a full disk DuckDB tells much that helps nobody."""
    text = str(error)
    return next((reason for reason in ("No space left on device", "Permission denied") if reason in text), text)


def recover(folder: Path) -> bool:
    """Compact what a killed run left in its folder.

    Returns
    -------
    bool
        Whether there was anything to recover.

    Raises
    ------
    StoreError
        As `compact`.
    """
    live = folder / LIVE
    if not live.exists():
        return False
    compact(live, folder)
    return True


def open_live(live: Path) -> sqlite3.Connection:
    """Open a live file for reading only; a killed writer's journal is read with it."""
    return sqlite3.connect(f"{live.absolute().as_uri()}?mode=ro", uri=True)


def newer_rows(source: sqlite3.Connection, table: str, after: int) -> tuple[list[Sequence[Any]], int]:
    """Rows of a live table that came after one with a number, and the number of the last one; 0 begins."""
    found = source.execute(f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid", (after,)).fetchall()  # noqa: S608 our own names
    return [row[1:] for row in found], found[-1][0] if found else after


def _remove(live: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        live.with_name(live.name + suffix).unlink(missing_ok=True)


def _write_parquet(chunks: Iterable[Chunk], target: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    columns = ", ".join(f'"{name}" {DUCK_TYPES[kind]}' for name, kind, _ in COLUMNS[table])
    target.execute(f"CREATE TABLE {table} ({columns})")
    for chunk in chunks:
        target.register("chunk", chunk)
        target.execute(f"INSERT INTO {table} SELECT * FROM chunk")  # noqa: S608 our own names
        target.unregister("chunk")
    target.execute(f"COPY {table} TO $path (FORMAT parquet, COMPRESSION zstd)", {"path": str(path)})
    target.execute(f"DROP TABLE {table}")


def read_chunks(source: sqlite3.Connection, table: str) -> Iterator[Chunk]:
    """Read a live table as columns, in the order of insertion: floats (NaN where empty), integers (masked where null), strings."""
    if table in _YOUNGER and not source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return
    cursor = source.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 our own names
    while rows := cursor.fetchmany(CHUNK):
        yield columns_of(table, rows)


def columns_of(table: str, rows: Sequence[Sequence[Any]]) -> Chunk:
    """Rows of a table as columns."""
    return {
        column.name: _ARRAYS[column.kind](values, column)
        for column, values in zip(COLUMNS[table], zip(*rows, strict=True), strict=True)
    }


def _integers(values: Sequence[int | None], column: Column) -> np.ndarray[Any, Any]:
    if not column.nullable:
        return np.array(values, dtype=np.int64)
    mask = np.array([value is None for value in values], dtype=bool)
    return np.ma.masked_array(np.array([value or 0 for value in values], dtype=np.int64), mask=mask)


def _floats(values: Sequence[float | None], column: Column) -> np.ndarray[Any, Any]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _strings(values: Sequence[str], column: Column) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=object)


_ARRAYS: Final[Mapping[type, Callable[[Any, Column], np.ndarray[Any, Any]]]] = {int: _integers, float: _floats, str: _strings}


def _write_logs(source: sqlite3.Connection, folder: Path) -> None:
    """One text file per replica; the agent's own lines go under the host's name. Rewritten whole, so that recovery may repeat."""
    folder.mkdir(parents=True, exist_ok=True)
    owners = source.execute("SELECT DISTINCT host, replica FROM logs").fetchall()
    for name in {replica or host for host, replica in owners}:
        query = "SELECT time, channel, text FROM logs WHERE (CASE replica WHEN '' THEN host ELSE replica END) = ? ORDER BY rowid"
        with (folder / f"{name.replace('/', '_')}.log").open("w", encoding="utf-8", errors="replace") as file:
            file.writelines(f"{time:10.3f} {channel:6} {text}\n" for time, channel, text in source.execute(query, (name,)))
