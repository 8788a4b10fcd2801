"""Jobs that are kept from one run to the next: Slurm knows them by a name that says what they have.

Whoever takes one over gives it the name of his own run, so that no other finds it, and what gives it back finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estran.errors import PlatformError
from estran.platforms.slurm.commands import kept_name
from estran.platforms.slurm.queue import Queue
from estran.platforms.slurm.request import Request

NEARLY_OVER: Final = "0:"
"""How Slurm writes that a job has less than a minute left."""


async def taken_over(queue: Queue, request: Request, name: str, tell: Callable[[str], None]) -> str | None:
    """Take a job over that has what is asked for; its number, or None if there is none.

    Raises
    ------
    PlatformError
        If Slurm does not answer.
    """
    for found in await queue.running(kept_name(request)):
        if found.left.startswith(NEARLY_OVER) or not await queue.rename(found.job, name):
            continue
        if any(own.job == found.job for own in await queue.running(name)):  # else another run was quicker
            tell(
                f"job {found.job} in Slurm is taken over, which an earlier run kept; its time limit is at {_time(found.ends)} there"
            )
            return found.job
    return None


async def put_aside(queue: Queue, request: Request, name: str, told: Callable[[str], None]) -> bool:
    """Leave the job of a run to others, and say how it is given back; whether that was possible."""
    try:
        for own in await queue.running(name):
            if await queue.rename(own.job, kept_name(request)):
                again = "the next run that asks for the same nodes takes it over"
                told(f"job {own.job} in Slurm is kept until {_time(own.ends)} there; {again}, `scancel {own.job}` gives it back")
                return True
    except PlatformError:
        pass  # then it is to be cancelled, and what prevents that is told
    return False


def _time(written: str) -> str:
    return written.replace("T", " ")
