"""A study from its request to its table: what `estran study` and `estran resume` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, Final

import numpy as np

from estran.errors import RequestError, SpecErrors, cause
from estran.run.interrupting import carried_out
from estran.run.prepare import Simulation, experiment_path, prepare, read_experiment
from estran.run.session import new_run_id
from estran.spec.plan import Plan
from estran.study.design import KINDS, Point, notes, points
from estran.study.engines.engine import Choice
from estran.study.engines.opening import check
from estran.study.execution import Watcher, carry_out
from estran.study.factors import Factor, counting, factors_of, settled
from estran.study.folder import DOCUMENT, Asked, Folder, Outcome, digest
from estran.study.lock import alone
from estran.study.rows import arranged, read_points

SEARCHED: Final = "optimize"
"""What the design of a study is called whose points are chosen as it goes on."""
CHECKED: Final = 200
"""Points of a design that are all checked before the first run; of larger designs every level is, once."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to study.

    Attributes
    ----------
    file
        The experiment file or its folder.
    design
        Name of a design, or a CSV file of points.
    samples
        Of designs that draw.
    replicates
        Blocks: how often every point is run, each time with the next seed.
    seed
        The first seed, instead of the file's; the order of runs and what a design draws follow from it too.
    ordered
        Keep the order of the design instead of drawing one.
    retries
        How often a failed run is made again.
    engine, engine_options
        What makes the runs.
    """

    file: str
    design: str = "full"
    samples: int | None = None
    replicates: int = 3
    on: str = "emulate"
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    calibration: str | None = None
    ordered: bool = False
    retries: int = 1
    engine: str = "local"
    engine_options: tuple[str, ...] = ()


def begin(request: Request, *, out: Path, jobs: int | None = None) -> Folder:
    """Check what is asked, also whether so many ``jobs`` can go on side by side; choose the design, and make the study's folder.

    Raises
    ------
    RequestError
        If it cannot be done so; nothing has been started or written.
    """
    if request.replicates < 1:
        raise RequestError(f"{request.replicates} replicates are none", where="--replicates", remedy="give 1 or more")
    if request.retries < 0:
        raise RequestError(f"{request.retries} retries are fewer than none", where="--retries", remedy="give 0 or more")
    if request.calibration is not None and request.on != "simulate":
        raise RequestError(f"--calibration has no meaning on {request.on}", where="--calibration", remedy="add --on simulate")
    check(Choice.read(request.engine, request.engine_options), request.on)
    experiment, _ = read_experiment(request.file, overrides=request.overrides, seed=request.seed)
    fixed = {name for name, _, _ in (override.partition("=") for override in request.overrides)}
    factors = factors_of(experiment.variations, {n: level for n, level in experiment.assignment.items() if n in fixed})
    rng = np.random.default_rng(experiment.seed)
    chosen = _points(request, factors, rng)
    _check(request, chosen, factors)
    order = None if request.ordered else rng
    rows = arranged(chosen, request.replicates, experiment.seed, order, apart=request.design not in KINDS)
    file = experiment_path(request.file)
    asked = Asked(
        experiment=experiment.name,
        file=str(file.resolve()),
        digest=digest(file),
        on=request.on,
        calibration=_absolute(request.calibration),
        overrides=request.overrides,
        design=request.design,
        samples=request.samples,
        replicates=request.replicates,
        seed=experiment.seed,
        retries=request.retries,
        factors={factor.name: factor.levels for factor in factors},
        details={factor.name: details for factor in factors if (details := factor.details) is not None},
        engine=request.engine,
        engine_options=request.engine_options,
        notes=tuple(notes(request.design, factors)),
    )
    path = out / experiment.name / new_run_id()
    _jobs(Folder(path, asked, rows), jobs)
    return Folder.make(path, asked, rows)


def reopen(path: Path, engine: str | None = None, engine_options: tuple[str, ...] = ()) -> Folder:
    """Open a study to go on with it.

    Parameters
    ----------
    engine, engine_options
        What makes the runs from now on; None for what the study was begun with, with its options unless there are others.

    Raises
    ------
    RequestError
        If this is no study, or the experiment file is no longer the one that it was begun with.
    """
    folder = Folder.open(path)
    asked = folder.asked
    if asked.design == SEARCHED:
        raise RequestError(
            "this is part of an optimisation", where=str(path), remedy=f"estran resume {quote(str(path.resolve().parent))}"
        )
    make_sure_unchanged(asked.file, asked.digest)
    name = engine or asked.engine
    options = engine_options or (asked.engine_options if name == asked.engine else ())
    check(Choice.read(name, options), asked.on)
    return Folder(folder.path, replace(asked, engine=name, engine_options=options), folder.rows)


def make_sure_unchanged(file: str, known: str) -> None:
    """Make sure that an experiment file is still that with a digest.

    Raises
    ------
    RequestError
        If it has changed or is gone.
    """
    path = Path(file)
    if not path.exists() or digest(path) != known:
        what = "has changed since the study began" if path.exists() else "is gone"
        raise RequestError(f"the experiment file {what}", where=file, remedy="restore it, or begin a new study")


def conduct(folder: Folder, *, jobs: int | None, watcher: Watcher, command: Sequence[str]) -> dict[int, Outcome]:
    """Make all runs of a study that are still to be made.

    Parameters
    ----------
    jobs
        Runs side by side; None for as many as the platform bears: simulated runs one a processor, others one at all. On other
        engines than this machine: array tasks of Slurm, or tasks, at once; None for as many as the engine takes to be right.

    Raises
    ------
    RequestError
        If so many side by side would disturb each other, or another process makes the study's runs.
    KeyboardInterrupt
        If it was interrupted; runs that went on have ended in good order, and `estran resume` goes on.
    """
    choice = Choice.read(folder.asked.engine, folder.asked.engine_options)
    chosen = _jobs(folder, jobs)
    with alone(folder.path / DOCUMENT):
        try:
            return carried_out(carry_out(folder, choice, jobs=chosen, watcher=watcher, command=command))
        except ExceptionGroup as error:
            raise cause(error) from error


def _points(request: Request, factors: Sequence[Factor], rng: np.random.Generator) -> list[Point]:
    if request.design in KINDS or not request.design.endswith(".csv"):
        return points(request.design, factors, request.samples, rng)
    if request.samples is not None:
        raise RequestError("a file has the points that it has", where="--samples", remedy="leave it out")
    return read_points(Path(request.design), factors)


def _check(request: Request, chosen: Sequence[Point], factors: Sequence[Factor]) -> None:
    """Make sure that every run could begin: of large designs, that every level is possible beside the first point's others.

    Raises
    ------
    RequestError
        Naming the first point that cannot be, with all that is wrong there.
    """
    simulation = Simulation(request.calibration) if request.on == "simulate" else None
    prepared = prepare(request.file, overrides=request.overrides, assignment=chosen[0], on=request.on, simulation=simulation)
    prepared.refuse_impossible()
    if len(chosen) <= CHECKED:
        tried: list[Point] = list(chosen)
    else:
        tried = [
            settled({**chosen[0], **counting(f, factors), f.name: level}, factors)
            for f in factors
            for level in _distinct(point[f.name] for point in chosen)[:CHECKED]
        ]
    for point in _distinct(tried):
        try:
            read_experiment(request.file, overrides=request.overrides, assignment=point)
        except SpecErrors as errors:
            where = ", ".join(f"{name}={value}" for name, value in point.items())
            raise RequestError(
                f"a point of the design cannot be: {errors}", where=where, remedy="change or remove that level"
            ) from errors


def _distinct(values: Any) -> list[Any]:
    found: list[Any] = []
    seen: set[str] = set()
    for value in values:
        if (key := repr(value)) not in seen:
            seen.add(key)
            found.append(value)
    return found


def _jobs(folder: Folder, asked: int | None) -> int | None:
    if folder.asked.engine == "local" or (asked is not None and asked < 1):
        return side_by_side(asked, folder.asked.on, lambda: _plans(folder))
    return asked


def side_by_side(asked: int | None, on: str, plans: Callable[[], Sequence[Plan]]) -> int:
    """How many runs go on at once on this machine: simulated ones one a processor, others one at all unless more are asked for.

    Parameters
    ----------
    plans
        Those of runs that may go on side by side; called if it matters what they need.

    Raises
    ------
    RequestError
        If so many side by side would disturb each other.
    """
    cores = len(os.sched_getaffinity(0))
    if asked is not None and asked < 1:
        raise RequestError(f"{asked} jobs do nothing", where="--jobs", remedy="give 1 or more")
    if on.partition(":")[0] == "simulate":
        return asked or cores
    if asked is None or asked == 1:
        return 1
    needed = max(_processors(plan) for plan in plans())
    if needed * asked > cores:
        raise RequestError(
            f"{asked} runs side by side may use {needed * asked:.1f} processors of {cores}, and would disturb each other",
            where="--jobs",
            remedy=f"give {max(1, int(cores / needed))}",
        )
    return asked


def _plans(folder: Folder) -> list[Plan]:
    asked = folder.asked
    levels = _distinct(dict(row.levels) for row in folder.rows)[:CHECKED]
    return [prepare(asked.file, overrides=asked.overrides, assignment=point, on=asked.on).plan for point in levels]


def _processors(plan: Plan) -> float:
    """Processors of this machine that all hosts of a plan may use together."""
    return sum(host.device.cores * host.device.speed for host in plan.hosts.values())


def _absolute(calibration: str | None) -> str | None:
    return calibration if calibration in (None, "none") else str(Path(calibration).resolve())
