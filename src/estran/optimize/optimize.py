"""An optimisation from its request to its answer: what `estran optimize` and `estran resume` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.errors import EstranError, RequestError, cause
from estran.optimize import pruning, sampling
from estran.optimize.answer import Answer, answer
from estran.optimize.earlier import known_of
from estran.optimize.fidelity import Fidelity, ladder
from estran.optimize.folder import ASKED, Asked, Folder, gathered
from estran.optimize.goals import Goals
from estran.optimize.loop import Watcher, recall, search
from estran.optimize.recommended_file import recommended_text
from estran.optimize.running import Runs
from estran.optimize.space import Space
from estran.optimize.strategies import strategy_of, trust_in_words
from estran.optimize.trials import Trials
from estran.run.interrupting import carried_out
from estran.run.prepare import Simulation, experiment_path, prepare, read_experiment
from estran.run.record import write_json, write_text
from estran.run.session import new_run_id
from estran.spec.plan import Plan
from estran.study.engines.local import Local
from estran.study.factors import factors_of
from estran.study.folder import digest
from estran.study.lock import alone
from estran.study.rows import cell, csv_text
from estran.study.study import make_sure_unchanged, side_by_side
from estran.units import QuantityError, parse

ANSWER: Final = "answer.json"
FRONT: Final = "front.csv"
RECOMMENDED: Final = "recommended.yaml"
CHECKED: Final = 50
"""Levels of the space that are checked before the first run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to optimise.

    Attributes
    ----------
    file
        The experiment file or its folder.
    minimize, maximize, subject_to
        Goals and limits, as on the command line.
    fidelities
        Cheapest first, the last one is the target; None for ``on`` alone.
    trials
        Runs at the target, replicates included.
    replicates
        Of a point at the most.
    timeout
        Of a run, as text (``5min``).
    prune
        Which pruner ends hopeless runs.
    earlier
        Folders of studies and optimisations to start from.
    """

    file: str
    minimize: tuple[str, ...] = ()
    maximize: tuple[str, ...] = ()
    subject_to: tuple[str, ...] = ()
    on: str = "emulate"
    fidelities: tuple[str, ...] | None = None
    trials: int = 30
    replicates: int = 3
    sampler: str = "tpe"
    seed: int | None = None
    overrides: tuple[str, ...] = ()
    calibration: str | None = None
    timeout: str | None = None
    prune: str = "none"
    earlier: tuple[str, ...] = ()


def begin(request: Request, *, out: Path, jobs: int | None = None) -> Folder:
    """Check what is asked, also whether so many ``jobs`` can go on side by side, and make the optimisation's folder.

    Raises
    ------
    RequestError
        If it cannot be done so; nothing has been started or written.
    """
    goals = Goals.read(request.minimize, request.maximize, request.subject_to)
    _positive("--trials", request.trials)
    _positive("--replicates", request.replicates)
    fidelities = ladder([request.on] if request.fidelities is None else [*request.fidelities])
    sampling.check(request.sampler, goals)
    pruning.check(request.prune, goals, fidelities[-1])
    _check_calibration(request, fidelities)
    experiment, _ = read_experiment(request.file, overrides=request.overrides, seed=request.seed)
    fixed = {name for name, _, _ in (override.partition("=") for override in request.overrides)}
    factors = factors_of(experiment.variations, {n: level for n, level in experiment.assignment.items() if n in fixed})
    _check(request, Space(factors), fidelities)
    file = experiment_path(request.file)
    asked = Asked(
        experiment=experiment.name,
        file=str(file.resolve()),
        digest=digest(file),
        fidelities=tuple(one.plain() for one in fidelities),
        calibration=_absolute(request.calibration),
        overrides=request.overrides,
        goals=goals.plain(),
        trials=request.trials,
        replicates=request.replicates,
        sampler=request.sampler,
        seed=experiment.seed,
        timeout=_seconds(request.timeout),
        prune=request.prune,
        earlier=tuple(str(Path(one).resolve()) for one in request.earlier),
        factors={factor.name: factor.levels for factor in factors},
        details={factor.name: details for factor in factors if (details := factor.details) is not None},
    )
    known_of(asked.earlier, Space(factors), goals, asked)  # refuses what is no study before anything is written
    path = out / experiment.name / new_run_id()
    for one in fidelities:
        _width(Folder(path, asked), one, jobs)
    return Folder.make(path, asked)


def reopen(path: Path) -> Folder:
    """Open an optimisation to go on with it.

    Raises
    ------
    RequestError
        If this is none, or the experiment file is no longer the one that it was begun with.
    """
    folder = Folder.open(path)
    make_sure_unchanged(folder.asked.file, folder.asked.digest)
    return folder


def conduct(folder: Folder, *, jobs: int | None, watcher: Watcher, command: Sequence[str]) -> Answer:
    """Make all runs that are still to be made, and write what they found.

    Parameters
    ----------
    jobs
        Runs side by side; None for as many as the target bears, as in a study.

    Raises
    ------
    RequestError
        If a response that is asked for is not measured, so many runs side by side would disturb each other, or another process
        makes its runs.
    KeyboardInterrupt
        If it was interrupted; runs that went on have ended in good order, and `estran resume` goes on.
    """
    widths = {one.name: _width(folder, one, jobs) for one in folder.fidelities}
    with alone(folder.path / ASKED):
        try:
            carried_out(_carry_out(folder, widths, watcher, command))
        except ExceptionGroup as error:
            raise cause(error) from error
    return conclude(folder)


def conclude(folder: Folder) -> Answer:
    """Say what the trials so far found, and write it: ``answer.json``, ``front.csv`` and ``recommended.yaml``."""
    asked, journal = folder.asked, folder.journal()
    trials = gathered(journal)
    _, notes = known_of(asked.earlier, folder.space, folder.goals, asked)
    if asked.prune != "none" and journal.silent:
        name = folder.goals.goals[0].response
        notes.append(f"no run could be ended early: {name} was not known while runs went on")
    notes += trust_in_words(folder, journal)
    notes += folder.goals.bare(_units(folder))
    found = answer(
        trials,
        folder.goals,
        experiment=asked.experiment,
        target=folder.target.name,
        units=_units(folder),
        seed=asked.seed,
        notes=notes,
    )
    write_json(folder.path / ANSWER, found.plain())
    write_text(folder.path / FRONT, _front_text(found, list(asked.factors)))
    if found.recommended is not None:
        write_text(folder.path / RECOMMENDED, recommended_text(folder, found))
    return found


def _width(folder: Folder, fidelity: Fidelity, jobs: int | None) -> int:
    """Runs of a fidelity side by side: ``jobs`` is for the target, and for what is simulated if the target is, too."""
    asked = jobs if fidelity == folder.target or folder.target.virtual or not fidelity.virtual else None
    return side_by_side(asked, fidelity.on, lambda: [_plan(folder, fidelity)])


async def _carry_out(folder: Folder, widths: Mapping[str, int], watcher: Watcher, command: Sequence[str]) -> None:
    journal, trials, strategy = folder.journal(), Trials(), strategy_of(folder, widths)
    cut = recall(journal, strategy, trials)
    async with AsyncExitStack() as stack:
        engines = {name: await stack.enter_async_context(Local(width)) for name, width in widths.items()}
        runs = Runs(folder, trials, engines, pruning=_pruning(folder, journal, trials), command=command, mind=watcher.mind)
        await search(strategy, trials, journal, runs, cut=cut, widths=widths, watcher=watcher)


def _pruning(folder: Folder, journal: Any, trials: Trials) -> pruning.Pruning | None:
    if folder.asked.prune == "none":
        return None
    experiment, _ = read_experiment(folder.asked.file, overrides=folder.asked.overrides)
    measure = experiment.measure
    goal = folder.goals.goals[0]
    return pruning.Pruning(folder.asked.prune, goal, journal, trials, warmup=measure.warmup, duration=measure.duration)


def _plan(folder: Folder, fidelity: Fidelity) -> Plan:
    asked = folder.asked
    return prepare(asked.file, overrides=asked.overrides, assignment=folder.space.default, on=fidelity.on).plan


def _check(request: Request, space: Space, fidelities: Sequence[Fidelity]) -> None:
    """Make sure that runs can begin: the default on every platform, and each level by itself.

    Raises
    ------
    RequestError
        Naming what cannot be.
    """
    from estran.errors import SpecErrors

    for one in fidelities:
        if one.flow:
            _check_flow(request, space)
            continue
        simulation = Simulation(request.calibration) if one.virtual else None
        prepared = prepare(request.file, overrides=request.overrides, assignment=space.default, on=one.on, simulation=simulation)
        prepared.refuse_impossible()
    for levels in space.corners()[:CHECKED]:
        try:
            read_experiment(request.file, overrides=request.overrides, assignment=levels)
        except SpecErrors as errors:
            where = ", ".join(f"{name}={level}" for name, level in levels.items())
            raise RequestError(
                f"a point of the space cannot be: {errors}", where=where, remedy="change or remove that level"
            ) from errors


def _check_flow(request: Request, space: Space) -> None:
    """Make sure that cost models alone describe the default.

    Raises
    ------
    RequestError
        Saying what they do not.
    """
    from estran.platforms.simulated.flow.building import build
    from estran.run.prepare import experiment_folder, find_calibration

    experiment, index = read_experiment(request.file, overrides=request.overrides, assignment=space.default)
    calibration, _ = find_calibration(request.calibration, experiment_folder(request.file))
    try:
        build(experiment, index, calibration)
    except EstranError as error:
        remedy = "leave flow out: --fidelities simulate,emulate"
        what = f"flow cannot simulate this: {error.what}"
        raise RequestError(what, where=error.where or "--fidelities", remedy=remedy) from error


def _front_text(found: Answer, names: Sequence[str]) -> str:
    bounds = [f"{name}{end}" for name in found.responses for end in ("", "_low", "_high")]
    header = ["point", *names, *bounds, "feasible", "front", "recommended", "default"]
    lines = []
    for one in sorted(found.front, key=lambda one: one.means):
        figures: list[str] = []
        for mean, interval in zip(one.means, one.ci95, strict=True):
            figures += [repr(mean), *(map(repr, interval) if interval else ("", ""))]
        marks = [str(one.point == found.recommended).lower(), str(one.point == 0).lower()]
        levels = [cell(one.levels[name]) for name in names]
        lines.append([one.point, *levels, *figures, f"{one.feasible:.4g}", f"{one.front:.4g}", *marks])
    return csv_text(header, lines)


def _units(folder: Folder) -> dict[str, str]:
    import json

    file = folder.path / folder.target.name / "units.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _positive(option: str, value: int) -> None:
    if value < 1:
        raise RequestError(f"{value} make no optimisation", where=option, remedy="give 1 or more")


def _check_calibration(request: Request, fidelities: Sequence[Fidelity]) -> None:
    if request.calibration is not None and not any(one.virtual for one in fidelities):
        raise RequestError(f"--calibration has no meaning on {request.on}", where="--calibration", remedy="add --on simulate")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse(text, "duration")
    except QuantityError as error:
        raise RequestError(error.what, where="--timeout", remedy=error.remedy) from error
    if not seconds:
        raise RequestError("no run takes no time", where="--timeout", remedy="write --timeout 5min")
    return seconds


def _absolute(calibration: str | None) -> str | None:
    return calibration if calibration in (None, "none") else str(Path(calibration).resolve())
