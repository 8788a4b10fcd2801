"""Optimisations made for real, on simulated hosts: runs, tables, answer; whatever happens meanwhile."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from estran.errors import EstranError, RequestError
from estran.explain.table import read_table
from estran.optimize.answer import Answer
from estran.optimize.folder import ASKED, Folder
from estran.optimize.optimize import Request, begin, conduct, reopen
from estran.optimize.strategy import Ask, Told
from estran.run.prepare import read_experiment
from estran.study.lock import alone
from estran.study.study import reopen as reopen_study
from tests.run.experiments import TINY, assert_nothing_left, estran, start, write

VARIED = TINY.replace("rate: 40", 'rate: "${rate}", fail_after: "${fail}"').replace("delay: 10ms", 'delay: "${delay}"')
VARIED = VARIED.replace('"parts:Total"', '"parts:Total", costs: {add: 1ms}').replace("duration: 1.5s", "duration: 0.8s")
VARIED += """factors:
  delay: {from: 1ms, to: 50ms, scale: log, default: 20ms}
  rate: {from: 10, to: 60, default: 40}
  fail: [-1, 3]
"""
TRIALS = 12


class Watching:
    """Counts."""

    def __init__(self) -> None:
        self.begun, self.told, self.minded = list[Ask](), list[Told](), list[str]()

    def began(self, ask: Ask) -> None:
        self.begun.append(ask)

    def ended(self, ask: Ask, told: Told) -> None:
        self.told.append(told)

    def mind(self, text: str) -> None:
        self.minded.append(text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, VARIED)


def asked(file: Path, **more: object) -> Request:
    made = Request(str(file), ("latency",), ("throughput",), on="simulate", trials=TRIALS, overrides=("fail=-1",))
    return replace(made, **more)  # type: ignore[arg-type]


def optimised(request: Request, out: Path, jobs: int = 1) -> tuple[Folder, Answer, Watching]:
    folder, watcher = begin(request, out=out), Watching()
    return folder, conduct(folder, jobs=jobs, watcher=watcher, command=["estran", "optimize"]), watcher


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Answer, Watching]:
    """A search that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return optimised(asked(write(folder, VARIED)), folder / "a")


def test_a_search_is_made_and_told_and_is_the_same_each_time(
    whole: tuple[Folder, Answer, Watching], file: Path, tmp_path: Path
) -> None:
    folder, found, watcher = whole
    made = rows(folder.path)
    assert [row["status"] for row in made] == ["done"] * TRIALS
    assert len(watcher.begun) == len(watcher.told) == TRIALS
    assert (made[0]["delay"], made[0]["rate"], made[0]["what"]) == ("20ms", "40", "default")
    for row in made:
        responses = json.loads((folder.path / row["folder"] / "responses.json").read_text())
        assert float(row["latency"]) == responses["latency"]["value"]
    table = read_table(folder.path / "simulate")
    assert table.done.sum() == TRIALS
    assert found.recommended is not None
    best = found.candidate(found.recommended)
    assert best.means[0] < 0.023
    assert {gain.response: gain.better for gain in found.gains}["latency"]
    assert found.sentence.startswith("latency 22.2ms → ")
    assert json.loads((folder.path / "answer.json").read_text())["recommended"] == found.recommended
    assert [step.hypervolume for step in found.trace] == sorted(step.hypervolume for step in found.trace)
    recommended, _ = read_experiment(str(folder.path / "recommended.yaml"))
    assert {name: recommended.assignment[name] for name in best.levels} == best.levels
    assert recommended.folder == str(folder.path.parents[2])  # where parts.py is
    again, _, _ = optimised(asked(file), tmp_path / "b")
    assert (again.path / "trials.csv").read_bytes() == (folder.path / "trials.csv").read_bytes()
    assert (again.path / "front.csv").read_bytes() == (folder.path / "front.csv").read_bytes()
    with pytest.raises(RequestError, match="part of an optimisation"):
        reopen_study(folder.path / "simulate")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_search_that_was_ended_goes_on_where_it_was(
    how: signal.Signals, whole: tuple[Folder, Answer, Watching], file: Path, tmp_path: Path
) -> None:
    """What is resumed ends as if nothing had happened."""
    request = ("--minimize", "latency", "--maximize", "throughput", "--on", "simulate", "--trials", str(TRIALS), "--jobs", "1")
    process = start("optimize", "experiment.yaml", *request, "--set", "fail=-1", "--json", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("studies/tiny/*/simulate/runs/*/responses.json"))) < 4:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, how)
    said = process.communicate()[0]
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 1)
    assert ("to go on: estran resume" in said) == (how != signal.SIGKILL)
    (path,) = tmp_path.glob("studies/tiny/*")
    watcher = Watching()
    conduct(reopen(path), jobs=1, watcher=watcher, command=["estran", "resume"])
    assert 0 < len(watcher.begun) < TRIALS
    assert without_attempts(rows(path)) == without_attempts(rows(whole[0].path))
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(RequestError, match="has changed"):
        reopen(path)


def without_attempts(made: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "folder": row["folder"].rpartition("-")[0]} for row in made]


