"""Jobs that are kept from one run to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from estran.errors import PlatformError
from tests.platforms.slurm.pilots import FILE, JOBS, LAYERS, asked, provided, until
from tests.platforms.slurm.test_runs import written
from tests.run.experiments import estran, record
from tests.study.cluster import lacking, slurm

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]
TWO_KINDS = FILE + "layers:\n  edge: {hosts_per_node: 2, cpus: 1}\n"


@pytest.mark.parametrize(
    ("text", "layers"), [(FILE, LAYERS), (TWO_KINDS, {**LAYERS, "edge": ["edge-0", "edge-1"]})], ids=["one kind", "two kinds"]
)
async def test_the_next_run_takes_a_kept_job_over_and_gives_it_back(
    configuration: Path, text: str, layers: Mapping[str, Sequence[str]]
) -> None:
    kept: list[str] = []
    told: list[str] = []
    async with provided(asked(text, layers), kept=kept.append) as first:
        pass
    assert f"`scancel {first.job}` gives it back" in kept[0]
    shown = slurm(configuration, *JOBS).splitlines()
    assert shown
    assert all(line.startswith("RUNNING estran-kept-") for line in shown)
    async with provided(asked(text, layers), told) as second:
        assert second.job == first.job
        assert all("kept" not in line for line in slurm(configuration, *JOBS).splitlines()), "another run could take it"
        for host in second.hosts.values():
            assert (await host.run(["true"])).returncode == 0
    assert f"job {first.job} in Slurm is taken over" in told[0]
    assert len(kept) == 1


async def test_a_kept_job_waits_although_nothing_runs_on_it_but_not_for_who_asks_for_other_nodes(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estran.platforms.slurm.commands.ALONE", 1)
    async with provided(asked(layers={"hpc": ["hpc-0"]}), kept=print) as first:
        pass
    async with provided(asked()) as other:
        assert other.job != first.job
    await asyncio.sleep(4.5)  # three looks of the pilot
    assert slurm(configuration, *JOBS).startswith("RUNNING estran-kept-")
    slurm(configuration, "scancel", first.job)


async def test_a_job_that_is_lost_is_not_kept(configuration: Path) -> None:
    kept: list[str] = []

    async def use() -> None:
        async with provided(asked(), kept=kept.append) as allocation:
            slurm(configuration, "scancel", allocation.job)
            raise await allocation.broken()

    with pytest.raises(PlatformError, match="was cancelled from outside"):
        await use()
    assert kept == []


def test_a_run_says_what_it_keeps(configuration: Path, tmp_path: Path) -> None:
    written(tmp_path)
    done = estran("run", "experiment.yaml", "--on", "cluster.yaml", "--keep", cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = record(tmp_path)["kept"]
    assert "kept" in done.stdout
    job = slurm(configuration, "squeue", "--noheader", "--format=%A").strip()
    assert f"job {job} in Slurm is kept until 20" in kept
    slurm(configuration, "scancel", job)
    until(lambda: not slurm(configuration, *JOBS), "the job goes on")


@pytest.mark.parametrize(
    ("platform", "what"), [("simulate", "simulate reserves nothing"), ("lab.yaml", "none of its hosts are reserved")]
)
def test_where_nothing_is_reserved_nothing_can_be_kept(tmp_path: Path, platform: str, what: str) -> None:
    written(tmp_path)
    (tmp_path / "lab.yaml").write_text("platform: ssh\nhosts: [{host: 'lab[1-3]'}]\n")
    done = estran("run", "experiment.yaml", "--on", platform, "--keep", cwd=tmp_path)
    assert done.returncode == 2
    assert what in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()
