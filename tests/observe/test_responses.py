from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.observe.answers import majority, no_change
from estran.observe.queries import open_run
from estran.observe.responses import Responses, compute_responses, measure
from estran.observe.rows import EventRow, MetricRow
from estran.observe.stories import Stories, stages_by_link

from .folders import channel, hop, write_folder


def measured(folder: Path) -> Responses:
    return measure(open_run(folder))


def value(result: Responses, name: str) -> float:
    return result.values[name].value


def test_only_the_measured_window_counts(tmp_path: Path) -> None:
    right, wrong = {"truth": 1, "answer": 1}, {"truth": 1, "answer": 2}
    rows = [hop(i, float(i), **(wrong if i < 5 or i >= 25 else right)) for i in range(30)]
    ticks = [MetricRow(t, "edge-0", "", "cpu_seconds", t / 2) for t in (0.0, 40.0)]
    result = measured(write_folder(tmp_path / "r", {"messages": rows, "metrics": ticks}, warmup=5, duration=20))
    assert result.window == (5, 25)
    assert value(result, "accuracy") == 1.0
    assert result.values["accuracy"].n == 20
    assert value(result, "throughput") == pytest.approx(1.0)
    assert value(result, "cpu_seconds@edge-0") == pytest.approx(10.0)


def test_accuracy_of_the_last_fifth_is_its_own_response(tmp_path: Path) -> None:
    rows = [hop(i, float(i), truth=i % 2, answer=i % 2 if i >= 50 else 9) for i in range(100)]
    result = measured(write_folder(tmp_path / "r", {"messages": rows}))
    assert value(result, "accuracy") == pytest.approx(0.5)
    assert value(result, "accuracy_final") == 1.0
    assert result.values["accuracy_final"].n == pytest.approx(20, abs=1)


def test_baselines_are_judged_at_each_answering_replica(tmp_path: Path) -> None:
    """Both replicas see a constant truth, so no-change is right all along, though the pooled sequence alternates."""
    rows = []
    for i in range(40):
        at = f"detector-{i % 2}"
        rows.append(hop(i, float(i), receiver=at, truth=i % 2, answer=0))
    result = measured(write_folder(tmp_path / "r", {"messages": rows}))
    assert value(result, "accuracy_no_change") == 1.0
    assert result.values["accuracy_no_change"].n == 38
    assert value(result, "accuracy_majority") == 1.0
    assert value(result, "accuracy") == 0.5


@given(st.lists(st.integers(0, 4), max_size=60))
def test_rivals_agree_with_their_definition(truth: list[int]) -> None:
    assert no_change(truth).tolist() == [-1 if i == 0 else int(truth[i] == truth[i - 1]) for i in range(len(truth))]
    for i, hit in enumerate(majority(truth).tolist()):
        counts = Counter(truth[:i])
        top = [label for label, count in counts.items() if count == max(counts.values())]
        assert hit == -1 if not top else hit in ((0, 1) if len(top) > 1 else (int(truth[i] == top[0]),))


def test_latency_and_its_parts_of_one_hop(tmp_path: Path) -> None:
    result = measured(write_folder(tmp_path / "r", {"messages": [hop(i, i * 0.1, answer=0) for i in range(600)]}))
    assert value(result, "latency") == pytest.approx(0.018)
    assert value(result, "latency_p99") == pytest.approx(0.018)
    assert value(result, "latency_queueing@camera") == pytest.approx(0.001)
    assert value(result, "latency_transfer@detector") == pytest.approx(0.010)
    assert value(result, "latency_queueing@detector") == pytest.approx(0.002)
    assert value(result, "latency_compute@detector") == pytest.approx(0.005)
    assert "accuracy" not in result.values
    assert "truth" in result.missing["accuracy"]


def test_latency_over_two_hops_is_joined_by_trace(tmp_path: Path) -> None:
    """camera -> gate -> detector; the gate sends 1 ms after it began, or (odd ones) 2 ms after it was done."""
    rows = []
    for i in range(40):
        first = hop(i, float(i), receiver="gate-0")
        sent = first.started + 0.001 if i % 2 == 0 else first.done + 0.002
        rows += [
            first,
            hop(
                i,
                float(i),
                stream="gate.passed",
                origin="gate-0",
                sent=sent,
                received=sent + 0.02,
                started=sent + 0.02,
                done=sent + 0.05,
                answer=1,
            ),
        ]
    result = measured(write_folder(tmp_path / "r", {"messages": rows}))
    assert value(result, "latency_compute@gate") == pytest.approx((0.001 + 0.005) / 2)
    assert value(result, "latency_queueing@gate") == pytest.approx(0.002 + 0.002 / 2)
    assert value(result, "latency_transfer@gate") == pytest.approx(0.010)
    assert value(result, "latency_transfer@detector") == pytest.approx(0.020)
    assert value(result, "latency_compute@detector") == pytest.approx(0.030)
    parts = sum(value(result, f"latency_{kind}") for kind in ("queueing", "transfer", "compute"))
    assert parts == pytest.approx(value(result, "latency"), rel=1e-12)


