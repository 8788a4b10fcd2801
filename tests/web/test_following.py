"""A run that is followed: what is read bit by bit is what is read at once, live or finished."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.errors import EstranError
from estran.observe.live import LiveResponses
from estran.observe.queries import open_run
from estran.observe.rows import ExchangeRow
from estran.report import answers
from estran.run.journal import Journal
from estran.web.charts import charts
from estran.web.drawing import draw
from estran.web.following import Following, Followings
from estran.web.snapshot import snapshot
from tests.observe.folders import write_folder

from .growing import Growing, _rows

NOW = datetime(2026, 11, 23, 18, 45, 9, tzinfo=UTC)


@pytest.fixture
def done(root: Path) -> Path:
    return root / "runs" / "visual-inspection" / "done"


def clock() -> Iterator[float]:
    """A clock that goes on by a second at each look, so that every look reads."""
    now = 0.0
    while True:
        yield (now := now + 1.0)


def followed(folder: Path) -> Following:
    ticks = clock()
    return Following(folder, now=lambda: next(ticks))


def told(run: Following) -> dict[str, Any]:
    with run.lock:
        run.refresh()
        return snapshot(run, draw(run.folder), NOW) | {"charts": charts(run)}


def test_bit_by_bit_is_as_at_once_and_live_is_as_finished(done: Path, tmp_path: Path) -> None:
    growing = Growing(done, tmp_path / "bits")
    bits = followed(growing.folder)
    for time in (0.0, 1.3, 1.4, 5.0, 20.0):
        growing.until(time)
        told(bits)
    at_once, finished = followed(growing.folder), followed(done)
    states = [told(run) for run in (bits, at_once, finished)]
    for state in states:
        del state["run"], state["figures"], state["events"]  # those of a run that is over are others
    assert states[0]["charts"][0]["x"] == states[1]["charts"][0]["x"]
    for name in ("accuracy", "latency", "throughput", "staleness", "streams"):
        drawn = [next(chart for chart in state["charts"] if chart["id"] == name) for state in states]
        assert drawn[0]["series"] == drawn[1]["series"]
        for one, other in zip(drawn[1]["series"], drawn[2]["series"], strict=True):
            assert floats(one["y"]) == pytest.approx(floats(other["y"]), rel=1e-3, nan_ok=True)
    assert states[0]["models"] == states[1]["models"] == states[2]["models"]
    assert states[0]["edges"] == states[1]["edges"]
    growing.store.close()


def floats(values: list[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


def test_the_newest_figures_are_those_that_steer_the_run(done: Path) -> None:
    run = followed(done)
    told(run)
    live = LiveResponses()
    live.update("messages", _rows(done, "messages"))
    figures = run.facts.answers.figures(run.facts.newest)
    assert figures["samples"] == live.get("samples")
    assert figures["accuracy"] == pytest.approx(live.get("accuracy"), abs=0.02)
    assert figures["throughput"] == pytest.approx(live.get("throughput"), rel=0.1)
    columns = open_run(done).columns("messages")
    answered = ~np.ma.getmaskarray(columns["answer"]) & (columns["done"] > run.facts.newest - 5)
    latency = (columns["done"] - columns["created"])[answered]
    assert figures["latency_p50"] == pytest.approx(float(np.median(latency)), rel=0.03)


def test_ages_of_models_are_the_reports(done: Path) -> None:
    run = followed(done)
    told(run)
    with open_run(done).database() as connection:
        found = answers.staleness(connection, (0.0, np.inf))
    sums = run.facts.answers.ages.sums.sum(axis=0)
    assert found is not None
    assert sums[1] / sums[0] == pytest.approx(found.average, rel=1e-2)


def test_when_a_live_run_becomes_files_nothing_is_lost_or_counted_twice(done: Path, tmp_path: Path) -> None:
    growing = Growing(done, tmp_path / "run")
    run = followed(growing.folder)
    growing.until(3.0)
    before = told(run)
    assert not before["run"]["over"]
    assert before["run"]["left"] == pytest.approx(2 + 6 - 5 + 1)
    growing.until(20.0)  # what nobody read before the file goes
    growing.end()
    after = told(run)
    assert after["run"]["over"]
    assert after["run"]["left"] is None
    assert run.facts.answers.counts.sums[:, 0].sum() == followed_sum(done)
    names = {figure["name"]: figure for figure in after["figures"]}
    assert names["accuracy"]["ci95"] is not None


def followed_sum(folder: Path) -> float:
    run = followed(folder)
    told(run)
    return float(run.facts.answers.counts.sums[:, 0].sum())


def test_a_run_that_has_not_recorded_anything_yet_is_shown(done: Path, tmp_path: Path) -> None:
    growing = Growing(done, tmp_path / "run")
    growing.store.close()
    (growing.folder / "live.sqlite").unlink()
    state = told(followed(growing.folder))
    assert state["run"]["status"] == "running"
    assert state["figures"] == []
    assert {replica["state"] for replica in state["replicas"]} == {"planned"}


def test_many_who_look_read_once(done: Path) -> None:
    followings = Followings()
    one = followings.of(done)
    assert followings.of(done) is one


def test_charts_of_a_part_keep_what_stands_out(done: Path) -> None:
    run = followed(done)
    told(run)
    wide = charts(run, 2.0, 4.0, 4000)
    narrow = charts(run, 2.0, 4.0, 50)
    for one, other in zip(wide, narrow, strict=True):
        assert all(2.0 <= x <= 4.0 for x in other["x"])
        assert len(other["x"]) <= 50 * len(other["series"])
        for a, b in zip(one["series"], other["series"], strict=True):
            known = [[y for y in line["y"] if y is not None] for line in (a, b)]
            assert (min(known[0]), max(known[0])) == (min(known[1]), max(known[1]))


def test_a_run_of_which_there_is_only_a_record_is_shown(done: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text((done / "run.json").read_text())
    state = told(followed(tmp_path))
    assert (state["run"]["status"], state["hosts"], state["charts"]) == ("done", [], [])
    assert draw(followed(tmp_path).folder).plain() == {"nodes": [], "edges": []}


@pytest.mark.parametrize("name", ["plan", "network", "run", "responses"])
@pytest.mark.parametrize("content", ["", "[]", "{", '"text"'])
def test_a_damaged_document_is_an_error_that_says_where(done: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "run"))
    (folder / f"{name}.json").write_text(content)
    with pytest.raises(EstranError, match=f"{name}.json|plan of a run|object|schema"):
        told(followed(folder))


@pytest.mark.parametrize("content", ['{"links": "x", "cpus": [], "facts": {}}', "{}", '{"links": [{"source": 3}], "cpus": [{}]}'])
def test_what_is_missing_in_a_document_is_left_out(done: Path, tmp_path: Path, content: str) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "run"))
    (folder / "network.json").write_text(content)
    assert len(told(followed(folder))["hosts"]) == 6


def test_a_run_whose_conductor_was_killed_is_told_from_one_that_goes_on(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    growing = Growing(done, tmp_path / "runs" / "r")
    growing.until(3.0)
    with Journal("r", growing.folder) as journal:
        assert told(followed(growing.folder))["run"]["status"] == "running"
        journal.path.write_text(journal.path.read_text().replace(f"{os.getpid()} ", "999999 "))
        state = told(followed(growing.folder))["run"]
        assert (state["status"], state["over"], state["left"]) == ("killed", True, None)
        (phase,) = state["phases"]  # as long as it was recorded, neither as planned nor until now
        assert (phase["name"], phase["status"], phase["seconds"]) == ("warm up", "failed", pytest.approx(3.0, abs=0.1))
    growing.store.close()


@pytest.mark.parametrize("live", [True, False])
def test_exchanges_of_commands_are_told_once_each(tmp_path: Path, live: bool) -> None:
    rows = [
        ExchangeRow(i / 10, host, replica, side, peer, 8000, "c", i, None, 100, i / 10, i / 10, 300, i / 10 + 0.02, i / 10 + wait)
        for i in range(100)
        for host, replica, side, peer, wait in (
            ("edge-0", "camera-0", "client", "fog-0", 0.05),
            ("fog-0", "", "server", "edge-0", 0.01),
        )
    ]
    folder = write_folder(tmp_path / "r", {"exchanges": rows, "messages": []}, live=live)
    run = followed(folder)
    with run.lock:
        run.refresh()
        figures = run.facts.answers.figures(10.0)
        state = snapshot(run, draw(run.folder), NOW)
    (told,), (arrow,) = state["exchanges"], state["arrows"]
    assert figures["exchange_latency_p50"] == pytest.approx(0.05, rel=0.0101)
    assert (told["client"], told["server"], told["port"]) == ("camera-0", "fog-0", "8000")
    nodes = {node["id"]: node["label"] for node in draw(run.folder).plain()["nodes"]}
    assert (nodes[told["source"]], nodes[told["target"]]) == ("camera-0", "fog-0")  # of two services there, nobody knows which
    assert told["rate"] == pytest.approx(10, rel=0.05)
    assert told["bytes"] == pytest.approx(4000, rel=0.05)
    assert told["transfer"] == pytest.approx(0.05)
    assert arrow["port"] == "8000"
    assert arrow["spent"] / arrow["rate"] == pytest.approx(0.05)
    assert (arrow["id"], arrow["route"]["anchor"]) == (f"exchange {told['source']} {told['target']} 8000", "middle")
    assert [chart["id"] for chart in charts(run)] == ["exchanges"]
