from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platforms.slurm.pilots import JOBS, NODES, until
from tests.study.cluster import cluster, slurm


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real Slurm."""
    with cluster(tmp_path_factory.mktemp("slurm"), NODES) as configuration:
        yield configuration


@pytest.fixture
def configuration(running: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLURM_CONF", str(running))
    yield running
    until(lambda: not slurm(running, *JOBS), "a job is left")
    until(lambda: slurm(running, "sinfo", "--noheader", "--format=%t %D").split()[:2] == ["idle", str(NODES)], "a node is busy")
