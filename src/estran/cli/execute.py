"""The verb that runs an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from estran.cli.describe import JsonOption, OnOption, SetOption
from estran.errors import EstranError


def run(
    file: str,
    /,
    *,
    on: OnOption = "emulate",
    set_: SetOption = None,
    seed: int | None = None,
    out: Path = Path("runs"),
    detail: Literal["components", "flow"] = "components",
    calibration: str | None = None,
    trace: Annotated[bool, Parameter(negative=())] = False,
    json: JsonOption = False,
) -> int:
    """Run an experiment: build, verify, measure, report, give back.

    Parameters
    ----------
    file
        The experiment file, or its folder.
    on
        The platform: `simulate`; `emulate`, or `emulate:ENGINE` to insist on one of the engines that `estran doctor` lists.
    set_
        `path=value`: choose a factor's level, or change a place in the document. Repeatable.
    seed
        Instead of the file's.
    out
        Folder for run folders.
    detail
        On simulate: `components` runs the real components in virtual time; `flow` runs cost models alone, for a million hosts.
    calibration
        On simulate: the calibration file; `calibration.json` beside the experiment file if not given, `none` for estimates.
    trace
        On simulate: write the order of events to `trace.txt` in the run folder.
    json
        Print one JSON object at the end, and no progress.
    """
    from rich.console import Console

    from estran.cli.progress import progress_on
    from estran.report.table import print_summary
    from estran.run.prepare import Simulation, prepare
    from estran.run.session import execute

    console = Console(stderr=True)
    simulation = Simulation(calibration, trace)
    prepared = prepare(file, overrides=set_ or (), seed=seed, on=on, simulation=simulation)
    with progress_on(console, prepared, quiet=json) as progress:
        folder, status = execute(prepared, out=out, progress=progress)
        progress.phase("report", None)
        unreported = _report(folder)
    if json:
        from estran.cli.listing import print_run

        print_run(folder)
    else:
        print_summary(Console(), folder)
    if unreported is not None:
        raise unreported
    return 0 if status == "done" else 1


def _report(folder: Path) -> EstranError | None:
    """Write the report; what prevents it is told after the run's own figures, which matter more."""
    from estran.report.page import write_report

    try:
        write_report(folder)
    except EstranError as error:
        return error
    return None
