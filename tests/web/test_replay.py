"""Finished runs as they were at any moment, over each other, and what may be broken in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.run.hand import LONGEST, door_of
from estran.web.following import Following
from estran.web.index import key_of
from estran.web.logs import read_logs

from .answering import answering
from .growing import Growing
from .served import Served, served


@pytest.fixture
def done(root: Path) -> Path:
    return root / "runs" / "visual-inspection" / "done"


def test_a_finished_run_is_told_at_any_moment(server: Served, done: Path) -> None:
    address = f"/api/run/{key_of(done)}"
    found = {moment: server.ask(f"{address}/moment?at={moment}").data for moment in (4.0, 8.0, 6.0, 1e9)}
    samples = {moment: _figure(state, "samples") for moment, state in found.items()}
    assert samples[4.0] < samples[6.0] < samples[8.0] < samples[1e9]
    assert found[6.0] == server.ask(f"{address}/moment?at=6.0").data  # on the way there it makes no difference
    assert all(event["time"] <= 4.0 for event in found[4.0]["events"])
    assert all(model["published"] <= 4.0 for model in found[4.0]["models"])
    assert not found[4.0]["run"]["whole"]
    assert server.ask(f"{address}/logs?until=-1").data["lines"] == []
    assert server.ask(f"{address}/moment?at=soon").status == 400


def test_logs_are_told_until_a_moment(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a-0.log").write_text("  1.000 stdout first\n  5.000 stdout second\n")
    assert [line[3] for line in read_logs(tmp_path, "", 0, "", until=4.0)["lines"]] == ["first"]
    assert [line[3] for line in read_logs(tmp_path, "", 0, "")["lines"]] == ["first", "second"]


def _figure(state: Any, name: str) -> float:
    return float(next(one["value"] for one in state["figures"] if one["name"] == name))


def test_the_whole_figures_are_reached_by_many_small_steps(done: Path) -> None:
    straight, stepped = Following(done), Following(done)
    with straight.lock, stepped.lock:
        whole = straight.at(1e9).facts
        for moment in np.arange(0.0, 12.0, 0.37):
            stepped.at(float(moment))
        facts = stepped.at(1e9).facts
    assert facts.answers.figures(whole.newest) == pytest.approx(whole.answers.figures(whole.newest))
    assert facts.models.plain() == whole.models.plain()
    assert facts.traffic.channels.keys() == whole.traffic.channels.keys()
    for key, recent in facts.traffic.channels.items():
        assert recent.total == pytest.approx(whole.traffic.channels[key].total)


def test_courses_of_runs_are_told_over_each_other(server: Served, done: Path) -> None:
    keys = [key_of(done), key_of(done.with_name("other"))]
    charts = server.ask(f"/api/compare/charts?of={keys[0]}&of={keys[1]}").data
    assert [chart["id"] for chart in charts] == ["accuracy", "latency", "throughput", "staleness"]
    for chart in charts:
        assert [line["label"] for line in chart["series"]] == ["done", "other"]
        assert all(len(line["y"]) == len(chart["x"]) for line in chart["series"])


def test_a_fault_needs_a_run_that_measures_and_a_page_of_ours(server: Served, done: Path) -> None:
    address = f"/api/run/{key_of(done)}/faults"
    assert server.ask(address).status == 409
    assert "no fault can be started now" in server.ask(address).data["what"]
    assert server.ask(address, "POST").status == 403
    ours = {"origin": server.origin, "x_estran_csrf": server.access.csrf}
    assert server.ask(address, "POST", **ours | {"origin": "http://example.org"}).status == 403
    assert server.ask(address, "POST", **ours).status == 400  # it asks for none


def test_what_is_refused_says_by_its_status_whose_fault_it_is(
    server: Served, root: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    growing = Growing(done, tmp_path / "e" / "r")
    growing.until(1.0)
    cause = {"what": "fog and cloud have no link", "remedy": "choose others"}
    with answering(door_of("r"), lambda _: cause), served([tmp_path]) as one:
        one.enter()
        ours = {"origin": one.origin, "x_estran_csrf": one.access.csrf}
        address = f"/api/run/{key_of(growing.folder)}"
        refused = one.ask(f"{address}/faults", "POST", b'{"cut": ["fog", "cloud"]}', **ours)
        assert (refused.status, refused.data["what"], refused.data["remedy"]) == (409, *cause.values())
        assert one.ask(f"{address}/faults", "POST", b"cut", **ours).status == 400
        assert one.ask(f"{address}/faults", "POST", b" " * (LONGEST + 1), **ours).status == 413
        replayed = one.ask(f"{address}/moment?at=1")
        assert (replayed.status, replayed.data["remedy"]) == (409, "wait until it is over")
        assert one.ask(f"/run/{key_of(growing.folder)}/report").status == 404
        assert one.ask(f"/api/run/{'0' * 16}/moment?at=1").status == 404
    growing.store.close()
    ours = {"origin": server.origin, "x_estran_csrf": server.access.csrf}
    early = server.ask(f"/api/study/{key_of(root / 'studies' / 'placements')}/explain", "POST", **ours)
    assert (early.status, early.data["what"]) == (409, "the study has no table yet")
