"""Verbs about studies: study and resume."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from estran.cli.describe import Flag, JsonOption, OnOption, SetOption
from estran.errors import RequestError

if TYPE_CHECKING:
    from estran.study.folder import Folder

EngineOption = Annotated[list[str] | None, Parameter(name="--engine-option", negative=())]


def study(
    file: str,
    /,
    *,
    design: str = "full",
    replicates: int = 3,
    samples: int | None = None,
    on: OnOption = "emulate",
    jobs: int | None = None,
    engine: str = "local",
    engine_option: EngineOption = None,
    set_: SetOption = None,
    seed: int | None = None,
    ordered: Annotated[bool, Flag] = False,
    retries: int = 1,
    calibration: str | None = None,
    out: Path = Path("studies"),
    json: JsonOption = False,
) -> int:
    """Run an experiment at many levels of its factors, and gather the responses in one table.

    Parameters
    ----------
    file
        The experiment file, or its folder.
    design
        `full`: all combinations (of a range, its ends); `fraction`: a part of them; `plackett-burman`: first and last levels only;
        `one-at-a-time`; `latin`, `sobol`, `morris`: between the least and the greatest level, or all over a range; or a CSV file
        with a column for each factor.
    replicates
        How often each point is run, each time with the next seed and in an order of its own.
    samples
        Points of `latin`, base points of `sobol`, trajectories of `morris`.
    jobs
        Runs side by side: as many as there are processors when simulated, else one. With Slurm: array tasks at once, 32.
    engine
        What makes simulated runs: `local` processes, `slurm` array jobs, or tasks of `ray` or `parsl`.
    engine_option
        `name=value`, for the engine. For Slurm any option of `sbatch` (`partition=debug`, `time=10:00`), and `chunk=N`, the runs of
        an array task; for Ray `address`; for Parsl `config`. Repeatable.
    set_
        `path=value`: fix a factor, or change a place in the document. Repeatable.
    seed
        The first seed, instead of the file's.
    ordered
        Keep the order of the design instead of drawing one.
    retries
        How often a failed run is made again.
    calibration
        On simulate: the calibration file, as for `run`.
    out
        Folder for studies.
    json
        Print one JSON object at the end, and no progress.
    """
    from estran.study.study import Request, begin

    request = Request(
        file, design, samples, replicates, on, tuple(set_ or ()), seed, calibration, ordered, retries,
        engine, tuple(engine_option or ()),
    )  # fmt: skip
    return _conduct(begin(request, out=out, jobs=jobs), jobs, json=json)


def resume(
    folder: Path,
    /,
    *,
    jobs: int | None = None,
    engine: str | None = None,
    engine_option: EngineOption = None,
    json: JsonOption = False,
) -> int:
    """Go on with a study or an optimisation that was interrupted or killed; finished runs are kept.

    Parameters
    ----------
    folder
        Its folder.
    jobs
        Runs side by side, as for `study`.
    engine
        What makes the runs from now on, as for `study`; the engine that the study was begun with if not given.
    engine_option
        As for `study`; those that the study was begun with if none are given.
    json
        Print one JSON object at the end, and no progress.
    """
    from estran.study.study import reopen

    if (folder / "optimize.json").exists():
        from estran.cli.optimize import conduct
        from estran.optimize.optimize import reopen as reopen_search

        if engine is not None or engine_option:
            remedy = "leave --engine and its options out"
            raise RequestError("an optimisation's runs are made on this machine", where="--engine", remedy=remedy)
        return conduct(reopen_search(folder), jobs, json=json)
    return _conduct(reopen(folder, engine, tuple(engine_option or ())), jobs, json=json)


def _conduct(folder: Folder, jobs: int | None, *, json: bool) -> int:
    from rich.console import Console

    from estran.cli.studying import print_interrupted, print_plain, print_study, watching
    from estran.study.study import conduct

    console = Console(stderr=True, emoji=False)
    if not json:
        console.print(f"study in {folder.path}", highlight=False)
        for note in folder.asked.notes:
            console.print(f"mind: {note}", style="dim", highlight=False, soft_wrap=True)
    try:
        with watching(console, folder, quiet=json) as watcher:
            outcomes = conduct(folder, jobs=jobs, watcher=watcher, command=sys.argv)
    except KeyboardInterrupt:
        print_interrupted(console, folder.path)
        return 1
    if json:
        print_plain(folder, outcomes)
    else:
        print_study(Console(emoji=False), folder, outcomes)
    return 0 if all(outcomes[row.run].status == "done" for row in folder.rows) else 1