gaps = st.floats(0.0, 0.5).map(lambda seconds: round(seconds, 9))  # clocks tell no less than a nanosecond
hops_ = st.lists(st.tuples(gaps, gaps, gaps, gaps), min_size=1, max_size=4)
ways_ = st.lists(st.tuples(hops_, st.booleans()), min_size=1, max_size=25)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ways=st.lists(
        st.tuples(st.lists(st.tuples(gaps, gaps, gaps, gaps), min_size=1, max_size=4), st.booleans()), min_size=1, max_size=25
    )
)
def test_stages_always_sum_to_the_latency(tmp_path_factory: pytest.TempPathFactory, ways: list) -> None:
    """Whatever way each message takes, and wherever in its processing a service sends on."""
    rows = []
    for i, (hops, sends_early) in enumerate(ways):
        now, origin = float(i), "camera-0"
        for j, (wait, way, queue, work) in enumerate(hops):
            receiver = f"stage{j}-0" if j < len(hops) - 1 else "detector-0"
            sent = now + wait
            started = sent + way + queue
            row = hop(i, float(i), stream=f"{origin}.out", origin=origin, receiver=receiver)
            row = row._replace(sent=sent, received=sent + way, started=started, done=started + work)
            rows.append(row._replace(answer=0) if j == len(hops) - 1 else row)
            now, origin = (started if sends_early else started + work), receiver
    result = measured(write_folder(tmp_path_factory.mktemp("run") / "r", {"messages": rows}))
    expected = np.mean([row.done - row.created for row in rows if row.answer is not None])
    assert value(result, "latency") == pytest.approx(expected, rel=1e-9)
    assert sum(stage.seconds.mean() for stage in result.stages) == pytest.approx(expected, rel=1e-9)
    assert all((stage.seconds >= -1e-12).all() for stage in result.stages)


def test_transfer_is_told_by_link() -> None:
    """camera-0 (edge-0) → gate-0 (fog-0) → detector-0 (the same host) → trainer-0, of which no plan tells."""
    names = ("camera-0", "detector-0", "gate-0", "s", "trainer-0")
    hops = [(0, 2, 1.0), (2, 1, 2.0), (1, 4, 4.0)]
    columns: dict[str, list[float]] = {name: [] for name in Stories.__dataclass_fields__ if name != "names"}
    now = 0.0
    for origin, receiver, way in hops:
        row = {"trace": 1, "stream": 3, "origin": origin, "receiver": receiver, "created": 0.0, "sent": now, "received": now + way}
        row |= {"started": now + way + 0.25, "done": now + way + 0.75}
        now += way + 0.75
        for name, held in columns.items():
            held.append(row.get(name, 0))
    stories = Stories(names, *(np.array(columns[name]) for name in columns))
    stories = replace(stories, trace=stories.trace.astype(np.uint64))
    hosts = {"camera-0": ("edge-0", "edge"), "gate-0": ("fog-0", "fog"), "detector-0": ("fog-0", "fog")}
    found = stages_by_link(stories, np.array([2]), {}, hosts)
    assert {name: float(seconds[0]) for name, seconds in found.items() if name.startswith("transfer")} == {
        "transfer edge → fog": 1.0,
        "transfer within fog hosts": 2.0,
        "transfer fog → trainer": 4.0,
    }
    assert sum(float(seconds[0]) for seconds in found.values()) == pytest.approx(now)


def test_without_answers_latency_goes_to_the_end_of_the_way(tmp_path: Path) -> None:
    rows = [
        row
        for i in range(20)
        for row in (
            hop(i, float(i), receiver="gate-0"),
            hop(i, float(i), origin="gate-0", stream="g", sent=i + 0.02, done=i + 0.5),
        )
    ]
    result = measured(write_folder(tmp_path / "r", {"messages": rows}))
    assert value(result, "latency") == pytest.approx(0.5)
    assert "nothing answers" in (result.values["latency"].note or "")
    assert "nothing was answered" in result.missing["accuracy"]


