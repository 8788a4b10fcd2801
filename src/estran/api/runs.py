"""Runs: made, opened, and asked what they measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from estran.api.experiments import Experiment, Set, asked, command
from estran.api.tables import Tables
from estran.errors import EstranError, RequestError

if TYPE_CHECKING:
    import duckdb

    from estran.observe.queries import Run as Recorded
    from estran.report.folder import Response, RunFolder
    from estran.run.record import Progress


class Run(Tables):
    """One run, as its folder has it; of one that goes on, what there was when it was opened.

    Tables are DuckDB relations; all are also names in `sql`: ``messages``, ``metrics``, ``operations``, ``events``, ``exchanges``.

    Attributes
    ----------
    path
        Its folder.
    """

    def __init__(self, path: Path) -> None:
        from estran.observe.queries import open_run
        from estran.report.folder import read_folder

        self.path = path
        self._recorded: Recorded = open_run(path)
        self._documents: RunFolder = read_folder(path)

    def __repr__(self) -> str:
        return f"<run {self._documents.name}: {self.status} on {self._recorded.status.platform}, seed {self.seed}, in {self.path}>"

    def _repr_html_(self) -> str:
        from estran.report.inline import run

        return run(self._documents)

    @property
    def status(self) -> str:
        """``running``, ``done``, ``failed`` or ``interrupted``."""
        return self._recorded.status.status

    @property
    def seed(self) -> int:
        """Of the experiment."""
        return self._recorded.status.seed

    @property
    def levels(self) -> Mapping[str, Any]:
        """The level that was in force for each factor."""
        return self._documents.factors

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """Where it failed, why, and what to do: phase, host, service, what, remedy; None if it did not."""
        return self._documents.failure

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to mind, weaker ways that were taken among it."""
        return tuple(map(str, self._recorded.status.warnings))

    @property
    def responses(self) -> Mapping[str, Response]:
        """What was measured, by name: ``value``, ``unit``, ``n``, and ``low`` and ``high`` of the 95 % confidence interval."""
        return self._documents.responses

    @cached_property
    def report(self) -> Path:
        """Its self-contained HTML report, written if it is not there."""
        from estran.report.page import NAME, write_report

        path = self.path / NAME
        return path if path.exists() else write_report(self.path)

    def log(self, replica: str) -> list[str]:
        """Lines that a replica wrote, each ``time channel text``.

        Raises
        ------
        RequestError
            If the run has no such replica; it says which there are.
        """
        return self._recorded.log(replica)

    def _fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._recorded.attach(connection)


class RunFailedError(EstranError):
    """A run failed.

    Attributes
    ----------
    run
        What there is of it.
    """

    def __init__(self, run: Run) -> None:
        failure = run.failure or {}
        where = " · ".join(str(failure[name]) for name in ("phase", "host", "service") if failure.get(name))
        super().__init__(str(failure.get("what") or f"the run was {run.status}"), where=where or None, remedy=failure.get("remedy"))
        self.run = run


def open_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises
    ------
    RequestError
        If it is none.
    EstranError
        If one of its documents is damaged.
    """
    return Run(Path(path))


def run(
    experiment: Experiment | str | Path,
    *,
    on: str = "emulate",
    set: Set = None,  # noqa: A002 the option's name
    seed: int | None = None,
    out: str | Path = "runs",
    detail: Literal["components", "flow"] = "components",
    calibration: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run an experiment, as ``estran run`` does; also in a notebook, whose cell waits for it.

    Parameters
    ----------
    experiment
        A loaded one, or its file.
    on, detail, calibration
        As for ``estran run``.
    set, seed
        As for `load`; beside what the experiment was loaded with.
    out
        Folder for run folders.
    progress
        Who is told how it goes.

    Raises
    ------
    SpecErrors, RequestError
        If the request is wrong; nothing has been started.
    RunFailedError
        If the run failed. It has a folder all the same, as ``.run``.
    KeyboardInterrupt
        If it was interrupted; everything has been given back, and what was measured is in its folder.
    """
    from estran.run.interrupting import outside_a_loop

    folder, status = outside_a_loop(lambda: _made(asked(experiment, set, seed), on, Path(out), detail, calibration, progress))
    made = Run(folder)
    if status != "done":
        raise RunFailedError(made)
    return made


def _made(
    experiment: Experiment, on: str, out: Path, detail: str, calibration: str | None, progress: Progress | None
) -> tuple[Path, str]:
    from estran.report.page import reported
    from estran.run.record import QuietProgress

    told = progress or QuietProgress()
    words = command("run", experiment, on=on, calibration=calibration, detail=None if detail == "components" else detail)
    if detail == "flow":
        from estran.run.flow import prepare_by_costs

        if on != "simulate":
            raise RequestError(f"detail='flow' has no meaning on {on}", where="detail", remedy="add on='simulate'")
        by_costs = prepare_by_costs(experiment.file, overrides=experiment.set, seed=experiment.seed, calibration=calibration)
        folder, status = by_costs.execute(out=out, progress=told, command=words)
    else:
        from estran.run.prepare import Simulation, prepare
        from estran.run.session import execute

        simulation = Simulation(calibration)
        prepared = prepare(experiment.file, overrides=experiment.set, seed=experiment.seed, on=on, simulation=simulation)
        folder, status = execute(prepared, out=out, progress=told, command=words)
    unreported = reported(folder)
    if status == "interrupted":
        raise KeyboardInterrupt(f"the run was interrupted; what it measured is in {folder}")
    if unreported is not None and status == "done":
        raise unreported
    return folder, status
