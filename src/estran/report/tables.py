"""The Parquet tables of a run as DuckDB tables; one that was never written is empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from estran.errors import DataError

if TYPE_CHECKING:
    import duckdb

COLUMNS: dict[str, dict[str, str]] = {
    "messages": {
        "trace": "VARCHAR", "stream": "VARCHAR", "origin": "VARCHAR", "seq": "BIGINT", "receiver": "VARCHAR", "created": "DOUBLE",
        "sent": "DOUBLE", "received": "DOUBLE", "started": "DOUBLE", "done": "DOUBLE", "bytes": "BIGINT", "version": "BIGINT",
        "truth": "BIGINT", "answer": "BIGINT",
    },
    "metrics": {"time": "DOUBLE", "host": "VARCHAR", "replica": "VARCHAR", "metric": "VARCHAR", "value": "DOUBLE"},
    "events": {"time": "DOUBLE", "host": "VARCHAR", "replica": "VARCHAR", "event": "VARCHAR", "detail": "VARCHAR"},
}  # fmt: skip


@contextmanager
def open_tables(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open ``messages``, ``metrics`` and ``events`` of a run folder in an in-memory database.

    Raises
    ------
    DataError
        If a Parquet file cannot be read.
    """
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as connection:
        for table, columns in COLUMNS.items():
            path = folder / f"{table}.parquet"
            declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            connection.execute(f"CREATE TEMP TABLE {table} ({declared})")
            if path.is_file():
                _load(connection, table, columns, path)
        yield connection


def _load(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], path: Path) -> None:
    import duckdb

    chosen = ", ".join(f'"{name}"' for name in columns)
    try:
        connection.execute(f"INSERT INTO {table} SELECT {chosen} FROM read_parquet(?)", [str(path)])  # noqa: S608 - names are constants
    except duckdb.Error as error:
        raise DataError(f"cannot be read: {error}", where=str(path), remedy="the file is damaged; run again") from error