def test_responses_that_no_run_measures_end_it_at_once(file: Path, tmp_path: Path) -> None:
    done = estran("optimize", "experiment.yaml", "--minimize", "latencies", "--on", "simulate", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("no run measures 'latencies'") == 1
    assert "whole runs have" in done.stderr
    (path,) = tmp_path.glob("studies/tiny/*")
    assert len(list((path / "simulate" / "runs").iterdir())) == 1


def test_runs_that_fail_or_take_too_long_are_told_as_such(file: Path, tmp_path: Path) -> None:
    folder, found, _ = optimised(asked(file, overrides=(), trials=16), tmp_path / "a", jobs=2)
    made = rows(folder.path)
    failed = [row for row in made if row["status"] == "failed"]
    assert failed
    assert all(row["fail"] == "3" and row["failure"] for row in failed)
    assert len({row["point"] for row in failed}) == len(failed)
    assert found.counts["simulate"] == {"done": 16 - len(failed), "failed": len(failed)}
    assert {row["status"] for row in csv.DictReader((folder.path / "simulate" / "responses.csv").open())} == {"done", "failed"}
    with pytest.raises(EstranError, match=r"none of the first 5 runs was done: it took longer than 0\.01s"):
        optimised(asked(file, timeout="10ms"), tmp_path / "b")


def test_a_search_starts_from_what_earlier_ones_measured(file: Path, tmp_path: Path) -> None:
    first, _, _ = optimised(asked(file, trials=6, subject_to=("latency<=30ms",)), tmp_path / "a")
    assert all(json.loads(row["feasible"]) == (float(row["latency"]) <= 0.03) for row in rows(first.path))
    second, found, _ = optimised(asked(file, trials=6, overrides=("fail=-1", "seed=5"), earlier=(str(first.path),)), tmp_path / "b")
    assert rows(second.path)[0]["point"] == "0"
    said = " ".join(found.notes)
    assert "points of" in said
    assert "had --set fail=-1, this fail=-1 seed=5" in said
    with pytest.raises(RequestError, match="fail did not vary there"):
        begin(asked(file, overrides=(), earlier=(str(first.path),)), out=tmp_path / "c")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"sampler": "genetic"}, "there is no sampler 'genetic'"),
        ({"prune": "median", "on": "emulate"}, "with several goals"),
        ({"prune": "median", "on": "emulate", "maximize": (), "minimize": ("beauty",)}, "beauty is not known while a run goes on"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
        ({"trials": 0}, "0 make no optimisation"),
        ({"prune": "median", "maximize": ()}, "simulated runs are not ended early"),
        ({"fidelities": ("simulate", "simulate")}, "simulate is named twice"),
        ({"fidelities": ("flow", "simulate")}, "flow cannot simulate this"),
        ({"fidelities": ("simulate", "")}, "between commas stands nothing"),
        ({"overrides": ("fail=-1", "rate=1", "delay=1ms")}, "there is no factor to vary"),
        ({"earlier": ("nowhere",)}, "no folder of a study"),
    ],
)
def test_what_cannot_be_searched_is_refused(file: Path, tmp_path: Path, more: dict[str, object], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        begin(asked(file, **more), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bound_without_a_unit_is_told_with_the_one_that_is_taken(file: Path, tmp_path: Path) -> None:
    _, found, watcher = optimised(asked(file, subject_to=("latency<=120",), trials=2), tmp_path / "out")
    (text,) = watcher.minded
    assert "taken to be in s" in text
    assert "120ms" in text
    assert text in found.notes


def test_jobs_that_cannot_be_leave_no_folder(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="0 jobs do nothing"):
        begin(asked(file), out=tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_two_do_not_go_on_with_one_search(file: Path, tmp_path: Path) -> None:
    folder = begin(asked(file), out=tmp_path / "out")
    with alone(folder.path / ASKED), pytest.raises(RequestError, match="another process is making its runs"):
        conduct(reopen(folder.path), jobs=1, watcher=Watching(), command=["estran", "resume"])
    assert not (folder.path / "simulate" / "runs").exists()


def test_a_search_is_no_study_but_has_one(whole: tuple[Folder, Answer, Watching]) -> None:
    with pytest.raises(RequestError) as refused:
        read_table(whole[0].path)
    assert str(whole[0].path / "simulate") in str(refused.value.remedy)


def test_an_emulated_search_ends_runs_that_take_too_long(tmp_path: Path) -> None:
    """A run that is ended has given its hosts back."""
    request = asked(write(tmp_path, VARIED), on="emulate", trials=1)
    folder, _, _ = optimised(request, tmp_path / "a")
    assert [row["status"] for row in rows(folder.path)] == ["done"]
    endless = replace(request, timeout="12s", overrides=("fail=-1", "measure.duration=90s"))
    folder, found, _ = optimised(endless, tmp_path / "b")
    (row,) = rows(folder.path)
    assert (row["status"], row["failure"]) == ("timed-out", "it took longer than 12s")
    assert found.recommended is None
    run = json.loads((folder.path / row["folder"] / "run.json").read_text())
    assert run["status"] == "interrupted"
    assert_nothing_left(run["id"])
