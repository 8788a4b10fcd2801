"""The verb that runs an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from estran.cli.describe import Flag, JsonOption, OnOption, SetOption
from estran.errors import EstranError, RequestError


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
    trace: Annotated[bool, Flag] = False,
    keep: Annotated[bool, Flag] = False,
    watch: Annotated[bool, Flag] = False,
    json: JsonOption = False,
) -> int:
    """Run an experiment: build, verify, measure, report, give back.

    Parameters
    ----------
    file
        The experiment file, or its folder.
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
    keep
        Keep what is reserved, on a testbed or in Slurm, for later runs; the summary says how it is given back.
    watch
        Show the run on a page in the browser while it goes on; the page ends with the run. Later: `estran watch`. In simulated time
        the page opens when the run is over, replays it, and ends with Ctrl-C.
    json
        Print one JSON object at the end, and no progress.
    """
    from rich.console import Console

    from estran.report.page import reported
    from estran.report.table import print_summary

    # Nobody reads along in simulated time: what has passed is replayed, when it is over.
    afterwards, watch = watch and on == "simulate", watch and on != "simulate"
    if afterwards:
        from estran.cli.watch import check_installed

        check_installed()
    if detail == "flow":
        if keep:
            raise RequestError("cost models reserve nothing that could be kept", where="--keep", remedy="leave it out")
        folder, status = _by_costs(file, set_ or (), on=on, seed=seed, out=out, calibration=calibration, trace=trace, json=json)
        unreported = reported(folder)
    else:
        folder, status, unreported = _by_components(file, set_ or (), on, seed, out, calibration, trace, keep, watch, json)
    if json:
        from estran.cli.listing import print_run

        print_run(folder)
    else:
        print_summary(Console(emoji=False), folder)
    if unreported is not None:
        raise unreported
    if afterwards:
        from estran.cli.watch import watch as show

        show(str(folder), out=out)
    return 0 if status == "done" else 1


def _by_components(
    file: str,
    overrides: Sequence[str],
    on: str,
    seed: int | None,
    out: Path,
    calibration: str | None,
    trace: bool,
    keep: bool,
    watch: bool,
    quiet: bool,
) -> tuple[Path, str, EstranError | None]:
    """Run the real components, on real hosts or in virtual time."""
    from rich.console import Console

    from estran.cli.progress import progress_on
    from estran.cli.watch import watched
    from estran.report.page import reported
    from estran.run.prepare import Simulation, prepare
    from estran.run.session import execute, new_run_id

    simulation = Simulation(calibration, trace)
    prepared = prepare(file, overrides=overrides, seed=seed, on=on, simulation=simulation)
    console, run_id = Console(stderr=True, emoji=False), new_run_id()
    beside = watched(console, out / prepared.experiment.name / run_id, out) if watch else nullcontext()
    with beside, progress_on(console, prepared, quiet=quiet) as progress:
        folder, status = execute(prepared, out=out, progress=progress, run_id=run_id, keep=keep)
        progress.phase("report", None)
        return folder, status, reported(folder)


def _by_costs(
    file: str,
    overrides: Sequence[str],
    *,
    on: str,
    seed: int | None,
    out: Path,
    calibration: str | None,
    trace: bool,
    json: bool,
) -> tuple[Path, str]:
    """Run cost models alone.

    Raises
    ------
    RequestError
        If that is asked of another platform, or together with what it cannot do.
    """
    from estran.cli.flow import run_flow

    if on != "simulate":
        raise RequestError(f"--detail flow has no meaning on {on}", where="--detail", remedy="add --on simulate")
    if trace:
        raise RequestError("cost models have no events to trace", where="--trace", remedy="leave out --detail flow")
    return run_flow(file, overrides, seed=seed, out=out, calibration=calibration, quiet=json)
