"""The verb optimize, and what `resume` does with an optimisation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from estran.cli.describe import JsonOption, OnOption, SetOption

if TYPE_CHECKING:
    from estran.optimize.folder import Folder

Several = Annotated[list[str] | None, Parameter(negative=())]


def optimize(
    file: str,
    /,
    *,
    minimize: Several = None,
    maximize: Several = None,
    subject_to: Several = None,
    trials: int = 30,
    replicates: int = 3,
    on: OnOption = "emulate",
    fidelities: str | None = None,
    jobs: int | None = None,
    sampler: str = "tpe",
    prune: str = "none",
    timeout: str | None = None,
    from_: Annotated[list[Path] | None, Parameter(name="--from", negative=())] = None,
    set_: SetOption = None,
    seed: int | None = None,
    calibration: str | None = None,
    out: Path = Path("studies"),
    json: JsonOption = False,
) -> int:
    """Search the levels of an experiment's factors for the best ones.

    Parameters
    ----------
    file
        The experiment file, or its folder.
    minimize
        A response to lower, such as `latency_p99`. Repeatable: several goals are traded against each other.
    maximize
        A response to raise. Repeatable.
    subject_to
        A limit that must be kept, such as `"energy<=40J"`. Repeatable.
    trials
        Runs in all, replicates included.
    replicates
        Runs of a point at the most: points whose place is uncertain are run again, each time with the next seed.
    fidelities
        Instead of `--on`: several, the cheapest first and the one that counts last, such as `flow,simulate,emulate`.
    jobs
        Runs side by side, as for `study`.
    sampler
        What proposes points: `tpe`, `gp` (needs `estran[gp]`), `nsga2` or `random`.
    prune
        Ends hopeless runs in real time, where there is one goal: `median`, `percentile` (only the worst quarter) or `none`.
    timeout
        How long a run may take by the wall clock, such as `5min`; one that takes longer is ended and counts as such.
    from_
        Folder of an earlier study or optimisation with the same factors, whose points guide the search. Repeatable.
    set_
        `path=value`: fix a factor, or change a place in the document. Repeatable.
    seed
        The first seed, instead of the file's.
    calibration
        On simulate: the calibration file, as for `run`.
    out
        Folder for studies.
    json
        Print one JSON object at the end, and no progress.
    """
    from estran.optimize.optimize import Request, begin

    request = Request(
        file, tuple(minimize or ()), tuple(maximize or ()), tuple(subject_to or ()), on,
        None if fidelities is None else tuple(part.strip() for part in fidelities.split(",")), trials, replicates, sampler, seed,
        tuple(set_ or ()), calibration, timeout, prune, tuple(str(path) for path in from_ or ()),
    )  # fmt: skip
    return conduct(begin(request, out=out, jobs=jobs), jobs, json=json)


def _led(folder: Folder) -> str:
    """Which fidelities lead to the one that counts, in words."""
    *lower, target = (fidelity.name for fidelity in folder.fidelities)
    return f": on {target}, led by {' and '.join(lower)}" if lower else ""


def conduct(folder: Folder, jobs: int | None, *, json: bool) -> int:
    """Make the runs, say how it goes, and print the answer."""
    import msgspec
    from rich.console import Console

    from estran.cli.optimizing import watching
    from estran.cli.studying import print_interrupted
    from estran.optimize.optimize import conduct as make
    from estran.report.optimum.reading import write
    from estran.report.optimum.terminal import print_optimum

    console = Console(stderr=True, emoji=False)
    if not json:
        console.print(f"optimisation in {folder.path}{_led(folder)}", highlight=False, soft_wrap=True)
    try:
        with watching(console, folder, quiet=json) as watcher:
            found = make(folder, jobs=jobs, watcher=watcher, command=sys.argv)
    except KeyboardInterrupt:
        print_interrupted(console, folder.path)
        return 1
    told, page = write(folder, found)
    if json:
        data = {"optimisation": str(folder.path), "page": str(page), **found.plain()}
        sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
    else:
        print_optimum(Console(emoji=False), told)
        print(f"→ {page}")
    return 0 if found.recommended is not None else 1
