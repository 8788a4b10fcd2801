"""The records of a simulated run: kept in memory, since it lasts seconds and can be had again, and written once at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from estran.observe.rows import COLUMNS
from estran.observe.store import CHUNK, PARQUET, Chunk, StoreError, columns_of, write_tables


class MemoryStore:
    """Takes rows as `estran.observe.store.Store` does, and writes the same files.

    Rows become columns as they grow many, which takes a tenth of the memory.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[Sequence[Any]]] = {table: [] for table in COLUMNS}
        self._chunks: dict[str, list[Chunk]] = {table: [] for table in PARQUET}

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to close."""

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows of one table, each in the order of its columns.

        Raises
        ------
        StoreError
            If there is no such table.
        """
        if table not in self._rows:
            raise StoreError(f"there is no table {table!r}", remedy=f"one of {', '.join(COLUMNS)}")
        held = self._rows[table]
        held.extend(rows)
        if len(held) >= CHUNK and table in self._chunks:
            self._chunks[table].append(columns_of(table, held))
            held.clear()

    def flush(self) -> None:
        """Nothing to do."""

    def compact(self, folder: Path) -> None:
        """Write the Parquet and log files of ``folder``.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        write_tables(folder, self._columns, self._write_logs, "no file")

    def _columns(self, table: str) -> Iterator[Chunk]:
        yield from self._chunks[table]
        if self._rows[table]:
            yield columns_of(table, self._rows[table])

    def _write_logs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lines: dict[str, list[str]] = {}
        for time, host, replica, channel, text in self._rows["logs"]:
            lines.setdefault(replica or host, []).append(f"{time:10.3f} {channel:6} {text}\n")
        for name, written in lines.items():
            path = folder / f"{name.replace('/', '_')}.log"
            path.write_text("".join(written), encoding="utf-8", errors="replace")
