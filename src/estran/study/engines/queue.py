"""Slurm's queue, through its own commands: submit an array job, look at it, cancel it. They know one job each, our own."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from estran.errors import EstranError, RequestError
from estran.platforms.slurm.states import ENDED
from estran.study.engines.journal import Batch

COMMANDS: Final = ("sbatch", "squeue", "scancel", "scontrol")
_UNKNOWN: Final = "Invalid job id"
_PATIENCE: Final = 120.0
"""Seconds that a command may take; Slurm's own time limit for its messages is far less."""


class SlurmError(EstranError):
    """Slurm does not answer, or refused."""


@dataclass(frozen=True, slots=True)
class State:
    """Of an array task: as ``squeue`` calls it, and why it waits."""

    name: str
    reason: str

    @property
    def ended(self) -> bool:
        """Whether it has left the queue."""
        return self.name in ENDED


def make_sure_of_slurm() -> None:
    """Look for Slurm's commands.

    Raises
    ------
    RequestError
        If this is no machine from which jobs are submitted.
    """
    lacking = [command for command in COMMANDS if shutil.which(command) is None]
    if lacking:
        raise RequestError(
            f"there is no {lacking[0]} here", where="--engine slurm", remedy="start the study where jobs are submitted to Slurm"
        )


def try_out(arguments: Sequence[str]) -> None:
    """Ask Slurm whether it would take a job with these arguments.

    Raises
    ------
    RequestError
        If not.
    """
    tried = _run(["sbatch", "--test-only", *arguments], script="#!/bin/sh\ntrue\n")
    if tried.returncode != 0:
        raise RequestError(
            f"sbatch refuses: {_said(tried)}", where="--engine slurm", remedy="look at --engine-option, and at what `sinfo` shows"
        )


def most_tasks() -> int:
    """How many tasks an array job may have.

    Raises
    ------
    SlurmError
        If Slurm does not say.
    """
    shown = _run(["scontrol", "show", "config"])
    for line in shown.stdout.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return max(1, int(value))
    raise SlurmError(f"scontrol does not tell MaxArraySize: {_said(shown)}", where="Slurm", remedy="is slurmctld up?")


def submit(batch: Batch, module: str, tasks: int, at_once: int, arguments: Sequence[str]) -> str:
    """Submit an array job; return its number.

    Raises
    ------
    SlurmError
        If Slurm refused it.
    """
    script = f"#!/bin/sh\nexec {shlex.join([sys.executable, '-m', module, str(batch.folder)])}\n"
    log = str(batch.folder).replace("%", "%%") + "/%a.log"
    own = [
        f"--job-name={batch.name}", f"--array=0-{tasks - 1}%{at_once}", f"--output={log}", f"--error={log}", "--no-requeue",
    ]  # fmt: skip
    made = _run(["sbatch", "--parsable", *arguments, *own], script=script)
    if made.returncode == 0:
        return made.stdout.strip().partition(";")[0]
    # Slurm may have taken the job although its answer was lost.
    found = find(batch.name)
    if found is None:
        raise SlurmError(f"sbatch refused the job: {_said(made)}", where="Slurm", remedy="fewer --jobs, or another --engine-option")
    return found


def find(name: str) -> str | None:
    """The number of the job with this name, if it is in the queue.

    Raises
    ------
    SlurmError
        If Slurm does not answer.
    """
    shown = _run(["squeue", f"--name={name}", "--states=all", "--noheader", "--format=%F"])
    if shown.returncode != 0:
        raise SlurmError(f"squeue does not answer: {_said(shown)}", where="Slurm", remedy="try again when slurmctld is up")
    return next(iter(shown.stdout.split()), None)


def states(job: str) -> Mapping[int, State]:
    """Of an array job's tasks, by their number; those that ended a while ago are not there any more.

    Raises
    ------
    SlurmError
        If Slurm does not answer.
    """
    shown = _run(["squeue", f"--jobs={job}", "--array", "--states=all", "--noheader", "--format=%K|%T|%r"])
    if shown.returncode != 0:
        if _UNKNOWN in shown.stderr:
            return {}
        raise SlurmError(f"squeue does not answer: {_said(shown)}", where="Slurm", remedy="try again when slurmctld is up")
    lines = (line.split("|", 2) for line in shown.stdout.splitlines())
    return {int(index): State(name, reason) for index, name, reason in lines}


def active(job: str) -> bool:
    """Whether anything of a job waits or runs.

    Raises
    ------
    SlurmError
        If Slurm does not answer.
    """
    return any(not state.ended for state in states(job).values())


def cancel(job: str) -> None:
    """Cancel a job.

    Raises
    ------
    SlurmError
        If Slurm does not answer.
    """
    done = _run(["scancel", job])
    if done.returncode != 0 and _UNKNOWN not in done.stderr:
        raise SlurmError(f"scancel failed: {_said(done)}", where="Slurm", remedy=f"cancel it yourself: scancel {job}")


def _run(argv: list[str], script: str | None = None) -> subprocess.CompletedProcess[str]:
    # In a process group of its own, so that Ctrl-C does not cut it off.
    try:
        return subprocess.run(
            argv, input=script or "", capture_output=True, text=True, timeout=_PATIENCE, process_group=0, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{argv[0]} does not answer: {error}", where="Slurm", remedy="try again when slurmctld is up") from error


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(lines) or f"{done.args[0]} ended with status {done.returncode}"
