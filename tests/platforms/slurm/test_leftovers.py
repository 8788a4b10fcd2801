"""What becomes of a job when the process that uses it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platforms.slurm.pilots import JOBS, RUN, until
from tests.platforms.slurm.test_runs import written
from tests.run.experiments import estran, record
from tests.run.killed import gone, mortal
from tests.study.cluster import lacking, slurm

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]

HOLDER = """
import asyncio, sys
from pathlib import Path
from estran.platforms.slurm import commands, leftovers
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.pilot import allocated
from estran.run.journal import Journal
from tests.platforms.slurm.pilots import FILE, asked

async def main():
    commands.ALONE = 1
    folder, run = Path(sys.argv[1]), sys.argv[2]
    with Journal(run, folder) as journal:
        async with login_host(None, run) as login:
            async with allocated(asked(), login, run, note=lambda value: journal.write(leftovers.KIND, value)):
                print(login.facts["pid"], flush=True)
                await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["its envoy cancels", "clean cancels", "the pilot leaves"])
def test_whoever_is_killed_leaves_no_job(configuration: Path, tmp_path: Path, way: str) -> None:
    """The envoy where the job was submitted cancels it; if that is killed too, `estran clean`, or the job ends by itself."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", HOLDER, str(tmp_path), RUN]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    envoy = int(process.stdout.readline())
    assert slurm(configuration, *JOBS) == f"RUNNING estran-{RUN}\n"
    if way != "its envoy cancels":
        os.kill(envoy, signal.SIGKILL)
    process.kill()
    process.communicate()
    if way == "clean cancels":
        cleaned = estran("clean", cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path / "state"), "SLURM_CONF": ""})
        assert f"job estran-{RUN} in Slurm cancelled" in cleaned.stdout, cleaned.stderr
    until(lambda: "RUNNING" not in slurm(configuration, *JOBS), "the job goes on")


@pytest.mark.parametrize(("phase", "moment"), [("provision", "2"), ("verify", "0"), ("measure", "0.3"), ("give back", "0")])
def test_a_killed_run_leaves_no_job(configuration: Path, tmp_path: Path, phase: str, moment: str) -> None:
    written(tmp_path, duration="0.5s")
    mortal(phase, moment, ["run", "experiment.yaml", "--on", "cluster.yaml"], tmp_path)
    cleaned = estran("clean", cwd=tmp_path, env={"TMPDIR": str(tmp_path / "tmp")})
    assert cleaned.returncode == 0, cleaned.stderr
    until(lambda: not slurm(configuration, *JOBS), "the job goes on")
    assert gone(tmp_path, record(tmp_path)["id"]) == []
    assert record(tmp_path)["failure"]["phase"] == phase
