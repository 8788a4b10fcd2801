"""What the report computes from the tables agrees with the records, and with the responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.errors import EstranError, RequestError
from estran.observe.answers import majority, no_change
from estran.report.data import Report, gather

from .synthetic import Scene, write_run

COLUMNS = (
    "trace",
    "stream",
    "origin",
    "seq",
    "receiver",
    "created",
    "sent",
    "received",
    "started",
    "done",
    "bytes",
    "version",
    "truth",
    "answer",
)


@pytest.fixture(scope="module")
def done(runs: Mapping[str, Path]) -> Report:
    return gather(runs["done"])


def write_small(folder: Path, messages: list[tuple[Any, ...]], *, warmup: float = 0.0) -> Path:
    """A run folder with nothing but messages."""
    folder.mkdir(exist_ok=True)
    run = {"schema": 1, "id": "r", "experiment": "e", "status": "done", "warmup": warmup, "duration": 1e6}
    (folder / "run.json").write_text(json.dumps(run))
    columns = dict(zip(COLUMNS, zip(*messages, strict=True), strict=True))
    integers = {name: pa.array(columns.pop(name), pa.int64()) for name in ("seq", "bytes", "version", "truth", "answer")}
    floats = {name: pa.array(columns.pop(name), pa.float64()) for name in ("created", "sent", "received", "started", "done")}
    pq.write_table(
        pa.table({**{k: pa.array(v, pa.string()) for k, v in columns.items()}, **integers, **floats}), folder / "messages.parquet"
    )
    return folder


def answered(truths: list[int], answers: list[int]) -> list[tuple[Any, ...]]:
    return [
        ("t", "c.s", "c-0", i, "p-0", float(i), float(i), i + 0.1, i + 0.2, i + 0.3, 10, 0, truth, answer)
        for i, (truth, answer) in enumerate(zip(truths, answers, strict=True))
    ]


def test_overall_figures_equal_the_responses(done: Report) -> None:
    responses, found = done.run.responses, done.accuracy
    assert found is not None
    assert found.overall == pytest.approx(responses["accuracy"].value)
    assert found.overall_no_change == pytest.approx(responses["accuracy_no_change"].value)
    assert found.overall_majority == pytest.approx(responses["accuracy_majority"].value)
    assert done.staleness is not None
    assert done.staleness.average == pytest.approx(responses["staleness"].value)
    assert done.distributions[0].at(0.5) == pytest.approx(responses["latency_p50"].value, rel=1e-3)
    assert done.distributions[0].at(0.99) == pytest.approx(responses["latency_p99"].value, rel=1e-2)


def test_windows_cover_every_answer(done: Report) -> None:
    assert done.accuracy is not None
    assert sum(done.accuracy.answered) == 4000
    assert sorted(done.accuracy.time) == done.accuracy.time
    assert len(done.accuracy.time) <= 100


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_rivals_are_judged_as_the_responses_judge_them(tmp_path: Path, pairs: list[tuple[int, int]]) -> None:
    truths, answers = [t for t, _ in pairs], [a for _, a in pairs]
    found = gather(write_small(tmp_path / "run", answered(truths, answers))).accuracy
    assert found is not None
    assert found.overall == pytest.approx(np.mean(np.array(truths) == np.array(answers)))
    for mine, theirs in ((found.overall_no_change, no_change(truths)), (found.overall_majority, majority(truths))):
        judged = theirs[theirs >= 0]
        assert mine == (pytest.approx(judged.mean()) if judged.size else None)


def test_stages_of_a_direct_message_sum_to_its_latency(done: Report) -> None:
    direct = [leg for leg in done.legs if leg.stream == "camera.samples"]
    assert {leg.service for leg in direct} == {"detector", "trainer"}
    for leg in direct:
        distribution = next(d for d in done.distributions if (d.service, d.stream) == (leg.service, leg.stream))
        assert leg.p99 == pytest.approx(distribution.at(0.99), rel=1e-6)
        assert leg.slowest.total >= leg.mean.total


def test_a_relay_waits_from_the_end_of_the_stage_before(tmp_path: Path) -> None:
    rows = [
        ("a:1", "cam.out", "cam-0", 0, "mid-0", 0.0, 0.1, 0.2, 0.4, 0.7, 10, None, None, None),
        ("a:1", "mid.out", "mid-0", 0, "end-0", 0.0, 0.8, 1.0, 1.1, 1.5, 10, None, None, None),
    ]
    legs = {leg.service: leg.mean for leg in gather(write_small(tmp_path / "run", rows)).legs}
    assert legs["mid"].queueing == pytest.approx(0.1 + 0.2)
    assert legs["end"].queueing == pytest.approx(0.1 + 0.1)
    assert legs["end"].transfer == pytest.approx(0.2)
    assert legs["end"].compute == pytest.approx(0.4)


def test_warmup_counts_in_no_overall_figure(tmp_path: Path) -> None:
    rows = answered([1] * 10, [0] * 5 + [1] * 5)
    found = gather(write_small(tmp_path / "run", rows, warmup=5.0))
    assert found.accuracy is not None
    assert found.accuracy.overall == 1.0
    assert sum(found.accuracy.answered) == 10
    assert found.legs[0].messages == 5


def test_rates_integrate_to_the_counters(done: Report, runs: Mapping[str, Path]) -> None:
    assert done.usage is not None
    metrics = pq.read_table(runs["done"] / "metrics.parquet")
    rows = [r for r in metrics.to_pylist() if r["host"] == "fog-0" and r["metric"] == "cpu_seconds"]
    line = next(line for line in done.usage.series["cpu"] if line.name == "fog-0")
    width = done.usage.time[1] - done.usage.time[0]
    assert sum(line.values) * width == pytest.approx(rows[-1]["value"] - rows[0]["value"], rel=1e-3)


def test_many_hosts_become_a_band_per_layer(runs: Mapping[str, Path]) -> None:
    used = gather(runs["hundred"]).usage
    assert used is not None
    edge = next(line for line in used.series["cpu"] if line.layer == "edge")
    assert edge.hosts == 98
    assert edge.low is not None
    assert edge.high is not None
    assert all(low <= mean <= high for low, mean, high in zip(edge.low, edge.values, edge.high, strict=True))


def test_services_tell_state_restarts_and_messages(done: Report, runs: Mapping[str, Path]) -> None:
    rows = {row.name: row for row in done.services}
    assert (rows["detector-0"].received, rows["trainer-0"].sent, rows["camera-0"].sent) == (4039, 39, 2000)
    assert {row.state for row in done.services} == {"ended"}
    failed = {row.name: row for row in gather(runs["failed"]).services}
    assert failed["trainer-0"].state == "failed"
    assert failed["trainer-0"].bad
    assert [row.name for row in gather(runs["hundred"]).services] == ["camera ×98", "detector-0", "trainer-0"]


def test_energy_names_its_source(done: Report) -> None:
    assert done.energy_sources["edge-0"].startswith("model: raspberry-pi-4")
    assert [entry.host for entry in done.energy] == list(done.run.hosts)


def test_a_folder_without_a_run_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no run here"):
        gather(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", Scene(cameras=1, duration=3.0))
    (folder / "events.parquet").write_bytes(b"nonsense")
    with pytest.raises(EstranError, match=r"events\.parquet"):
        gather(folder)
    (folder / "network.json").write_text("{")
    with pytest.raises(EstranError, match=r"network\.json"):
        gather(folder)


def test_energy_adds_up_to_the_response(done: Report) -> None:
    assert sum(entry.joules for entry in done.energy) == pytest.approx(done.run.responses["energy"].value)
