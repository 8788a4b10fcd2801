"""One run from its preparation to a finished run folder: what `estran run` does, as one function."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from estran.errors import RequestError
from estran.observe.secrets import secrets_in, without_in_document
from estran.platforms.base import Platform, Reserving
from estran.run.conductor import Conductor
from estran.run.describing import describe
from estran.run.interrupting import cancelled_when_asked
from estran.run.journal import Journal
from estran.run.prepare import Prepared, plain_plan
from estran.run.record import Progress, RunRecord, Status, write_json


def execute(
    prepared: Prepared,
    *,
    out: Path,
    progress: Progress,
    command: Sequence[str] = (),
    named: str | None = None,
    keep: bool = False,
    run_id: str | None = None,
    conduct: Callable[..., Conductor] = Conductor,
) -> tuple[Path, Status]:
    """Run what was prepared; return the run folder and how it ended.

    Parameters
    ----------
    out
        Where the run's folder is made: below the experiment's name and by its own id, or, in a study, by the name that is given.
    keep
        Keep what is reserved for later runs.
    run_id
        Its id, where somebody already waits for it by that; a new one if not given.
    conduct
        Makes the conductor, of a kind of its own if the run is.

    Raises
    ------
    RequestError
        If the platform cannot do what is asked, or has nothing to keep; nothing has been started.
    KeyboardInterrupt
        If the run was interrupted; everything has been given back, and what was measured is in the folder.
    """
    prepared.refuse_impossible()
    kept = _keeping(prepared.platform) if keep else None
    experiment = prepared.experiment
    run_id = run_id or new_run_id()
    folder = out / experiment.name / run_id if named is None else out / named
    facts = {
        "id": run_id,
        "experiment": experiment.name,
        "platform": prepared.platform.name,
        "seed": experiment.seed,
        "warmup": experiment.measure.warmup,
        "duration": experiment.measure.duration,
    }
    with Journal(run_id, folder):
        try:
            record = RunRecord(make_folder(folder), facts, progress)
        except KeyboardInterrupt:
            shutil.rmtree(folder, ignore_errors=True)  # nothing has begun, and nothing would say so
            raise
        if kept is not None:
            record.note(kept=kept)  # filled when the run lets go of what it had
        record.warnings.extend([*prepared.plan.warnings, *(problem.what for problem in prepared.problems)])
        try:
            describe(record, experiment, prepared.asked, command or sys.argv, prepared.calibration)
            record.secrets += secrets_in(prepared.asked.overrides)
            write_json(folder / "plan.json", without_in_document(plain_plan(prepared.plan), record.secrets))
            conductor = conduct(prepared.plan, prepared.platform, prepared.components, folder, run_id, record, progress)
            with asyncio.Runner(loop_factory=prepared.platform.loop_factory) as runner:
                return folder, runner.run(_interruptible(conductor))
        except KeyboardInterrupt:  # before the conductor began, or after it ended
            if record.status == "running":
                record.end("interrupted")
            raise


def _keeping(platform: Platform) -> list[str]:
    """Have a platform keep what it reserves, and say there what that is."""
    if not isinstance(platform, Reserving):
        raise RequestError(f"{platform.name} reserves nothing that could be kept", where="--keep", remedy="leave it out")
    kept: list[str] = []
    platform.keep(kept.append)
    return kept


async def _interruptible(conductor: Conductor) -> Status:
    """Conduct; the first Ctrl-C or SIGTERM ends the run in good order, later ones are ignored meanwhile."""
    task = asyncio.create_task(conductor.conduct())
    with cancelled_when_asked(task, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        try:
            return await task
        except asyncio.CancelledError:
            return "interrupted"


def new_run_id() -> str:
    """A run's id: when it was started, and enough chance to be unique."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def make_folder(folder: Path) -> Path:
    """Make a run folder.

    Raises
    ------
    RequestError
        If it cannot be made.
    """
    try:
        (folder / "logs").mkdir(parents=True)
    except OSError as error:
        raise RequestError(
            f"cannot make the run folder: {error.strerror}", where=str(folder), remedy="choose another with --out"
        ) from error
    return folder
