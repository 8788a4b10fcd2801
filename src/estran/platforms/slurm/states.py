"""How jobs stand in Slurm's queue, and what that means for a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from estran.errors import PlatformError, SpecError, Where
from estran.platforms.slurm.request import Request
from estran.units import show

ENDED: Final = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT",
})  # fmt: skip
"""States of what has left the queue, of those that ``man squeue`` lists."""

HOPELESS: Final = {
    "AccountNotAllowed": "account", "InvalidAccount": "account", "InvalidQOS": "qos", "QOSNotAllowed": "qos",
    "BadConstraints": "constraint", "PartitionConfig": "nodes", "PartitionNodeLimit": "nodes", "PartitionTimeLimit": "time",
    "AssocMaxWallDurationPerJobLimit": "time", "QOSMaxWallDurationPerJobLimit": "time", "QOSMaxNodePerJobLimit": "nodes",
    "AssocMaxNodePerJobLimit": "nodes", "QOSMaxCpuPerJobLimit": "cpus", "AssocMaxCpuPerJobLimit": "cpus",
}  # fmt: skip
"""Reasons for waiting that no waiting ends, with the key of the platform file that is to blame."""

_BLAMED: Final = (
    ("partition", "partition"), ("account", "account"), ("qos", "qos"), ("feature", "constraint"), ("constraint", "constraint"),
    ("gres", "gres"), ("generic resource", "gres"), ("memory", "memory"), ("cpu", "cpus"), ("time", "time"), ("node", "nodes"),
    ("option", "options"),
)  # fmt: skip
"""Words of sbatch, and the key that they are about; the first counts."""

_ENDINGS: Final = {
    "TIMEOUT": ("reached its time limit of {time}", "write a longer time: there, or measure for less"),
    "DEADLINE": ("reached its deadline", "submit it sooner, or with a later deadline"),
    "PREEMPTED": ("was preempted by another job", "run it again, in a partition or with a qos that is not preempted"),
    "CANCELLED": ("was cancelled from outside", "ask who cancelled it (you, or an administrator), and run it again"),
    "NODE_FAIL": ("lost a node", "run it again; tell the cluster's administrators if that happens often"),
    "BOOT_FAIL": ("got a node that did not boot", "run it again; tell the cluster's administrators if that happens often"),
    "OUT_OF_MEMORY": ("ran out of memory", "write a larger memory: there"),
    "COMPLETED": ("ended by itself: no envoy was on its nodes", "see whether the connection to where it was submitted is stable"),
    "FAILED": ("failed on its first node", "see whether that node is in order, and run it again"),
}  # fmt: skip
_TOLD: Final = {
    "DUE TO TIME LIMIT": "TIMEOUT", "DUE TO PREEMPTION": "PREEMPTED", "DUE TO NODE FAILURE": "NODE_FAIL",
    "DUE TO JOB REQUEUE": "REQUEUED",
    "CANCELLED AT": "CANCELLED",
}  # fmt: skip
"""What srun prints when its job ends; it knows sooner than the queue."""
_VAGUE: Final = ("COMPLETING", "CANCELLED", "gone")
_BLAMES: Final = {"TIMEOUT": "time", "OUT_OF_MEMORY": "memory", "PREEMPTED": "partition"}


@dataclass(frozen=True, slots=True)
class Standing:
    """A job, or one component of a heterogeneous one, as squeue shows it.

    Attributes
    ----------
    reason
        Why it waits, or how it ended.
    start
        When it is expected to start, or did, in the cluster's local time; ``N/A`` if nobody knows.
    nodes
        Those that it has, in Slurm's short form.
    """

    state: str
    reason: str = "None"
    start: str = "N/A"
    nodes: str = ""


def refusal(request: Request, said: str) -> SpecError:
    """What sbatch refuses, at the line of the platform file that it is about."""
    lower = said.lower()
    key = next((key for word, key in _BLAMED if word in lower), "platform")
    remedy = "see what `sinfo` and the cluster's pages offer"
    return SpecError(f"Slurm refuses the job: {said}", where=request.place(key, said), remedy=remedy)


def hopeless(request: Request, job: str, standing: Standing) -> SpecError | None:
    """Say that a job waits for what will never be, if it does."""
    key = HOPELESS.get(standing.reason)
    if key is None:
        return None
    what = f"job {job} in Slurm would wait forever ({standing.reason})"
    return SpecError(what, where=request.place(key), remedy="ask for less, or for another partition; see what `sinfo` offers")


def ending(request: Request, job: str, standing: Standing | None, said: str = "") -> PlatformError:
    """How a job ended that was still needed.

    Parameters
    ----------
    said
        The last that srun told of it.
    """
    state = "gone" if standing is None else standing.state
    if state in _VAGUE:
        state = next((meant for words, meant in _TOLD.items() if words in said), state)
    if state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING", "SUSPENDED", "STOPPED"):
        what = "was suspended" if state in ("SUSPENDED", "STOPPED") else "was put back into the queue"
        remedy = _ENDINGS["PREEMPTED"][1]
    else:
        what, remedy = _ENDINGS.get(state, (f"is not in the queue any more ({state.lower()})", "run it again"))
    where: Where | str = request.place(_BLAMES[state]) if state in _BLAMES else "Slurm"
    told = what.format(time=show(request.walltime, "duration"))
    return PlatformError(f"job {job} in Slurm {told}", where=where, remedy=remedy)


def waiting(job: str, standings: list[Standing]) -> str:
    """How a job waits, in one line."""
    late = next((one for one in standings if one.state == "PENDING"), standings[0])
    why = f", {late.reason}" if late.reason not in ("None", "") else ""
    when = "" if late.start in ("N/A", "") else f"; expected to start at {late.start.replace('T', ' ')} there"
    return f"job {job} in Slurm: {late.state.lower()}{why}{when}"
