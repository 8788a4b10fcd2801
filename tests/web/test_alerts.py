"""What is worth an alert: each planted, and none without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estran.observe.rows import EventRow, MetricRow
from estran.observe.store import LIVE
from estran.web.alerts import alerts
from estran.web.following import Following
from tests.observe.folders import channel, hop, write_folder

CHANNELS = [channel("camera.samples", "camera-0", "detector-0")]


def kinds(folder: Path) -> dict[str, str]:
    run = Following(folder)
    with run.lock:
        run.refresh()
    return {alert.kind: alert.what for alert in alerts(run)}


def running(folder: Path, tables: dict[str, list[Any]]) -> Path:
    write_folder(folder, tables, channels=CHANNELS, live=True)
    document = json.loads((folder / "run.json").read_text()) | {"status": "running"}
    (folder / "run.json").write_text(json.dumps(document))
    assert (folder / LIVE).exists()
    return folder


def steady(seconds: float = 12.0, wait: float = 0.002) -> list[Any]:
    return [
        hop(i, i / 20, started=i / 20 + 0.011 + wait, done=i / 20 + 0.016 + wait, truth=1, answer=1)
        for i in range(int(seconds * 20))
    ]


def busy(share: float) -> list[Any]:
    return [MetricRow(i / 10, "fog-0", "", "cpu_seconds", share * 2.0 * i / 10) for i in range(121)]


def test_a_run_that_goes_well_has_none(tmp_path: Path) -> None:
    assert kinds(running(tmp_path / "r", {"messages": steady(), "metrics": busy(0.5)})) == {}


def test_restarts_and_errors_are_told(tmp_path: Path) -> None:
    events = [
        EventRow(float(i), "fog-0", "detector-0", what, "attempt") for i, what in enumerate(["restarted", "restarted", "error"])
    ]
    found = kinds(running(tmp_path / "r", {"events": events}))
    assert found == {"restarted": "detector-0 was restarted 2 times", "error": "detector-0: 1 error"}


def test_a_host_without_processor_left_is_told(tmp_path: Path) -> None:
    assert (
        kinds(running(tmp_path / "r", {"messages": steady(), "metrics": busy(0.99)}))["overload"]
        == "fog-0 uses 99% of its processor"
    )


def test_a_queue_that_grows_is_told(tmp_path: Path) -> None:
    growing = [hop(i, i / 20, started=i / 20 + i / 150, done=i / 20 + i / 150 + 0.005) for i in range(240)]
    assert "detector-0 falls behind" in kinds(running(tmp_path / "r", {"messages": growing}))["overload"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_divergence_is_told(tmp_path: Path, value: float) -> None:
    rows = [MetricRow(1.0, "cloud-0", "trainer-0", "loss", 0.5), MetricRow(2.0, "cloud-0", "trainer-0", "loss", value)]
    assert kinds(running(tmp_path / "r", {"metrics": rows}))["diverged"] == "loss of trainer-0 is no finite number"
    events = [EventRow(3.0, "cloud-0", "trainer-0", "diverged", "too large a step")]
    assert "too large a step" in kinds(running(tmp_path / "e", {"events": events}))["diverged"]


def test_a_fall_of_the_accuracy_is_told(tmp_path: Path) -> None:
    rows = [hop(i, i / 100, truth=1, answer=1 if i < 1500 else 0) for i in range(2200)]
    assert kinds(running(tmp_path / "r", {"messages": rows}))["accuracy"].startswith("accuracy fell from 100% to")


def test_links_and_shares_out_of_tolerance_are_told(tmp_path: Path) -> None:
    folder = running(tmp_path / "r", {})
    link = {"source": "edge-0", "target": "fog-0", "asked": {}, "measured": {}, "ok": False, "complaint": "delay 9 ms"}
    cpu = {"host": "fog-0", "asked": 0.5, "measured": 0.2, "ok": False, "complaint": "too slow"}
    (folder / "network.json").write_text(json.dumps({"links": [link], "cpus": [cpu], "facts": {}}))
    found = kinds(folder)
    assert found["link"] == "link edge-0 → fog-0 is out of tolerance: delay 9 ms"
    assert found["processor"] == "processor of fog-0 is out of tolerance: too slow"
