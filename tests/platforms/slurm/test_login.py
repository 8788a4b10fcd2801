"""Jobs that are submitted through another host, over SSH."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.slurm import leftovers
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.pilot import allocated
from tests.platforms.slurm.pilots import FILE, JOBS, RUN, asked, submitted, until
from tests.platforms.slurm.sshd import SSHD, login_node
from tests.study.cluster import lacking, slurm

pytest.importorskip("asyncssh", reason="asyncssh is not installed: pip install 'estran[ssh]'")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt install openssh-server"),
]


@pytest.fixture
def file(tmp_path: Path, configuration: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A platform file that names a login node; from here itself, no Slurm is known."""
    with login_node(tmp_path, configuration) as login:
        monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
        yield FILE + f"login: {login}\n"


async def test_hosts_are_reached_through_the_login_node_and_its_loss_gives_them_back(file: str, configuration: Path) -> None:
    request = asked(file)

    async def use() -> None:
        async with (
            login_host(request.login, RUN) as login,
            allocated(request, login, RUN, note=lambda value: None) as allocation,
        ):
            watching = asyncio.create_task(allocation.broken())
            for name, host in allocation.hosts.items():
                shown = await host.run(["sh", "-c", "echo $SLURMD_NODENAME"])
                assert shown.stdout.decode().strip() == allocation.placed[name].node
            os.kill(os.getpgid(login.facts["pid"]), signal.SIGTERM)
            raise await asyncio.wait_for(watching, 30)

    with pytest.raises(PlatformError, match=r"the host where job .* was submitted is lost"):
        await use()
    await asyncio.to_thread(until, lambda: "RUNNING" not in slurm(configuration, *JOBS), "the job goes on")


async def test_clean_cancels_a_job_over_ssh(file: str, configuration: Path) -> None:
    request = asked(file)
    noted = leftovers.journalled(f"estran-{RUN}", request.login)
    assert "PRIVATE" not in noted
    assert json.loads(noted)["login"]["port"] == request.login.port if request.login else False
    job = submitted(configuration, f"--job-name=estran-{RUN}")
    assert await asyncio.to_thread(leftovers.cancel, noted) == f"estran-{RUN}"
    await asyncio.to_thread(
        until, lambda: job not in slurm(configuration, "squeue", "--noheader", "--format=%A"), "the job goes on"
    )
