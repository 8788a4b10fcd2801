"""Studies made for real, on simulated hosts: all runs, one table, whatever happens meanwhile."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.run.experiments import TINY, estran, start, write

VARIED = TINY.replace("rate: 40", 'rate: "${rate}"').replace("delay: 10ms", 'delay: "${delay}"')
VARIED = VARIED.replace('"parts:Total"', '"parts:Total", costs: {add: 1ms}')
VARIED += "factors:\n  delay: [10ms, 30ms]\n  rate: [20, 40]\n"
SIMULATE = ("--on", "simulate", "--json")


def study(cwd: Path, *argv: str) -> Any:
    done = estran("study", "experiment.yaml", *SIMULATE, *argv, cwd=cwd)
    assert done.stdout, done.stderr
    return json.loads(done.stdout) | {"exit": done.returncode, "path": cwd / json.loads(done.stdout)["study"]}


def table(path: Path) -> list[dict[str, str]]:
    with (path / "responses.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_runs_every_row_and_gathers_the_responses(tmp_path: Path) -> None:
    write(tmp_path, VARIED)
    found = study(tmp_path, "--replicates", "2", "--jobs", "2")
    assert (found["runs"], found["done"], found["failed"], found["exit"]) == (8, 8, 0, 0)
    rows = table(found["path"])
    assert [row["status"] for row in rows] == ["done"] * 8
    assert sorted({(row["seed"], row["block"]) for row in rows}) == [("1", "1"), ("2", "2")]
    for row in rows:
        run = json.loads((found["path"] / row["folder"] / "run.json").read_text())
        assigned = json.loads((found["path"] / row["folder"] / "assignment.json").read_text())
        assert (str(run["seed"]), run["status"]) == (row["seed"], "done")
        assert assigned["factors"] == {"delay": row["delay"], "rate": int(row["rate"])}
        responses = json.loads((found["path"] / row["folder"] / "responses.json").read_text())
        assert float(row["latency"]) == responses["latency"]["value"]
        assert (float(row["latency"]) > 0.03) == (row["delay"] == "30ms")
    assert json.loads((found["path"] / "units.json").read_text())["latency"] == "s"
    design = (found["path"] / "design.csv").read_text()
    assert design.splitlines()[0] == "run,block,point,seed,delay,rate"
    said = estran("explain", str(found["path"]), cwd=tmp_path)
    assert "delay explains" in said.stdout, said.stderr
    assert "30ms has" in said.stdout
    asked = json.loads(estran("explain", str(found["path"]), "--response", "latency", "--json", cwd=tmp_path).stdout)
    assert asked["explanations"][0]["effects"][0]["term"] == "delay"
    absent = estran("explain", str(found["path"]), "--response", "beauty", cwd=tmp_path)
    assert (absent.returncode, "no run measured 'beauty'" in absent.stderr) == (2, True)
    again = study(tmp_path, "--replicates", "2", "--jobs", "1", "--out", "again")
    assert (again["path"] / "design.csv").read_text() == design
    assert _without_folders(table(again["path"])) == _without_folders(rows)


def _without_folders(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name not in ("folder", "attempts")} for row in rows]


def test_a_killed_study_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed without a warning at a random moment, with two runs going on."""
    write(tmp_path, VARIED)
    whole = study(tmp_path, "--replicates", "3", "--jobs", "2", "--out", "whole")
    process = start("study", "experiment.yaml", *SIMULATE, "--replicates", "3", "--jobs", "2", cwd=tmp_path)
    wanted = random.SystemRandom().randrange(1, 9)
    deadline = time.monotonic() + 60
    while (done := _done(tmp_path)) < wanted:
        assert time.monotonic() < deadline, f"{done} of {wanted} runs"
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    (path,) = tmp_path.glob("studies/tiny/*")
    _wait_for_workers(path)
    kept = {folder: (folder / "run.json").read_bytes() for folder in path.glob("runs/*") if _status(folder) == "done"}
    assert len(kept) >= wanted
    resumed = estran("resume", str(path), "--json", cwd=tmp_path)
    assert json.loads(resumed.stdout)["done"] == 12, resumed.stderr
    assert all((folder / "run.json").read_bytes() == content for folder, content in kept.items()), "a finished run was touched"
    finished = [folder.name.partition("-")[0] for folder in path.glob("runs/*") if _status(folder) == "done"]
    assert sorted(finished) == sorted(set(finished)), "a run was made twice"
    assert _without_folders(table(path)) == _without_folders(table(whole["path"]))
    assert estran("resume", str(path), cwd=tmp_path).returncode == 0


def _status(folder: Path) -> str:
    try:
        status: str = json.loads((folder / "run.json").read_text())["status"]
    except (OSError, ValueError):
        return "none"
    return status


