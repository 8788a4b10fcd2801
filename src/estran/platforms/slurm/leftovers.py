"""The job that a killed run may leave in Slurm; it would hold its nodes for some minutes more, or until its time limit."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict

import msgspec

from estran.errors import PlatformError
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.queue import Queue
from estran.platforms.ssh.target import Target

KIND = "slurm"
"""Kind of the journal's entry."""


class _Noted(msgspec.Struct):
    job: str
    login: Target | None
    configuration: str | None


def journalled(name: str, login: Target | None) -> str:
    """What is to be written down before a job of this name is submitted."""
    return json.dumps({"job": name, "login": asdict(login) if login else None, "configuration": os.environ.get("SLURM_CONF")})


def cancel(value: str) -> str:
    """Cancel the job of which `journalled` wrote, if it is still there; return its name.

    Raises
    ------
    PlatformError
        If Slurm does not answer, or that is not what was written.
    """
    try:
        noted = msgspec.json.decode(value, type=_Noted)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PlatformError(f"the journal names no job of Slurm: {error}", remedy="look whether it runs: squeue --me") from error
    asyncio.run(_cancel(noted.job, noted.login, noted.configuration))
    return noted.job


async def _cancel(name: str, login: Target | None, configuration: str | None) -> None:
    env = {"SLURM_CONF": configuration} if configuration and login is None else {}
    async with login_host(login, name) as host:
        await Queue(host, env).cancel(name)
