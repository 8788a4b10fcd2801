from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from estran.observe.queries import open_run
from estran.observe.responses import Responses, measure
from estran.observe.rows import EventRow, ExchangeRow
from estran.observe.store import LIVE, Store

HOSTS = {"sensor-0": "edge-0", "sensor-1": "edge-1", "gateway-0": "fog-0"}


def asked(number: int, begun: float, latency: float | None, replica: str = "sensor-0", side: str = "client") -> ExchangeRow:
    last = None if latency is None else begun + latency
    first = None if last is None else last - 0.001
    return ExchangeRow(
        begun, HOSTS[replica], replica, side, "fog-0", 8000, f"{replica}>gateway", number, None,
        300, begun, begun + 0.002, 0 if last is None else 50, first, last,
    )  # fmt: skip


def measured(folder: Path, rows: Sequence[ExchangeRow], events: Sequence[EventRow] = (), *, commands: bool = True) -> Responses:
    folder.mkdir(exist_ok=True)
    run = {"schema": 1, "id": "r", "experiment": "planted", "status": "done", "warmup": 10.0, "duration": 100.0}
    replicas = [
        {"name": name, "service": name.rpartition("-")[0], "host": host, "command": ["x"] if commands else None}
        for name, host in HOSTS.items()
    ]
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "plan.json").write_text(json.dumps({"replicas": replicas, "channels": []}))
    with Store(folder / LIVE) as store:
        store.add("exchanges", rows)
        store.add("events", [*events, EventRow(111.0, "edge-0", "", "x", "")])
        store.compact(folder)
    return measure(open_run(folder))


def test_latency_rate_and_sizes_are_of_answered_requests_that_began_in_the_window(tmp_path: Path) -> None:
    rows = [asked(i, float(i), 5.0 if i < 10 else 0.1) for i in range(110)]
    rows += [asked(i, i + 0.5, 0.3, "sensor-1") for i in range(110)]
    found = measured(tmp_path, [*rows, asked(200, 50.0, None)]).values
    assert found["exchange_latency"].value == pytest.approx(0.2)
    assert found["exchange_latency@sensor"].n == 200
    assert found["exchange_latency_p95"].value == pytest.approx(0.3)
    assert "1 requests without an answer are not counted" in (found["exchange_latency"].note or "")
    assert found["exchanges"].value == pytest.approx(2.0, rel=0.01)
    assert found["exchange_request_bytes"].value == 300
    assert found["exchange_answer_bytes@sensor"].value == 50
    assert found["exchange_latency"].ci95 is not None


def test_service_time_is_from_the_last_byte_of_the_request_to_the_first_of_the_answer(tmp_path: Path) -> None:
    found = measured(tmp_path, [asked(i, 10.0 + i, 0.1, "gateway-0", "server") for i in range(50)])
    assert found.values["exchange_service_time@gateway"].value == pytest.approx(0.097)
    assert found.missing["exchange_latency"] == "no command was answered within the measured window"


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "no command exchanged anything over TCP"),
        ([EventRow(0.0, "edge-0", "", "unobserved", "hosts share a network")], "hosts share a network"),
    ],
)
def test_what_was_not_observed_is_missing_with_the_reason(tmp_path: Path, events: list[EventRow], why: str) -> None:
    found = measured(tmp_path, [], events)
    assert why in found.missing["exchange_latency_p99"]
    assert why in found.missing["exchanges"]


def test_packets_that_the_observers_missed_are_told_of(tmp_path: Path) -> None:
    lost = EventRow(1.0, "edge-0", "", "observed", '{"packets": 100, "lost": 7}')
    found = measured(tmp_path, [asked(i, 10.0 + i, 0.1) for i in range(50)], [lost])
    assert "7 packets came too fast" in (found.values["exchange_latency"].note or "")


def test_runs_without_commands_have_nothing_of_it(tmp_path: Path) -> None:
    found = measured(tmp_path, [], commands=False)
    assert not [name for name in (*found.values, *found.missing) if "exchange" in name]
