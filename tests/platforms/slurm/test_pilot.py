"""Hosts from a real Slurm, and what becomes of them when the job waits, is refused, or is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from estran.errors import PlatformError, SpecError
from estran.platforms.slurm.commands import pilot, submission
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.queue import Queue, UnansweredError
from tests.platforms.slurm.pilots import FILE, JOBS, LAYERS, NODES, RUN, asked, entered, provided, submitted, until
from tests.study.cluster import lacking, slurm

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]


async def test_hosts_are_on_nodes_of_their_own_even_from_within_a_job(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job's environment says must not be taken for options of another."""
    monkeypatch.setenv("SLURM_JOB_ID", "999")
    monkeypatch.setenv("SLURM_NNODES", "7")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100000")
    async with provided(asked()) as allocation:
        assert list(allocation.hosts) == ["hpc-0", "hpc-1"]
        assert [placed.address for placed in allocation.placed.values()] == ["127.0.0.1"] * 2
        for name, host in allocation.hosts.items():
            shown = await host.run(["sh", "-c", "echo $SLURMD_NODENAME $ESTRAN_RUN $SLURM_CPUS_ON_NODE"])
            assert shown.stdout.decode().split() == [allocation.placed[name].node, f"{RUN}@{name}", "2"]
        assert len({placed.node for placed in allocation.placed.values()}) == 2
        assert slurm(configuration, *JOBS) == f"RUNNING estran-{RUN}\n"
        data = os.urandom(3_000_000)
        await allocation.hosts["hpc-1"].put_bytes(data, "some")
        assert (await allocation.hosts["hpc-1"].run(["cat", f"{allocation.hosts['hpc-1'].facts['scratch']}/some"])).stdout == data
        assert await allocation.ended() is None


async def test_layers_of_different_nodes_start_together_and_hosts_that_share_a_node_have_processors_of_their_own(
    configuration: Path,
) -> None:
    text = FILE + "layers:\n  edge: {hosts_per_node: 2, cpus: 1}\n"
    async with provided(asked(text, {**LAYERS, "edge": ["edge-0", "edge-1"]})) as allocation:
        nodes = {host: placed.node for host, placed in allocation.placed.items()}
        assert nodes["edge-0"] == nodes["edge-1"]
        assert len(set(nodes.values())) == 3
        for name, host in allocation.hosts.items():
            shown = await host.run(["sh", "-c", "echo $SLURMD_NODENAME $SLURM_CPUS_ON_NODE"])
            assert shown.stdout.decode().split() == [nodes[name], "1" if name.startswith("edge") else "2"]