def test_an_answer_that_comes_back_to_where_its_request_began_ends_the_way(tmp_path: Path) -> None:
    back = {"origin": "gate-0", "receiver": "camera-0", "stream": "a"}
    rows = [
        row
        for i in range(20)
        for row in (
            hop(i, float(i), receiver="gate-0", done=i + 0.9),
            hop(i, float(i), **back, sent=i + 0.9, received=i + 1.0, started=i + 1.0, done=i + 1.0),
        )
    ]
    result = measured(write_folder(tmp_path / "r", {"messages": rows}))
    assert value(result, "latency") == pytest.approx(1.0)
    assert result.values["latency"].n == 20


def test_staleness_counts_from_publication_and_in_versions(tmp_path: Path) -> None:
    models = [
        hop(
            v,
            0.0,
            trace=f"t:{v}",
            stream="trainer.models",
            origin="trainer-0",
            sent=10.0 * v,
            received=10.0 * v + 1,
            done=10.0 * v + 1,
            version=v,
        )
        for v in (1, 3)
    ]
    answers = [hop(i, 25.0 + i * 0.01, done=35.0, version=1, truth=0, answer=0) for i in range(20)]
    unknown = [hop(99, 25.0, done=35.0, version=0, answer=0)]
    events = [EventRow(10.0 * v, "cloud-0", "trainer-0", "published", json.dumps({"version": v})) for v in (1, 2, 3)]
    result = measured(write_folder(tmp_path / "r", {"messages": models + answers + unknown, "events": events}))
    assert value(result, "staleness") == pytest.approx(25.0)
    assert value(result, "staleness_versions") == 2.0  # 2, which the detector never saw, and 3
    assert result.values["staleness"].n == 20
    assert "1 answers" in (result.values["staleness"].note or "")


def test_loss_duplicates_and_reordering_from_numbers(tmp_path: Path) -> None:
    rows = [hop(i, i * 0.1) for i in range(200) if i not in (50, 51, 120)]
    rows += [hop(7, 7 * 0.1, received=9.0, started=9.0, done=9.1)]  # seen again
    late = hop(150, 15.0)
    rows = [row if row.seq != 150 else late._replace(received=16.0, started=16.0, done=16.1) for row in rows]
    way = channel("camera.samples", "camera-0", "detector-0")
    told = [EventRow(30.0, "edge-0", "camera-0", "channel", json.dumps({"channel": way["key"], "frames": 210}))]
    told += [EventRow(30.0, "fog-0", "detector-0", "channel", json.dumps({"channel": way["key"], "frames": 999}))]
    result = measured(write_folder(tmp_path / "r", {"messages": rows, "events": told}, channels=[way]))
    assert value(result, "loss") == pytest.approx(3 / 200)
    assert result.values["loss"].n == 200
    assert value(result, "loss@camera.samples") == pytest.approx(3 / 200)
    assert value(result, "duplicates") == 1
    assert value(result, "reordered") == 1
    assert value(result, "unprocessed") == 10
    assert "10 messages were unprocessed" in (result.values["latency"].note or "")
    assert result.values["latency"].n == 197
    assert "superseded" in result.missing


def test_what_a_latest_stream_drops_is_superseded_and_not_lost(tmp_path: Path) -> None:
    rows = [hop(i, float(i)) for i in range(0, 60, 3)]
    channels = [channel("camera.samples", "camera-0", "detector-0", "latest")]
    result = measured(write_folder(tmp_path / "r", {"messages": rows}, channels=channels))
    assert value(result, "superseded") == pytest.approx(38 / 58)
    assert "loss" not in result.values
    assert "acknowledged" in result.missing["loss"]


def test_a_restarted_sender_counts_anew_and_loses_nothing(tmp_path: Path) -> None:
    rows = [hop(i, i * 0.1) for i in range(50)] + [hop(i, 10 + i * 0.1) for i in range(50)]
    events = [EventRow(9.0, "edge-0", "camera-0", "restarted", "attempt 1")]
    result = measured(write_folder(tmp_path / "r", {"messages": rows, "events": events}))
    assert value(result, "loss") == 0
    assert value(result, "duplicates") == 0
    assert "restart" in (result.values["loss"].note or "")
    bounds = result.values["loss"].ci95
    assert bounds is not None
    assert 0 < bounds[1] < 0.1  # nothing seen to be lost is not the same as no loss


