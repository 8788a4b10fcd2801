"""Studies: made, opened, and asked by their tables, those of all of their runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estran.api.experiments import Experiment, Set, asked, command
from estran.api.runs import Run
from estran.api.tables import Tables
from estran.errors import RequestError
from estran.explain.table import read_table
from estran.observe.rows import COLUMNS
from estran.observe.store import DUCK_TYPES, PARQUET
from estran.study.rows import level

if TYPE_CHECKING:
    import duckdb

    from estran.explain.bottleneck import Bottleneck
    from estran.explain.effects import Explanation
    from estran.explain.indices import Indices
    from estran.explain.pareto import Front
    from estran.explain.whatif import Prediction
    from estran.study.execution import Watcher

_NUMBERS: Final[Mapping[type, str]] = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}
_OWN: Final = ("run", "block", "point", "seed", "status", "attempts", "folder")


class Study(Tables):
    """One study, as it is when it is opened.

    Tables are DuckDB relations; all are also names in `sql`: ``runs``, ``messages``, ``metrics``, ``operations``, ``events``,
    ``exchanges``.

    Attributes
    ----------
    path
        Its folder.
    table
        The study's table as arrays.
    """

    _names = ("runs", *PARQUET)

    def __init__(self, path: Path) -> None:
        self.path, self.table = path, read_table(path)

    def __repr__(self) -> str:
        asked = self.table.folder.asked
        done = int(self.table.done.sum())
        return f"<study {asked.experiment}: {asked.design} on {asked.on}, {done} of {self.table.runs} runs done, in {self.path}>"

    def _repr_html_(self) -> str:
        from estran.report.inline import study

        return study(self.table)

    @property
    def runs(self) -> duckdb.DuckDBPyRelation:
        """A row for each run of the design: number, block, seed, levels, status and responses, null where not measured.

        A factor all of whose levels are whole numbers, numbers or truth values has that type; of any other, levels are text.
        """
        return self._connection.table("runs")

    @property
    def factors(self) -> Mapping[str, tuple[Any, ...]]:
        """Levels of each factor."""
        return {name: tuple(map(level, names)) for name, names in self.table.levels.items()}

    @property
    def responses(self) -> tuple[str, ...]:
        """Names of what was measured."""
        return tuple(sorted(self.table.responses))

    @property
    def failures(self) -> Mapping[int, str]:
        """Why runs failed, by their number."""
        outcomes = self.table.folder.outcomes()
        return {run: one.failure or one.status for run, one in outcomes.items() if one.status not in ("done", "todo")}

    def run(self, number: int) -> Run:
        """A run of the design, by its number.

        Raises
        ------
        RequestError
            If there is none of that number, or it has not been made.
        """
        found = self.table.folder.outcomes().get(number)
        if found is None or found.folder is None:
            what = f"there is no run {number}" if found is None else f"run {number} has not been made"
            raise RequestError(what, where=str(self.path), remedy="study.runs lists them")
        return Run(found.folder)

    def explain(self, response: str, *, seed: int = 0) -> Explanation | Indices:
        """What drives a response, as ``estran explain`` has it."""
        if self.table.folder.asked.design in ("sobol", "morris"):
            from estran.explain.indices import explain_by_indices

            return explain_by_indices(self.table, response, np.random.default_rng(seed))
        from estran.explain.effects import explain

        return explain(self.table, response, np.random.default_rng(seed))

    def what_if(self, response: str, **levels: Any) -> Prediction:
        """What a response would be at these levels, as ``estran explain --what-if`` has it."""
        from estran.explain.whatif import predict
        from estran.study.rows import cell

        return predict(self.table, response, {name: cell(value) for name, value in levels.items()})

    def front(self, *responses: str, seed: int = 0) -> Front:
        """Which points no other beats in all of these responses; in accuracy, latency, energy and bytes if none is given."""
        from estran.explain.pareto import front, usual

        return front(self.table, responses or usual(self.table), np.random.default_rng(seed))

    def paths(self, *, seed: int = 0) -> Any:
        """Where the time of messages goes; None where runs recorded no messages."""
        from importlib import import_module

        return import_module("estran.explain.paths").paths(self.table, np.random.default_rng(seed))

    def bottleneck(self) -> Bottleneck:
        """Which resource saturates first."""
        from estran.explain.bottleneck import bottleneck

        return bottleneck(self.table)

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        """The type in SQL of each factor."""
        return {name: _kind(levels) for name, levels in self.factors.items()}

    def _fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._make_runs(connection)
        for name in PARQUET:
            self._make_view(connection, name)

    def _make_runs(self, connection: duckdb.DuckDBPyConnection) -> None:
        table, rows = self.table, self.table.folder.rows
        outcomes = table.folder.outcomes()
        kinds = {**dict.fromkeys(_OWN[:4], "BIGINT"), **self._kinds, "status": "VARCHAR", "attempts": "BIGINT", "folder": "VARCHAR"}
        kinds |= dict.fromkeys(self.responses, "DOUBLE")
        columns = ", ".join(f"{_name(name)} {kind}" for name, kind in kinds.items())
        connection.execute(f"CREATE TABLE runs ({columns})")
        lines = []
        for i, row in enumerate(rows):
            outcome = outcomes[row.run]
            levels = [self._typed(name, table.levels[name][table.codes[name][i]]) for name in table.levels]
            values = [_known(table.responses[name][i]) for name in self.responses]
            folder = None if outcome.folder is None else str(outcome.folder)
            lines.append([row.run, row.block, row.point, row.seed, *levels, outcome.status, outcome.attempts, folder, *values])
        connection.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * len(kinds))})", lines)  # noqa: S608 no text of others

    def _typed(self, name: str, text: str) -> Any:
        return text if self._kinds[name] == "VARCHAR" else level(text)

    def _make_view(self, connection: duckdb.DuckDBPyConnection, table: str) -> None:
        """A view over the Parquet files of all finished runs; the levels come from ``runs`` by the file that a row is from."""
        found = connection.execute("SELECT run, folder FROM runs WHERE status = 'done' ORDER BY run").fetchall()
        files = [(run, Path(folder) / f"{table}.parquet") for run, folder in found]
        paths = [(run, str(path)) for run, path in files if path.exists()]
        own = [column.name for column in COLUMNS[table]]
        if not paths:
            columns = ", ".join(f"NULL::{DUCK_TYPES[kind]} AS {_name(name)}" for name, kind, _ in COLUMNS[table])
            source = f"(SELECT 0::BIGINT AS run, {columns} LIMIT 0)"
        else:
            places = ", ".join(f"({run}, {_text(path)})" for run, path in paths)
            listed = ", ".join(_text(path) for _, path in paths)
            source = (
                f"(SELECT place.run, {', '.join(map(_name, own))} FROM read_parquet([{listed}], filename = 'estran_file') AS rows "  # noqa: S608
                f"JOIN (VALUES {places}) AS place(run, file) ON rows.estran_file = place.file)"
            )
        levels = ", ".join(f"runs.{_name(name)} AS {_name(name if name not in own else f'factor_{name}')}" for name in self.factors)
        columns = ", ".join(f"found.{_name(name)}" for name in own)
        connection.execute(
            f"CREATE VIEW {table} AS SELECT found.run, {levels}, {columns} FROM {source} AS found JOIN runs USING (run)"  # noqa: S608 quoted
        )


def open_study(path: str | Path) -> Study:
    """Open a study's folder.

    Raises
    ------
    RequestError
        If this is no study, or no run of it is done.
    """
    return Study(Path(path))


def study(
    experiment: Experiment | str | Path,
    *,
    on: str = "emulate",
    design: str | Path = "full",
    replicates: int = 3,
    samples: int | None = None,
    set: Set = None,  # noqa: A002 the option's name
    seed: int | None = None,
    jobs: int | None = None,
    engine: str = "local",
    engine_options: Sequence[str] = (),
    ordered: bool = False,
    retries: int = 1,
    calibration: str | None = None,
    out: str | Path = "studies",
    watcher: Watcher | None = None,
) -> Study:
    """Run an experiment at many levels of its factors, as ``estran study`` does; also in a notebook, whose cell waits for it.

    Parameters
    ----------
    experiment
        A loaded one, or its file. What is set is fixed, and no factor.
    on, design, replicates, samples, jobs, engine, engine_options, ordered, retries, calibration, out
        As for ``estran study``.
    set, seed
        As for `load`; beside what the experiment was loaded with.
    watcher
        Who is told how it goes.

    Raises
    ------
    SpecErrors, RequestError
        If the request is wrong, when nothing has been started; or if no run was done.
    KeyboardInterrupt
        If it was interrupted; its notes say how to go on.
    """
    from estran.run.interrupting import outside_a_loop
    from estran.study.execution import Unwatched
    from estran.study.study import Request, begin, conduct

    def make() -> Path:
        found = asked(experiment, set, seed)
        words = command("study", found, on=on, design=design, replicates=replicates, samples=samples, engine=engine)
        request = Request(
            found.file, str(design), samples, replicates, on, found.set, found.seed, calibration, ordered, retries, engine,
            tuple(engine_options),
        )  # fmt: skip
        folder = begin(request, out=Path(out), jobs=jobs)
        try:
            conduct(folder, jobs=jobs, watcher=watcher or Unwatched(), command=words)
        except KeyboardInterrupt as error:
            error.add_note(f"to go on: estran resume {folder.path}")
            raise
        return folder.path

    return Study(outside_a_loop(make))


def _kind(levels: Sequence[Any]) -> str:
    """The type that holds all levels; whole numbers go with others as numbers."""
    kinds = {type(one) for one in levels}
    if len(kinds) == 1 and (kind := next(iter(kinds))) in _NUMBERS:
        return _NUMBERS[kind]
    return "DOUBLE" if kinds == {int, float} else "VARCHAR"


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
