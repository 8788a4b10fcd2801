"""Studies whose runs a real Slurm makes: the same table as on this machine, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.run.experiments import estran, start, write
from tests.study.cluster import cluster, lacking, slurm
from tests.study.test_study import SIMULATE, VARIED, _done, _status, study, table

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]
SLURM = ("--engine", "slurm", "--engine-option", "poll=0.2")
DYING = 'with: {rate: "${rate}", die: "${die}"}'


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with cluster(tmp_path_factory.mktemp("slurm")) as configuration:
        yield configuration


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that is made on Slurm, made on this machine."""
    folder = tmp_path_factory.mktemp("here")
    write(folder, VARIED)
    made: Path = study(folder, "--replicates", "2", "--jobs", "2")["path"]
    return made


@pytest.fixture
def configuration(running: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLURM_CONF", str(running))
    yield running
    _until(lambda: not slurm(running, "squeue", "--noheader"))  # no job is left


def test_a_study_on_slurm_has_the_table_of_one_on_this_machine(tmp_path: Path, configuration: Path, here: Path) -> None:
    write(tmp_path, VARIED)
    there = study(
        tmp_path, "--replicates", "2", "--jobs", "3", *SLURM, "--engine-option", "partition=debug", "--engine-option", "time=5:00"
    )  # fmt: skip
    assert (there["done"], there["exit"]) == (8, 0)
    assert (there["path"] / "responses.csv").read_bytes() == (here / "responses.csv").read_bytes()
    assert (there["path"] / "units.json").read_bytes() == (here / "units.json").read_bytes()
    chunks = [json.loads(line) for line in (there["path"] / "slurm/1/tasks.jsonl").read_text().splitlines()]
    assert [len(chunk) for chunk in chunks] == [2, 2, 2, 2]  # 8 tasks would be fairer, but MaxArraySize is 6
    assert [json.loads(path.read_text())["over"] for path in there["path"].glob("slurm/*/job.json")] == [True]
    assert json.loads((there["path"] / "study.json").read_text())["engine"] == "slurm"


def test_a_killed_study_finds_its_job_again_and_no_run_is_lost_or_repeated(tmp_path: Path, configuration: Path, here: Path) -> None:
    """Even if it was killed before it wrote the job's number down."""
    write(tmp_path, VARIED)
    path = _killed(tmp_path, after=1)  # most of the job is still to come
    record = json.loads((path / "slurm/1/job.json").read_text())
    assert slurm(configuration, "squeue", f"--jobs={record['job']}", "--noheader"), "the job should go on by itself"
    refused = estran("resume", str(path), "--engine", "local", cwd=tmp_path)
    assert (refused.returncode, f"scancel {record['job']}" in refused.stderr) == (2, True), refused.stderr
    (path / "slurm/1/job.json").write_text(json.dumps(record | {"job": None}))
    resumed = estran("resume", str(path), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"job {record['job']} in Slurm goes on since an earlier session" in resumed.stderr
    assert {folder.name for folder in path.glob("runs/*")} == {f"{run}-1" for run in range(1, 9)}
    assert [folder.name for folder in path.glob("slurm/*")] == ["1"], "runs were handed over twice"
    assert (path / "responses.csv").read_bytes() == (here / "responses.csv").read_bytes()


def test_a_killed_study_whose_job_was_cancelled_makes_the_rest_anew(tmp_path: Path, configuration: Path) -> None:
    write(tmp_path, VARIED)
    path = _killed(tmp_path, after=2)
    slurm(configuration, "scancel", json.loads((path / "slurm/1/job.json").read_text())["job"])
    _until(lambda: not slurm(configuration, "squeue", "--noheader"))
    kept = {folder: (folder / "run.json").read_bytes() for folder in path.glob("runs/*") if _status(folder) == "done"}
    resumed = estran("resume", str(path), "--engine", "local", "--json", cwd=tmp_path)
    assert json.loads(resumed.stdout)["done"] == 8, resumed.stderr
    assert all((folder / "run.json").read_bytes() == content for folder, content in kept.items()), "a finished run was touched"
    finished = [folder.name.partition("-")[0] for folder in path.glob("runs/*") if _status(folder) == "done"]
    assert len(finished) == len(set(finished)) == 8


def test_an_interrupted_study_cancels_its_own_job_and_goes_on_later(tmp_path: Path, configuration: Path) -> None:
    write(tmp_path, VARIED)
    other = slurm(configuration, "sbatch", "--parsable", "--wrap=sleep 60", "--output=/dev/null").strip()
    process = start("study", "experiment.yaml", "--on", "simulate", "--replicates", "3", "--jobs", "2", *SLURM, cwd=tmp_path)
    _until(lambda: _done(tmp_path) >= 2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=40)
    (path,) = tmp_path.glob("studies/tiny/*")
    assert (process.returncode, f"estran resume {path.relative_to(tmp_path)}" in said) == (1, True), said
    assert "Traceback" not in said
    assert slurm(configuration, "squeue", "--noheader", "--format=%A").split() == [other], "only our own job is cancelled"
    slurm(configuration, "scancel", other)
    assert _done(tmp_path) < 12
    assert estran("resume", str(path), "--json", cwd=tmp_path).returncode == 0
    assert _done(tmp_path) == 12


def test_runs_that_are_cut_off_are_made_again_and_those_behind_them_are_not_lost(tmp_path: Path, configuration: Path) -> None:
    """One level kills its array task at the first attempt, another at every one."""
    file = write(tmp_path, VARIED.replace('with: {rate: "${rate}"}', DYING) + "  die: [never, once, always]\n")
    parts = (tmp_path / "parts.py").read_text()
    (tmp_path / "parts.py").write_text(parts.replace("limit: int = -1", "limit: int = -1\n    die: str = 'never'").replace(
        "    async def setup(self) -> None:\n",
        "    async def setup(self) -> None:\n"
        "        import os, pathlib\n"
        "        mark = pathlib.Path(__file__).with_name(f'died-{self.settings.rate}')\n"
        "        if self.settings.die == 'always' or self.settings.die == 'once' and not mark.exists():\n"
        "            mark.touch()\n"
        "            os.kill(os.getpid(), 9)\n",
    ))  # fmt: skip
    assert "die" in file.read_text()
    found = study(tmp_path, "--replicates", "1", "--set", "delay=10ms", "--jobs", "2", *SLURM, "--engine-option", "chunk=3")
    assert (found["runs"], found["done"], found["failed"], found["exit"]) == (6, 4, 2, 1)
    for row in table(found["path"]):
        assert (row["die"] == "always") == (row["status"] == "failed")
        assert int(row["attempts"]) == {"never": 1, "once": 2, "always": 2}[row["die"]]
    assert all("was cut off: array task" in failure["what"] for failure in found["failures"])


def test_a_run_that_is_preempted_is_made_again(tmp_path: Path, configuration: Path) -> None:
    """The first run that begins hangs, until its array task is ended."""
    write(tmp_path, VARIED)
    parts = (tmp_path / "parts.py").read_text()
    (tmp_path / "parts.py").write_text(parts.replace(
        "    async def setup(self) -> None:\n",
        "    async def setup(self) -> None:\n"
        "        import pathlib, time\n"
        "        mark = pathlib.Path(__file__).with_name('hung')\n"
        "        if not mark.exists():\n"
        "            mark.touch()\n"
        "            time.sleep(300)\n",
    ))  # fmt: skip
    argv = ("--replicates", "1", "--set", "delay=10ms", "--jobs", "1", "--retries", "3", *SLURM, "--engine-option", "chunk=2")
    process = start("study", "experiment.yaml", *SIMULATE, *argv, cwd=tmp_path)
    _until(lambda: (tmp_path / "hung").exists())
    urgent = ("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    slurm(configuration, "sbatch", *urgent)
    said, _ = process.communicate(timeout=90)
    (path,) = tmp_path.glob("studies/tiny/*")
    assert process.returncode == 0, said
    rows = table(path)
    assert {row["status"] for row in rows} == {"done"}
    assert max(int(row["attempts"]) for row in rows) >= 2, said  # it would have hung for longer


def test_a_study_whose_runs_leave_no_folder_says_so(tmp_path: Path, configuration: Path) -> None:
    write(tmp_path, VARIED)
    broken = ("--engine-option", "export=ALL,PYTHONHOME=/nowhere")
    done = estran("study", "experiment.yaml", *SIMULATE, "--replicates", "1", *SLURM, *broken, cwd=tmp_path)
    assert done.returncode == 1
    assert "left a folder in" in done.stderr
    assert "that all nodes share" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--engine-option", "partition=moon"), "partition"),
        (("--engine-option", "moon=1"), "moon"),
        (("--engine-option", "array=1-4"), "set by the study itself"),
        (("--engine-option", "chunk=none"), "chunk=none is no positive number"),
        (("--engine-option", "time=1", "--engine-option", "time=2"), "twice"),
    ],
)
def test_wrong_requests_start_nothing(tmp_path: Path, configuration: Path, argv: tuple[str, ...], told: str) -> None:
    write(tmp_path, VARIED)
    done = estran("study", "experiment.yaml", "--on", "simulate", "--engine", "slurm", *argv, cwd=tmp_path)
    assert (done.returncode, told in done.stderr, "→" in done.stderr) == (2, True, True), done.stderr
    assert not (tmp_path / "studies").exists()


def _killed(cwd: Path, after: int) -> Path:
    """Begin a study, kill its process when some runs are done, and return its folder."""
    process = start("study", "experiment.yaml", *SIMULATE, "--replicates", "2", "--jobs", "2", *SLURM, cwd=cwd)
    _until(lambda: _done(cwd) >= after)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    (path,) = cwd.glob("studies/tiny/*")
    return path


def _until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
