"""What is submitted, and how an envoy is started on one of its nodes."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Sequence
from typing import Final

from estran.platforms.remote.bootstrap import first_line
from estran.platforms.slurm.queue import outside
from estran.platforms.slurm.request import Part, Request

ALONE: Final = 60
"""Seconds between two looks of the pilot; at three in a row without an envoy it gives its nodes back."""
KEPT: Final = "estran-kept-"
"""Beginning of the names of jobs that wait for another run."""

_PILOT: Final = """\
#!/bin/sh
# Holds nodes for a run of Estran, until no step has been on them for some minutes; those that are kept, until the time limit.
alone=0
while [ "$alone" -lt 3 ]; do
  sleep {alone}
  case $(squeue --jobs="$SLURM_JOB_ID" --noheader --format=%j) in {kept}*) alone=0; continue;; esac
  steps=$(squeue --steps --jobs="$SLURM_JOB_ID" --noheader --format=%i) || continue
  if printf '%s\\n' "$steps" | grep -q '\\.[0-9][0-9]*$'; then alone=0; else alone=$((alone + 1)); fi
done
"""


def pilot() -> str:
    """The script of the job."""
    return _PILOT.format(alone=ALONE, kept=KEPT)


def submission(request: Request, name: str) -> list[str]:
    """The sbatch command; several kinds of nodes make a heterogeneous job, whose components start together."""
    common = [
        f"--job-name={name}", f"--time={math.ceil(request.walltime / 60.0)}", "--no-requeue", "--output=/dev/null",
        "--error=/dev/null", "--chdir=/", "--export=PATH,HOME,USER",
    ]  # fmt: skip
    argv = ["sbatch", "--parsable"]
    for index, part in enumerate(request.parts):
        argv += [*([":"] if index else []), *common, *_nodes(part)]
    return argv


def kept_name(request: Request) -> str:
    """The name of a job that is kept, the same for all runs that ask for the same nodes."""
    return KEPT + hashlib.sha256(repr(submission(request, "")).encode()).hexdigest()[:8]


def _nodes(part: Part) -> list[str]:
    own = [f"--nodes={part.nodes}", f"--ntasks-per-node={part.hosts_per_node}"]
    own += ["--exclusive"] if part.cpus is None else [f"--cpus-per-task={part.cpus}"]
    own += [] if part.memory is None else [f"--mem={_megabytes(part.memory * part.hosts_per_node)}M"]
    return [*own, *part.options]


def step(job: str, component: int | None, part: Part, node: str, mark: str, size: int) -> list[str]:
    """The srun command whose standard input and output are those of an envoy on a node.

    Unbuffered, since else srun holds back what does not end with a new line. Hosts that share a node have processors of their own.

    Parameters
    ----------
    component
        Of a heterogeneous job.
    mark
        Value of ``ESTRAN_RUN`` on the node.
    size
        Bytes of the program that follows on standard input.
    """
    argv = [
        "srun", f"--jobid={job}", "--nodes=1", "--ntasks=1", f"--nodelist={node}", "--unbuffered", "--quiet", "--chdir=/",
        "--mpi=none", f"--export=ALL,ESTRAN_RUN={mark}",
    ]  # fmt: skip
    argv += [] if component is None else [f"--het-group={component}"]
    argv += ["--exact"] if part.hosts_per_node > 1 else ["--overlap"]
    argv += ["--cpu-bind=none"] if part.cpus is None else [f"--cpus-per-task={part.cpus}"]  # a node's all, or exactly so many
    if part.hosts_per_node > 1:
        argv.append("--mem=0" if part.memory is None else f"--mem={_megabytes(part.memory)}M")
    return outside([*argv, *_with_modules(part.modules, first_line(size, part.python))])


def _with_modules(modules: Sequence[str], argv: list[str]) -> list[str]:
    """A login shell knows the command that loads modules; it must not read what is meant for the envoy."""
    if not modules:
        return argv
    return ["bash", "-lc", f"module load {shlex.join(modules)} </dev/null >&2 && exec {shlex.join(argv)}"]


def _megabytes(size: float) -> int:
    return math.ceil(size / 2**20)
