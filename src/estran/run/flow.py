"""A run by cost models alone: compile, simulate, and leave a run folder like any other."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estran.components.index import Components
from estran.errors import EstranError
from estran.run.describing import Asked, describe
from estran.run.interrupting import noted_when_asked
from estran.run.journal import Journal
from estran.run.prepare import experiment_folder, find_calibration, read_experiment
from estran.run.record import Progress, RunRecord, Status
from estran.run.session import make_folder, new_run_id
from estran.spec.calibration import Calibration
from estran.spec.model import Experiment

if TYPE_CHECKING:
    from estran.platforms.simulated.flow.engine import Engine
    from estran.platforms.simulated.flow.program import Program
    from estran.run.flow_figures import Figures


@dataclass(frozen=True, slots=True)
class ByCosts:
    """A run by cost models alone that has been asked for, and not yet started.

    Attributes
    ----------
    calibration, file
        The calibration that is in force, and the file that it is from; None for estimates.
    asked
        How it was asked for: for the record.
    """

    experiment: Experiment
    index: Components
    calibration: Calibration | None
    file: Path | None
    asked: Asked

    def execute(self, *, out: Path, progress: Progress, **options: Any) -> tuple[Path, Status]:
        """Make the run; see `execute_flow`."""
        known: dict[str, Any] = {"calibration": self.calibration, "file": self.file, "asked": self.asked}
        return execute_flow(self.experiment, self.index, out=out, progress=progress, **known, **options)


def prepare_by_costs(
    file: str,
    *,
    overrides: Sequence[str] = (),
    assignment: Mapping[str, Any] | None = None,
    seed: int | None = None,
    calibration: str | None = None,
) -> ByCosts:
    """Load an experiment, and the calibration that it is simulated with (see `estran.run.prepare.Simulation`).

    Raises
    ------
    SpecErrors
        All that is wrong with the file.
    RequestError
        If a file does not exist or cannot be read.
    """
    experiment, index = read_experiment(file, overrides=overrides, assignment=assignment, seed=seed)
    known, origin = find_calibration(calibration, experiment_folder(file))
    asked = Asked("simulate", tuple(overrides), dict(assignment or {}), seed, calibration, detail="flow")
    return ByCosts(experiment, index, known, None if origin is None else Path(origin), asked)


def execute_flow(
    experiment: Experiment,
    index: Components,
    *,
    out: Path,
    progress: Progress,
    calibration: Calibration | None = None,
    file: Path | None = None,
    asked: Asked | None = None,
    command: Sequence[str] = (),
    threads: int | None = None,
    named: str | None = None,
) -> tuple[Path, Status]:
    """Simulate an experiment by costs alone; return the run folder and how it ended.

    Parameters
    ----------
    out
        Folder for run folders: the run's is made below the experiment's name and by its own id or, in a study, by the name given.
    file, asked
        The calibration's file, and how the run was asked for: for the record.
    progress
        Told of phases, and of ``simulated`` and ``of``, both in seconds, by its ``live``.
    threads
        How many to use; as many as there are processors, and four at the most, if not given. Results are the same with any number.

    Raises
    ------
    RequestError
        If the experiment holds something that costs alone do not describe; there is no run folder then.

    Notes
    -----
    What grows without bound fails, in its run folder. Ctrl-C ends the run where it is; what was simulated until then is kept.
    """
    from estran.platforms.simulated.flow.building import build

    program = build(experiment, index, calibration)
    measure = experiment.measure
    run_id = new_run_id()
    folder = make_folder(out / experiment.name / run_id if named is None else out / named)
    facts = {
        "id": run_id, "experiment": experiment.name, "platform": "simulate", "detail": "flow", "seed": experiment.seed,
        "warmup": measure.warmup, "duration": measure.duration,
    }  # fmt: skip
    with Journal(run_id, folder):
        record = RunRecord(folder, facts, progress)
        _warn(record, program)
        describe(record, experiment, asked or Asked(on="simulate", detail="flow"), command or sys.argv, file)
        try:
            return folder, _conduct(program, record, progress, threads or min(4, os.cpu_count() or 1))
        except EstranError as error:
            record.fail(error)
            record.end()
            return folder, "failed"


def _warn(record: RunRecord, program: Program) -> None:
    if program.estimated:
        record.warnings.append(f"costs that nobody measured are estimates: {', '.join(program.estimated)}")
    if program.experiment.measure.until is not None:
        record.warnings.append("until: is not looked at by costs alone; the whole duration is simulated")


def _conduct(program: Program, record: RunRecord, progress: Progress, threads: int) -> Status:
    """Check, simulate, measure."""
    from estran.platforms.simulated.flow.engine import Engine
    from estran.platforms.simulated.flow.stability import check
    from estran.run.flow_figures import Figures
    from estran.run.flow_responses import measure, save_histograms

    with record.phase("check"):
        check(program)
    with Engine(program, threads) as engine:
        with record.phase("simulate"), noted_when_asked() as asked:
            _simulate(engine, progress, asked)
        with record.phase("measure"):
            figures = Figures(program, engine)
            responses = measure(figures)
            record.warnings.extend(_full_windows(figures))
            responses.save(record.folder)
            record.note(missing=responses.missing, simulated=engine.now)
            save_histograms(figures, record.folder / "histograms.parquet")
    status: Status = "done" if engine.now >= engine.end else "interrupted"
    if status == "interrupted":
        record.warnings.append(f"interrupted after {engine.now:g} of {engine.end:g} simulated seconds: figures are of these")
    record.end(status)
    return status


def _full_windows(figures: Figures) -> Iterator[str]:
    """Say where more was under way at times than a window holds: a real sender would have been held back."""
    for hop, most in figures.under_way():
        if not hop.latest and most > hop.stream.capacity:
            yield (
                f"{hop.name}: up to about {most:.0f} messages of a channel were under way at once, more than its window of "
                f"{hop.stream.capacity}; a sender that waits for room is not modelled"
            )


def _simulate(engine: Engine, progress: Progress, asked: threading.Event) -> None:
    for now in engine.run():
        progress.live({"simulated": now, "of": engine.end})
        if asked.is_set():
            return
