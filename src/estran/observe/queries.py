"""Typed access to run folders, finished ones (Parquet) and running ones (the live SQLite file) alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from estran.errors import EstranError, RequestError
from estran.observe.rows import COLUMNS
from estran.observe.store import DUCK_TYPES, LIVE, PARQUET, open_live, read_chunks

if TYPE_CHECKING:
    import duckdb

SCHEMA: Final = 1
"""Version of ``run.json`` that is understood."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A run's own record, ``run.json``. Times are ISO 8601 UTC; ``warmup`` and ``duration`` are seconds."""

    schema: int
    id: str
    experiment: str
    status: str
    platform: str = ""
    seed: int = 0
    started: str | None = None
    ended: str | None = None
    warmup: float = 0.0
    duration: float = 0.0
    phases: list[dict[str, Any]] = msgspec.field(default_factory=list)
    failure: dict[str, Any] | None = None
    warnings: list[Any] = msgspec.field(default_factory=list)
    artefacts: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes
    ----------
    live
        Whether the tables are still in the live file (the run goes on, or was killed and not yet cleaned up).
    """

    folder: Path
    status: Status
    live: bool
    _documents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def document(self, name: str) -> Any:
        """A JSON document of the folder (``plan``, ``manifest``, ``network``, ``assignment``, ``responses``), or None.

        Raises
        ------
        EstranError
            If the file is no JSON object.
        """
        if name not in self._documents:
            path = self.folder / f"{name}.json"
            self._documents[name] = _decode(path, dict[str, Any]) if path.exists() else None
        return self._documents[name]

    @property
    def responses(self) -> Mapping[str, Mapping[str, Any]]:
        """What was measured, by name; empty while there is nothing."""
        return self.document("responses") or {}

    @property
    def replicas(self) -> Mapping[str, tuple[str, str]]:
        """Service and host of every planned replica."""
        plan = self.document("plan") or {}
        try:
            return {replica["name"]: (replica["service"], replica["host"]) for replica in plan.get("replicas", [])}
        except (KeyError, TypeError) as error:
            raise EstranError("this is no plan of a run", where=str(self.folder / "plan.json")) from error

    @property
    def channels(self) -> list[Mapping[str, Any]]:
        """Every planned channel; plans of older runs call its name a key."""
        plan = self.document("plan") or {}
        try:
            return [{"name": channel.get("name", channel.get("key")), **channel} for channel in plan.get("channels", [])]
        except (AttributeError, TypeError) as error:
            raise EstranError("this is no plan of a run", where=str(self.folder / "plan.json")) from error

    @property
    def capacities(self) -> Mapping[str, float]:
        """Processor seconds per second that each planned host was given, on a core of speed 1.0."""
        plan = self.document("plan") or {}
        try:
            return {host["name"]: host["device"]["cores"] * host["device"]["speed"] for host in plan.get("hosts", [])}
        except (KeyError, TypeError) as error:
            raise EstranError("this is no plan of a run", where=str(self.folder / "plan.json")) from error

    @contextmanager
    def database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """An in-memory DuckDB with the run's tables, see `attach`."""
        import duckdb

        with duckdb.connect(":memory:") as connection:
            self.attach(connection)
            yield connection

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give a DuckDB the run's tables as views; of a live run, as they are now.

        Raises
        ------
        EstranError
            If a table's file is damaged or of another make.
        """
        import duckdb

        for table in PARQUET:
            path = self.folder / LIVE if self.live else self.folder / f"{table}.parquet"
            try:
                self._attach(connection, table, path)
            except (duckdb.Error, sqlite3.Error) as error:
                raise EstranError(f"the table {table} cannot be read: {error}", where=str(path)) from error

    def _attach(self, connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
        names = ", ".join(f'"{column.name}"' for column in COLUMNS[table])
        if self.live:
            _create(connection, table)
            with closing(open_live(path)) as source:
                for chunk in read_chunks(source, table):
                    connection.register("chunk", chunk)
                    connection.execute(f"INSERT INTO {table} SELECT * FROM chunk")  # noqa: S608 our own names
                    connection.unregister("chunk")
        elif path.exists():
            literal = str(path).replace("'", "''")
            connection.execute(f"CREATE VIEW {table} AS SELECT {names} FROM read_parquet('{literal}')")  # noqa: S608 quoted above
        else:
            _create(connection, table)

    def columns(self, table: str) -> dict[str, np.ndarray[Any, Any]]:
        """A table's columns, in the order of recording; nullable ones are masked arrays.

        Raises
        ------
        EstranError
            If the table's file is damaged, or there is no such table.
        """
        if table not in PARQUET:
            raise RequestError(f"there is no table {table!r}", where=str(self.folder), remedy=f"one of {', '.join(PARQUET)}")
        with self.database() as connection:
            return dict(connection.execute(f"FROM {table}").fetchnumpy())

    def log(self, name: str) -> list[str]:
        """Lines that a replica (or, by its host's name, an agent) wrote so far, each ``time channel text``.

        Raises
        ------
        RequestError
            If the run has no such replica or host.
        """
        if name not in (known := self._writers()):
            remedy = f"it has {', '.join(known)}" if known else "it ended before it had any"
            raise RequestError(f"the run has no replica {name!r}", where=str(self.folder), remedy=remedy)
        path = self.folder / "logs" / f"{name.replace('/', '_')}.log"
        if not self.live:
            return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        query = "SELECT time, channel, text FROM logs WHERE (CASE replica WHEN '' THEN host ELSE replica END) = ? ORDER BY rowid"
        try:
            with closing(open_live(self.folder / LIVE)) as source:
                return [f"{time:10.3f} {channel:6} {text}" for time, channel, text in source.execute(query, (name,))]
        except sqlite3.Error as error:
            raise EstranError(f"the logs cannot be read: {error}", where=str(self.folder / LIVE)) from error

    def _writers(self) -> list[str]:
        """Who may have written a log: replicas, then hosts, then whoever left one."""
        hosts = [host for _, host in self.replicas.values()]
        return list(dict.fromkeys([*self.replicas, *hosts, *(path.stem for path in sorted(self.folder.glob("logs/*.log")))]))


def open_run(folder: Path) -> Run:
    """Open a run folder; reads ``run.json`` only.

    Raises
    ------
    RequestError
        If it is no run folder.
    EstranError
        If ``run.json`` is damaged or of another version.
    """
    path = folder / "run.json"
    if not path.exists():
        raise RequestError("this is no run folder: it has no run.json", where=str(folder), remedy="`estran ls` lists the runs")
    status = _decode(path, Status)
    if status.schema != SCHEMA:
        raise EstranError(
            f"run.json has schema {status.schema}, and {SCHEMA} is understood",
            where=str(path),
            remedy="use the Estran that made it",
        )
    return Run(folder, status, live=(folder / LIVE).exists())


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a list shows it; ``status`` is ``damaged`` where ``run.json`` cannot be read, and ``problem`` says why."""

    folder: str
    id: str
    experiment: str
    status: str
    platform: str = ""
    started: str | None = None
    ended: str | None = None
    duration: float | None = None
    problem: str | None = None


def list_runs(folder: Path) -> list[Listed]:
    """All runs below a folder (``<folder>/<experiment>/<run>`` or ``<folder>/<run>``), oldest first.

    Only each ``run.json`` is read. A folder that is not there has no runs.
    """
    paths = sorted({*folder.glob("*/run.json"), *folder.glob("*/*/run.json")})
    return sorted((_listed(path) for path in paths), key=lambda run: run.started or "")


def _listed(path: Path) -> Listed:
    folder = path.parent
    try:
        status = _decode(path, Status)
    except EstranError as error:
        return Listed(folder=str(folder), id=folder.name, experiment=folder.parent.name, status="damaged", problem=str(error))
    same = {name: getattr(status, name) for name in ("id", "experiment", "status", "platform", "started", "ended")}
    return Listed(folder=str(folder), duration=None if status.status == "running" else status.duration, **same)


def _decode(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, OSError, ValueError, RecursionError) as error:  # text that is not UTF-8; lists in lists in lists
        raise EstranError(
            f"{path.name} cannot be read: {error}", where=str(path), remedy="the file is damaged or not Estran's"
        ) from error


def _create(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    columns = ", ".join(f'"{name}" {DUCK_TYPES[kind]}' for name, kind, _ in COLUMNS[table])
    connection.execute(f"CREATE TABLE {table} ({columns})")
