"""Whole runs on hosts that Slurm allocates."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from tests.platforms.slurm.pilots import JOBS
from tests.run.experiments import PARTS, TINY, estran, record, run_folder, start, wait_for_phase
from tests.study.cluster import lacking, slurm

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]
EXPERIMENT = TINY.replace("network:\n  - {between: [edge, cloud], delay: 10ms, rate: 20mbit}\n", "network: []\n")


def written(folder: Path, duration: str = "1.5s") -> None:
    assert "network: []" in EXPERIMENT
    (folder / "experiment.yaml").write_text(EXPERIMENT.replace("duration: 1.5s", f"duration: {duration}"))
    (folder / "parts.py").write_text(PARTS)
    (folder / "cluster.yaml").write_text(
        f"platform: slurm\ntime: 10min\nenvironment: installed\npython: {sys.executable}\npartition: debug\n"
    )


def test_an_experiment_runs_on_nodes(configuration: Path, tmp_path: Path) -> None:
    written(tmp_path)
    done = estran("run", "experiment.yaml", "--on", "cluster.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run, folder = record(tmp_path), run_folder(tmp_path)
    responses = json.loads((folder / "responses.json").read_text())
    facts = json.loads((folder / "network.json").read_text())["facts"]
    assert (run["platform"], responses["loss"]["value"]) == ("slurm", 0)
    assert 20 < responses["throughput"]["value"] < 120
    assert sorted(facts["slurm"]["nodes"].values()) == ["n1", "n2", "n3"]
    assert "RUNNING" not in slurm(configuration, *JOBS)


def test_a_run_that_reaches_its_time_limit_says_so_and_keeps_what_it_has(configuration: Path, tmp_path: Path) -> None:
    written(tmp_path, duration="60s")
    process = start("run", "experiment.yaml", "--on", "cluster.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure", 90)
    noted = [path.read_text() for path in tmp_path.glob("**/journal/*.jsonl")]
    assert any('"slurm"' in text for text in noted), "estran clean could not find the job"
    time.sleep(1)
    job = slurm(configuration, "squeue", "--noheader", "--format=%A").strip()
    slurm(configuration, "scontrol", "update", f"jobid={job}", "EndTime=now+1")  # Slurm looks at time limits twice a minute
    said, _ = process.communicate(timeout=90)
    run = record(tmp_path)
    assert (process.returncode, run["status"], run["failure"]["phase"]) == (1, "failed", "measure")
    assert run["failure"]["what"] == f"cluster.yaml:2:7: job {job} in Slurm reached its time limit of 10min", run["failure"]
    assert run["failure"]["remedy"]
    assert "Traceback" not in said
    assert json.loads((run_folder(tmp_path) / "responses.json").read_text())["throughput"]["n"] > 10