async def test_modules_are_loaded_before_python(configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".bash_profile").write_text('module() { echo "modules speak"; export LOADED="$*"; [ "$2" != none ]; }\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    async with provided(asked(FILE + "modules: [python/3.11, mpi]\n")) as allocation:
        shown = await allocation.hosts["hpc-0"].run(["sh", "-c", "echo $LOADED"])
        assert shown.stdout == b"load python/3.11 mpi\n"
    with pytest.raises(PlatformError, match=r"did not start .*modules speak"):
        async with provided(asked(FILE + "modules: none\n")):
            pass


async def test_a_job_waits_for_nodes_and_says_so(configuration: Path) -> None:
    other = submitted(configuration, f"--nodes={NODES}", "--exclusive", "--time=5")
    told: list[str] = []
    waiting = asyncio.create_task(entered(asked(), told))
    await asyncio.to_thread(until, lambda: any("Resources" in line for line in told), "nobody says that it waits")
    assert any("expected to start at" in line for line in told) or any("pending, Resources" in line for line in told)
    slurm(configuration, "scancel", other)
    assert await waiting == ["hpc-0", "hpc-1"]


async def test_whoever_stops_waiting_leaves_no_job(configuration: Path) -> None:
    other = submitted(configuration, f"--nodes={NODES}", "--exclusive", "--time=5")
    told: list[str] = []
    waiting = asyncio.create_task(entered(asked(), told))
    await asyncio.to_thread(until, lambda: told, "nobody says that it waits")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert "estran" not in slurm(configuration, *JOBS)
    slurm(configuration, "scancel", other)


@pytest.mark.parametrize(
    ("happens", "what", "place"),
    [
        (["scancel {job}"], "was cancelled from outside", "Slurm"),
        (["sbatch --partition=urgent --nodes=3 --exclusive --output=/dev/null --wrap=true"], "was preempted", "cluster.yaml:3:12"),
        (["scontrol update jobid={job} Requeue=1", "scontrol requeue {job}"], "was put back into the queue", "Slurm"),
        (["scontrol update nodename={node} state=down reason=test"], "lost a node", "Slurm"),
        (["scontrol suspend {job}"], "was suspended", "Slurm"),
    ],
    ids=["cancelled", "preempted", "requeued", "node-down", "suspended"],
)  # fmt: skip
async def test_a_job_that_is_lost_in_use_is_told_as_one_error(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, happens: list[str], what: str, place: str
) -> None:
    monkeypatch.setattr("estran.platforms.slurm.allocation.WATCH", 1.0)
    broken: list[PlatformError] = []

    async def use() -> None:
        async with provided(asked()) as allocation:
            watching = asyncio.create_task(allocation.broken())
            for command in happens:
                node = allocation.placed["hpc-1"].node
                slurm(configuration, *command.format(job=allocation.job, node=node).split())
            broken.append(await asyncio.wait_for(watching, 60))
            raise PlatformError("some call failed, since its host is gone")

    with pytest.raises(PlatformError) as told:
        await use()
    slurm(configuration, "scontrol", "update", f"nodename=n[1-{NODES}]", "state=resume")
    for error in (told.value, *broken):
        assert (what in error.what, str(error.where), error.remedy is not None) == (True, place, True), str(error)


async def test_one_host_that_is_lost_is_told_by_its_name(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estran.platforms.slurm.allocation.LAST", 1.0)  # the job goes on however long one waits
    async with provided(asked()) as allocation:
        os.kill(allocation.hosts["hpc-1"].facts["pid"], signal.SIGKILL)
        error = await asyncio.wait_for(allocation.broken(), 30)
        assert (error.where, "has gone" in error.what) == ("hpc-1", True)
        assert (await allocation.hosts["hpc-0"].run(["true"])).returncode == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FILE.replace("debug", "moon"), "cluster.yaml:3:12: Slurm refuses the job: invalid partition specified: moon"),
        (FILE + "constraint: moonlight\n", "cluster.yaml:4:13: Slurm refuses the job: "),
        (FILE + "gres: gpu:1\n", "cluster.yaml:4:7: Slurm refuses the job: "),
        (FILE + "options: {moon: 1}\n", "cluster.yaml:4:10: Slurm refuses the job: "),
        (FILE + "layers:\n  hpc: {nodes: 9}\n", "cluster.yaml:5:16: job "),
    ],
)
async def test_what_slurm_refuses_is_told_at_its_line(configuration: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError) as refused:
        async with provided(asked(text)):
            pass
    assert str(refused.value).startswith(told)


async def test_a_python_that_is_not_there_is_told_with_what_srun_said(configuration: Path) -> None:
    with pytest.raises(PlatformError, match=r"did not start .*/nowhere/python") as told:
        async with provided(asked(FILE + "python: /nowhere/python\n")):
            pass
    assert "python:" in str(told.value.remedy)


async def test_without_srun_nothing_is_submitted(configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("sbatch", "squeue", "scancel", "scontrol", "sh", "env", "sed"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlatformError, match="there is no srun here"):
        async with provided(asked()):
            pass
    monkeypatch.undo()


async def test_a_slurm_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")  # for which its commands wait a minute
    monkeypatch.setattr("estran.platforms.slurm.queue.PATIENCE", 1.0)
    async with login_host(None, RUN) as login:
        with pytest.raises(UnansweredError, match="did not end within 1s"):
            await Queue(login).submit(asked(), submission(asked(), f"estran-{RUN}"), pilot(), f"estran-{RUN}")