def _done(cwd: Path) -> int:
    return sum(_status(folder) == "done" for folder in cwd.glob("studies/tiny/*/runs/*"))


def _wait_for_workers(path: Path) -> None:
    """They end by themselves, in good order, when the study's process is gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(_is_worker(entry, path) for entry in Path("/proc").glob("[0-9]*")):
            return
        time.sleep(0.05)
    raise AssertionError("a worker outlived its study")


def _is_worker(entry: Path, path: Path) -> bool:
    try:
        working = (entry / "cwd").readlink() == path.parents[2]
        return working and b"estran.study.worker" in (entry / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_ends_its_runs_and_says_how_to_go_on(how: signal.Signals, tmp_path: Path) -> None:
    write(tmp_path, VARIED)
    process = start("study", "experiment.yaml", "--on", "simulate", "--replicates", "20", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while _done(tmp_path) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    said, _ = process.communicate(timeout=40)
    assert process.returncode == 1
    (path,) = tmp_path.glob("studies/tiny/*")
    assert f"estran resume {path.relative_to(tmp_path)}" in said
    assert "Traceback" not in said
    states = {folder.name: _status(folder) for folder in path.glob("runs/*")}
    assert set(states.values()) <= {"done", "interrupted"}, states
    assert sum(row["status"] == "done" for row in table(path)) == _done(tmp_path)
    shown = estran("show", str(path), cwd=tmp_path)
    assert f"are still to be made: estran resume {path}" in shown.stdout.replace("\n", "")
    told = json.loads(estran("show", str(path), "--json", cwd=tmp_path).stdout)
    assert told["done"] == _done(tmp_path)
    assert told["done"] + told["failed"] + told["todo"] == told["runs"]


def test_failed_runs_are_made_again_then_marked_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = VARIED.replace('with: {rate: "${rate}"}', 'with: {rate: "${rate}", fail_after: "${fails}"}') + "  fails: [-1, 3]\n"
    write(tmp_path, text)
    found = study(tmp_path, "--replicates", "1", "--set", "delay=10ms")
    assert (found["runs"], found["done"], found["failed"], found["exit"]) == (4, 2, 2, 1)
    assert all("the sensor is on fire" in failure["what"] for failure in found["failures"])
    for row in table(found["path"]):
        wanted = ("done", "1") if row["fails"] == "-1" else ("failed", "2")
        assert (row["status"], row["attempts"]) == wanted
        assert (row["latency"] == "") == (row["status"] == "failed")


@pytest.mark.parametrize(
    ("text", "argv", "told"),
    [
        (TINY, (), "no factor to vary"),
        (VARIED + "  lone: [1]\n", (), "lone"),
        (VARIED, ("--design", "absent.csv"), "absent.csv"),
        (VARIED, ("--design", "all"), "choose full"),
        (VARIED, ("--replicates", "0"), "--replicates"),
        (VARIED, ("--jobs", "0"), "--jobs"),
        (VARIED.replace("[10ms, 30ms]", "[10ms, soon]"), (), "soon"),
        (VARIED, ("--set", "delay=10ms", "--set", "rate=20"), "do not --set all"),
    ],
)
def test_wrong_requests_start_nothing(tmp_path: Path, text: str, argv: tuple[str, ...], told: str) -> None:
    write(tmp_path, text)
    done = estran("study", "experiment.yaml", "--on", "simulate", *argv, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "→" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("studies/*/*/runs/*"))


def test_only_studies_are_resumed_and_only_with_the_same_experiment(tmp_path: Path) -> None:
    file = write(tmp_path, VARIED)
    for verb in ("resume", "explain"):
        done = estran(verb, ".", cwd=tmp_path)
        assert (done.returncode, "no folder of a study" in done.stderr) == (2, True)
    found = study(tmp_path, "--replicates", "1", "--design", "one-at-a-time")
    file.write_text(VARIED + "\n# changed\n")
    done = estran("resume", str(found["path"]), cwd=tmp_path)
    assert done.returncode == 2
    assert "has changed since" in done.stderr


@pytest.mark.root
def test_an_emulated_study(tmp_path: Path) -> None:
    write(tmp_path, VARIED)
    done = estran("study", "experiment.yaml", "--replicates", "1", "--set", "rate=40", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["done"] == 2, done.stderr
    latencies = {row["delay"]: float(row["latency"]) for row in table(tmp_path / found["study"])}
    assert 0.009 < latencies["10ms"] < 0.029 < latencies["30ms"]
    crowded = estran("study", "experiment.yaml", "--jobs", "50", cwd=tmp_path)
    assert crowded.returncode == 2
    assert "would disturb each other" in crowded.stderr
