"""The job that a killed run may leave in Slurm; it would hold its nodes for some minutes more, or until its time limit."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict

from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.queue import Queue
from estran.platforms.ssh.target import Target

KIND = "slurm"
"""Kind of the journal's entry."""


def journalled(name: str, login: Target | None) -> str:
    """What is to be written down before a job of this name is submitted."""
    return json.dumps({"job": name, "login": asdict(login) if login else None, "configuration": os.environ.get("SLURM_CONF")})


def cancel(value: str) -> str:
    """Cancel the job of which `journalled` wrote, if it is still there; return its name.

    Raises
    ------
    PlatformError
        If Slurm does not answer.
    """
    noted = json.loads(value)
    login = Target(**noted["login"]) if noted["login"] else None
    asyncio.run(_cancel(noted["job"], login, noted["configuration"]))
    return str(noted["job"])


async def _cancel(name: str, login: Target | None, configuration: str | None) -> None:
    env = {"SLURM_CONF": configuration} if configuration and login is None else {}
    async with login_host(login, name) as host:
        await Queue(host, env).cancel(name)
