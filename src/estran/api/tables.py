"""Tables that are asked in SQL: DuckDB relations, read when they are used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from estran.errors import RequestError
from estran.observe.store import PARQUET

if TYPE_CHECKING:
    import duckdb


class Tables:
    """Something with tables of messages, metrics, operations, events and exchanges.

    They are DuckDB relations: nothing is read before it is asked for, and ``.arrow()``, ``.df()``, ``.pl()`` or ``.fetchnumpy()``
    make of them what one likes.
    """

    _names: tuple[str, ...] = PARQUET

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        connection = duckdb.connect(":memory:")
        self._fill(connection)
        return connection

    def _fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give a DuckDB all tables."""
        raise NotImplementedError

    def messages(self) -> duckdb.DuckDBPyRelation:
        """All processed messages."""
        return self._connection.sql("FROM messages")

    def metrics(self) -> duckdb.DuckDBPyRelation:
        """All samples of metrics."""
        return self._connection.sql("FROM metrics")

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Ask anything of the tables.

        Raises
        ------
        RequestError
            If the query is wrong.
        """
        import duckdb

        try:
            found = self._connection.sql(query)
        except duckdb.Error as error:
            raise RequestError(str(error), where="sql", remedy=f"tables are {', '.join(self._names)}") from error
        if found is None:
            raise RequestError("this asks for nothing", where="sql", remedy="write SELECT …")
        return found
