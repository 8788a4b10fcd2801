"""Slurm's queue as seen from where jobs are submitted: submit a pilot job, look at it, cancel it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from estran.errors import PlatformError
from estran.platforms.base import Completed
from estran.platforms.remote.host import RemoteHost
from estran.platforms.slurm.request import Request
from estran.platforms.slurm.states import Standing, refusal

COMMANDS: Final = ("sbatch", "squeue", "scancel", "scontrol", "srun")
PATIENCE: Final = 120.0
"""Seconds that a command may take; Slurm's own time limit for its messages is far less."""
UNKNOWN: Final = "Invalid job id"

_OUTSIDE: Final = """\
for name in $(env | sed -n 's/^\\(SLURM_[A-Z0-9_]*\\)=.*/\\1/p'); do [ "$name" = SLURM_CONF ] || unset "$name"; done
exec "$@"
"""
_ABSENT: Final = 'for name in "$@"; do command -v "$name" >/dev/null 2>&1 || echo "$name"; done'


@dataclass(frozen=True, slots=True)
class Running:
    """A job that runs.

    Attributes
    ----------
    ends
        When its time limit is reached, in the cluster's local time.
    left
        How long that is from now, in Slurm's form: ``9:58``.
    """

    job: str
    ends: str
    left: str


class UnansweredError(PlatformError):
    """Slurm does not answer for the moment."""


class LoginLostError(PlatformError):
    """The host where jobs are submitted has gone; its envoy cancels the job."""


def outside(argv: Sequence[str]) -> list[str]:
    """A command as if this were not within a job: what a job's environment says is taken for options by sbatch and srun."""
    return ["/bin/sh", "-c", _OUTSIDE, "sh", *argv]


class Queue:
    """Slurm's commands, run through the envoy where jobs are submitted."""

    def __init__(self, login: RemoteHost, env: Mapping[str, str] | None = None) -> None:
        self.login = login
        self._env = env

    async def make_sure(self) -> None:
        """Look for Slurm's commands.

        Raises
        ------
        PlatformError
            If one is missing.
        """
        found = await self.login.run(["/bin/sh", "-c", _ABSENT, "sh", *COMMANDS], timeout=PATIENCE)
        absent = found.stdout.decode().split()
        if absent:
            remedy = "run it where jobs are submitted to Slurm, or name that host in the platform file: login:"
            raise PlatformError(f"there is no {absent[0]} here", where=self.login.name, remedy=remedy)

    async def submit(self, request: Request, argv: Sequence[str], script: str, name: str) -> str:
        """Submit a job; return its number.

        Raises
        ------
        SpecError
            If Slurm refuses it, at the line of the platform file that it is about.
        PlatformError
            If Slurm does not answer.
        """
        made = await self._run(argv, script)
        if made.returncode == 0:
            return made.stdout.decode().strip().partition(";")[0]
        found = await self._run(["squeue", f"--name={name}", "--noheader", "--format=%A"])  # its answer may have been lost
        if found.returncode != 0:
            raise _unanswered("sbatch", made)
        jobs = found.stdout.decode().split()
        if not jobs:
            raise refusal(request, said(made))
        return jobs[0]

    async def standings(self, job: str) -> list[Standing]:
        """How each component of a job stands; nothing if it left the queue a while ago.

        Raises
        ------
        UnansweredError
            If Slurm does not answer.
        LoginLostError
            If the host where jobs are submitted has gone.
        """
        shown = await self._run(["squeue", f"--jobs={job}", "--states=all", "--noheader", "--format=%i|%T|%r|%S|%N"])
        if shown.returncode != 0:
            if UNKNOWN in shown.stderr.decode():
                return []
            raise _unanswered("squeue", shown)
        lines = [line.split("|", 4) for line in shown.stdout.decode().splitlines()]
        return [Standing(*rest) for _, *rest in sorted(lines, key=lambda line: int(line[0].partition("+")[2] or 0))]

    async def running(self, name: str) -> list[Running]:
        """Jobs of one's own that run by this name, the newest first.

        Raises
        ------
        PlatformError
            If Slurm does not answer.
        """
        shown = await self._run(["squeue", "--me", f"--name={name}", "--states=RUNNING", "--noheader", "--format=%i|%e|%L"])
        if shown.returncode != 0:
            raise _unanswered("squeue", shown)
        lines = [line.split("|") for line in shown.stdout.decode().splitlines()]
        first = {job.partition("+")[0]: Running(job.partition("+")[0], ends, left) for job, ends, left in lines}
        return [first[job] for job in sorted(first, key=int, reverse=True)]

    async def rename(self, job: str, name: str) -> bool:
        """Give a job, with all its components, another name; whether Slurm did.

        Raises
        ------
        PlatformError
            If Slurm does not answer.
        """
        done = await self._run(["scontrol", "update", f"jobid={job}", f"jobname={name}"])
        return done.returncode == 0

    async def cancel(self, name: str) -> None:
        """Cancel the job of this name, if there is one.

        Raises
        ------
        PlatformError
            If Slurm does not answer.
        """
        done = await self._run(cancelling(name))
        if done.returncode != 0:
            remedy = f"cancel it yourself: scancel --name={name}"
            raise PlatformError(f"the job could not be cancelled: {said(done)}", where="Slurm", remedy=remedy)

    async def addresses(self, nodes: str) -> Mapping[str, str]:
        """Nodes in Slurm's order, each with the address by which Slurm itself reaches it.

        Raises
        ------
        PlatformError
            If Slurm does not answer.
        """
        names = await self._run(["scontrol", "show", "hostnames", nodes])
        shown = await self._run(["scontrol", "--oneliner", "show", "node", nodes])
        if names.returncode or shown.returncode:
            raise _unanswered("scontrol", names if names.returncode else shown)
        known = {}
        for line in shown.stdout.decode().splitlines():
            facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
            known[facts["NodeName"]] = facts.get("NodeAddr", facts["NodeName"])
        return {name: known.get(name, name) for name in names.stdout.decode().split()}

    async def _run(self, argv: Sequence[str], script: str = "") -> Completed:
        try:
            return await self.login.run(outside(argv), stdin=script.encode(), env=self._env, timeout=PATIENCE)
        except PlatformError as error:
            if self.login.gone is not None:
                raise LoginLostError(error.what, where=error.where, remedy=error.remedy) from error
            raise UnansweredError(error.what, where="Slurm", remedy="try again when slurmctld is up") from error


def cancelling(name: str) -> list[str]:
    """The command that cancels the job of this name; it does nothing if there is none."""
    return ["scancel", f"--name={name}"]


def said(done: Completed) -> str:
    """What a command said, in one line."""
    text = (done.stderr or done.stdout).decode(errors="replace")
    lines = [line.strip().removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines() if line.strip()]
    return "; ".join(lines) or f"status {done.returncode}"


def _unanswered(command: str, done: Completed) -> UnansweredError:
    return UnansweredError(f"{command} does not answer: {said(done)}", where="Slurm", remedy="try again when slurmctld is up")
