"""Pilot jobs for tests, in a real Slurm."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from estran.platforms.slurm.allocation import Allocation
from estran.platforms.slurm.file import read_request
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.pilot import allocated
from estran.platforms.slurm.request import Request
from estran.spec.document import read_text
from tests.study.cluster import slurm

NODES: Final = 3
FILE: Final = """\
platform: slurm
time: 10min
partition: debug
"""
LAYERS: Final[Mapping[str, Sequence[str]]] = {"hpc": ["hpc-0", "hpc-1"]}
RUN: Final = f"run-{os.getpid()}"
"""Of which nobody else on this machine has processes: envoys end what carries their run's mark."""
JOBS: Final = ("squeue", "--noheader", "--format=%T %j")


def asked(text: str = FILE, layers: Mapping[str, Sequence[str]] = LAYERS) -> Request:
    return read_request(read_text(text, "cluster.yaml"), layers)


@asynccontextmanager
async def provided(
    request: Request, told: list[str] | None = None, kept: Callable[[str], None] | None = None
) -> AsyncIterator[Allocation]:
    noted: list[str] = []
    async with (
        login_host(request.login, RUN) as login,
        allocated(request, login, RUN, note=noted.append, tell=(told if told is not None else []).append, kept=kept) as allocation,
    ):
        assert len(noted) == 1, "nothing was written down"
        yield allocation


async def entered(request: Request, told: list[str]) -> list[str]:
    async with provided(request, told) as allocation:
        return list(allocation.hosts)


def submitted(configuration: Path, *options: str) -> str:
    """Submit a job of somebody else, and wait until it runs."""
    job = slurm(configuration, "sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 300", *options).strip()
    until(lambda: "RUNNING" in slurm(configuration, "squeue", f"--jobs={job}", "--noheader", "--format=%T"), "it does not start")
    return job


def until(holds: Callable[[], Any], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