def test_host_figures(tmp_path: Path) -> None:
    times = np.arange(0, 20.01, 0.1)
    metrics = []
    for host, rate in (("edge-0", 0.5), ("fog-0", 1.0)):
        metrics += [MetricRow(t, host, "", "cpu_seconds", 3 + rate * t) for t in times]
        metrics += [MetricRow(t, host, "", "energy", 4 * t) for t in times]
        metrics += [MetricRow(t, host, "", "tx_bytes", 1000 * rate * t) for t in times]
        metrics += [MetricRow(t, host, "", "memory", 1e6) for t in times]
    metrics += [MetricRow(1.0, "fog-0", "", "memory_peak", 5e6)]
    events = [EventRow(0.0, "edge-0", "", "energy-source", "model: raspberry-pi-4, 2 W idle to 6 W busy")]
    result = measured(write_folder(tmp_path / "r", {"metrics": metrics, "events": events}, warmup=5, duration=10))
    assert value(result, "cpu_seconds@edge-0") == pytest.approx(5.0)
    assert value(result, "cpu_seconds") == pytest.approx(15.0)
    assert value(result, "energy") == pytest.approx(80.0)
    assert "raspberry-pi-4" in (result.values["energy@edge-0"].note or "")
    assert "source unknown" in (result.values["energy@fog-0"].note or "")
    assert value(result, "bytes_sent") == pytest.approx(15_000)
    assert value(result, "memory_peak") == 5e6
    assert value(result, "memory_peak@edge-0") == 1e6
    assert "no host recorded rx_bytes" in result.missing["bytes_received"]


def test_message_bytes_belong_to_the_sending_host(tmp_path: Path) -> None:
    rows = [hop(i, float(i)) for i in range(20)] + [hop(i, float(i), origin="camera-1", bytes=7) for i in range(20)]
    result = measured(write_folder(tmp_path / "r", {"messages": rows}))
    assert value(result, "message_bytes@edge-0") == 2000
    assert value(result, "message_bytes@edge-1") == 140
    assert value(result, "message_bytes") == 2140


def test_recorded_metrics_become_responses_and_take_no_name_of_ours(tmp_path: Path) -> None:
    metrics = [MetricRow(float(i), "cloud-0", "trainer-0", "gradient", float(i % 2)) for i in range(40)]
    metrics += [MetricRow(float(i), "cloud-0", "trainer-0", "loss", math.nan if i == 3 else 2.0) for i in range(40)]
    result = measured(write_folder(tmp_path / "r", {"metrics": metrics}))
    assert value(result, "gradient@trainer") == 0.5
    assert value(result, "recorded_loss") == 2.0
    assert result.values["recorded_loss"].n == 39


def test_nothing_measured_is_absent_with_a_reason_never_nan(tmp_path: Path) -> None:
    result = measured(write_folder(tmp_path / "r", {}))
    assert result.values == {}
    for name in ("accuracy", "latency", "staleness", "throughput", "loss", "energy", "cpu_seconds", "memory_peak", "message_bytes"):
        assert result.missing[name]


def test_saved_form(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "r", {"messages": [hop(i, float(i), truth=0, answer=0) for i in range(50)]})
    measured(folder).save(folder)
    saved = json.loads((folder / "responses.json").read_text())
    assert saved == compute_responses(folder)
    assert saved["accuracy"]["n"] == 50
    assert saved["accuracy"]["unit"] == "fraction"
    assert saved["accuracy"]["ci95"][0] < 1.0
    assert set(saved["latency"]) <= {"value", "unit", "n", "ci95", "note"}
    assert dict(open_run(folder).responses) == saved


def test_utilisation_is_processor_time_over_what_the_host_was_given(tmp_path: Path) -> None:
    """fog-0 is given 4 cores of half speed, so 2 s per second, and uses 0.5; edge-0 uses 1 of as much."""
    rows = [MetricRow(t / 10, "fog-0", "", "cpu_seconds", 0.05 * t) for t in range(1001)]
    rows += [MetricRow(t / 10, "edge-0", "", "cpu_seconds", 0.1 * t) for t in range(1001)]
    result = measured(write_folder(tmp_path / "r", {"messages": [hop(0, 1.0)], "metrics": rows}))
    assert value(result, "utilisation@fog-0") == pytest.approx(0.25)
    assert value(result, "utilisation@edge-0") == pytest.approx(0.5)
    assert value(result, "utilisation") == pytest.approx(0.375)


def test_processor_time_of_replicas_is_no_response(tmp_path: Path) -> None:
    rows = [MetricRow(t / 10, "fog-0", "detector-0", metric, 0.1 * t) for t in range(20) for metric in ("process_cpu", "mine")]
    result = measured(write_folder(tmp_path / "r", {"messages": [hop(0, 1.0)], "metrics": rows}))
    assert "mine" in result.values
    assert not [name for name in result.values if "process_cpu" in name]
