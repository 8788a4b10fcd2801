"""The seam between a study and what makes its runs: what is shared out and refused, and the same table from every engine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.study.engines import journal
from estran.study.engines.engine import Choice
from estran.study.engines.slurm import SHARES, shared_out
from estran.study.worker import Task
from tests.run.experiments import estran, write
from tests.study.test_study import SIMULATE, VARIED, study, table

CONFIGURATION = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config([HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2, provider=LocalProvider(max_blocks=1))])
"""


def task(number: int) -> Task:
    where = {"on": "simulate", "calibration": None, "out": "runs", "named": f"{number}-1", "command": []}
    return Task(**{"file": "f", "overrides": [], "levels": {"n": number}, "seed": 1, **where})  # type: ignore[typeddict-item]


@given(st.integers(1, 500), st.integers(1, 40), st.none() | st.integers(1, 50), st.integers(1, 100))
def test_array_tasks_have_every_run_once_and_are_no_more_than_slurm_bears(
    runs: int, at_once: int, chunk: int | None, most: int
) -> None:
    tasks = [task(number) for number in range(runs)]
    chunks = shared_out(tasks, at_once=at_once, chunk=chunk, most=most)
    assert [one for part in chunks for one in part] == tasks
    assert len(chunks) <= most
    assert all(chunks)
    if chunk is None:
        assert len(chunks) <= at_once * SHARES
        assert len(chunks) >= min(most, runs, at_once) / 2, "as many as go on at once have work"
    else:
        assert len(chunks[0]) == min(runs, chunk) or len(chunks) > most / 2


def test_what_is_handed_over_is_written_down_and_an_array_task_of_a_job_that_is_over_makes_nothing(tmp_path: Path) -> None:
    batch = journal.begin(tmp_path, [[task(1), task(2)], [task(3)]])
    assert journal.not_over(tmp_path) == [batch]
    numbered = batch.submitted("12")
    assert journal.read(batch.folder) == numbered
    assert [[one["named"] for one in chunk] for chunk in numbered.chunks()] == [["1-1", "2-1"], ["3-1"]]
    numbered.ended()
    assert journal.not_over(tmp_path) == []
    late = subprocess.run(
        [sys.executable, "-m", "estran.study.engines.array_task", str(batch.folder)],
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "0"}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (late.returncode, "given this job up" in late.stderr) == (1, True)
    assert not (tmp_path / "runs").exists()
    assert journal.begin(tmp_path, [[task(4)]]).folder.name == "2"
    (tmp_path / "slurm/2/job.json").write_text("{")
    with pytest.raises(RequestError, match="cannot be read"):
        journal.not_over(tmp_path)


def test_options_are_names_with_values_each_once() -> None:
    choice = Choice.read("slurm", ("partition=debug", "exclusive", "constraint=a=b", "chunk=4"))
    assert choice.options == {"partition": "debug", "exclusive": None, "constraint": "a=b", "chunk": "4"}
    assert (choice.number("chunk", 1), choice.number("poll", 5.0)) == (4, 5.0)
    for wrong in ("chunk=0", "chunk=-1", "chunk=x", "chunk", "chunk=1.5"):
        with pytest.raises(RequestError, match="no positive number"):
            Choice.read("slurm", (wrong,)).number("chunk", 1)
    for wrong in ("poll=nan", "poll=inf"):
        with pytest.raises(RequestError, match="no positive number"):
            Choice.read("slurm", (wrong,)).number("poll", 1.0)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--on", "simulate", "--engine", "abacus"), "there is no engine 'abacus'"),
        (("--on", "simulate", "--engine-option", "time=1"), "local has no option 'time'"),
        (("--engine", "slurm"), "only simulated runs are made on slurm"),
        (("--on", "simulate", "--engine", "slurm"), "there is no sbatch here"),
        (("--on", "simulate", "--engine", "ray", "--engine-option", "cpus=2"), "ray"),
        (("--on", "simulate", "--engine", "parsl"), "parsl"),
    ],
)
def test_wrong_engines_start_nothing(tmp_path: Path, argv: tuple[str, ...], told: str) -> None:
    write(tmp_path, VARIED)
    done = estran("study", "experiment.yaml", *argv, cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert (done.returncode, told in done.stderr, "→" in done.stderr) == (2, True, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "studies").exists()


def test_a_study_whose_job_cannot_be_asked_is_not_made_twice(tmp_path: Path) -> None:
    """It was copied to a machine without Slurm while a job went on."""
    write(tmp_path, VARIED)
    found = study(tmp_path, "--replicates", "1")
    journal.begin(found["path"], [[task(1)]]).submitted("12")
    done = estran("resume", str(found["path"]), cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert (done.returncode, "job 12 in Slurm may still make runs" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("engine", ["ray", "parsl"])
def test_every_engine_makes_the_same_table(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed: pip install 'estran[{engine}]'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # it would write a token into the home folder
    write(tmp_path, VARIED)
    (tmp_path / "configuration.py").write_text(CONFIGURATION)
    options = ("--engine-option", "config=configuration.py") if engine == "parsl" else ()
    here = study(tmp_path, "--replicates", "1", "--jobs", "2", "--out", "here")
    there = study(tmp_path, "--replicates", "1", "--jobs", "2", "--engine", engine, *options)
    assert (there["done"], there["exit"]) == (4, 0)
    assert (there["path"] / "responses.csv").read_bytes() == (here["path"] / "responses.csv").read_bytes()
    failing = VARIED.replace('with: {rate: "${rate}"}', 'with: {rate: "${rate}", fail_after: 3}')
    write(tmp_path, failing)
    argv = ("study", "experiment.yaml", *SIMULATE, "--replicates", "1", "--set", "delay=10ms", "--engine", engine, *options)
    done = json.loads(estran(*argv, cwd=tmp_path).stdout)
    assert (done["failed"], "the sensor is on fire" in done["failures"][0]["what"]) == (2, True)
    assert [row["attempts"] for row in table(tmp_path / done["study"])] == ["2", "2"]
