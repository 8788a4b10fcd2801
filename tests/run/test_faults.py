"""Faults of whole runs, in virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estran.errors import PlatformError, RequestError
from estran.observe.queries import open_run
from estran.platforms.simulated.breaking import Breaker
from tests.run.simulated import simulate

BASE = """\
experiment: broken
seed: 7
layers:
  edge:  {hosts: 1, device: raspberry-pi-4}
  fog:   {hosts: 1, device: jetson-orin-nano}
network:
  - {between: [edge, fog], delay: 5ms, rate: 100mbit}
services:
  camera:   {on: edge, component: source, with: {data: digits, rate: 100/s}}
  detector: {on: fog, component: predictor, restart: RESTART}
  trainer:  {on: fog, component: trainer, with: {learner: ogd}}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
  - {from: trainer.models, to: detector.models, delivery: latest}
measure: {warmup: 1s, duration: 9s}
faults:
"""


def run(folder: Path, fault: str, restart: str = "never") -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Run with a fault; what the run left: its record, its responses, and the first happening."""
    done = simulate(folder, BASE.replace("RESTART", restart) + f"  x: {{{fault}}}\n")
    found = [json.loads((done / f"{name}.json").read_text()) for name in ("run", "responses", "faults")]
    return found[0], found[1], found[2]["faults"][0] if found[2]["faults"] else found[2]


def test_a_cut_holds_messages_back_and_loses_none(tmp_path: Path) -> None:
    record, responses, happened = run(tmp_path, "cut: [edge, fog], at: 3s, for: 1s")
    assert record["status"] == "done"
    assert (happened["asked"], happened["begun"], happened["ended"]) == (4.0, 4.0, 5.0)
    assert responses["messages_lost"]["value"] == responses["messages_duplicated"]["value"] == 0
    assert responses["throughput"]["value"] == pytest.approx(100, rel=0.01)
    assert 1.0 <= responses["latency_p99"]["value"] < 1.9  # what is repeated at 0.2, 0.6, 1.4 s
    assert 0 < responses["time_to_detect_x"]["value"] <= 0.75
    assert 1.0 <= responses["time_to_recover_x"]["value"] <= 2.25


def test_a_connection_that_was_given_up_is_made_anew_and_loses_nothing(tmp_path: Path) -> None:
    record, responses, _ = run(tmp_path, "cut: [edge, fog], at: 2s, for: 4s")
    assert record["status"] == "done"
    assert responses["messages_lost"]["value"] == responses["messages_duplicated"]["value"] == 0
    assert 4.0 <= responses["latency_p99"]["value"] + 0.1 <= 5.2


@pytest.mark.parametrize("fault", ["crash: fog", "kill: detector"])
def test_what_dies_begins_anew_and_gets_its_input_again(tmp_path: Path, fault: str) -> None:
    record, responses, happened = run(tmp_path, f"{fault}, at: 3s, for: 1s")
    assert record["status"] == "done"
    assert "detector-0" in happened["replicas"]
    assert responses["messages_lost"]["value"] == 0
    assert responses["unprocessed"]["value"] == 0


@pytest.mark.parametrize(("restart", "throughput"), [("on-failure", 100), ("never", 100 / 3)])
def test_after_a_kill_without_a_duration_the_policy_decides(tmp_path: Path, restart: str, throughput: float) -> None:
    record, responses, happened = run(tmp_path, "kill: detector, at: 3s", restart)
    assert record["status"] == "done"
    assert happened["ended"] is None
    assert responses["throughput"]["value"] == pytest.approx(throughput, rel=0.02)


def test_a_service_that_hangs_takes_up_again_what_has_come(tmp_path: Path) -> None:
    _, responses, _ = run(tmp_path, "hang: detector, at: 3s, for: 1s")
    assert responses["throughput"]["value"] == pytest.approx(100, rel=0.01)
    assert responses["latency_p99"]["value"] == pytest.approx(0.93, abs=0.1)


def test_a_slow_host_takes_longer_meanwhile(tmp_path: Path) -> None:
    _, slow, _ = run(tmp_path / "a", "slow: fog, speed: 0.1, at: 3s, for: 3s")
    _, plain, _ = run(tmp_path / "b", "slow: fog, speed: 0.1, at: 3s, for: 0s")
    assert slow["latency_p95"]["value"] > plain["latency_p95"]["value"] + 2e-3
    assert slow["latency_p50"]["value"] == pytest.approx(plain["latency_p50"]["value"], rel=0.05)


def test_a_degraded_link_is_slower_meanwhile(tmp_path: Path) -> None:
    _, responses, _ = run(tmp_path, "degrade: [edge, fog], delay: 100ms, at: 3s, for: 3s")
    assert responses["latency_p95"]["value"] == pytest.approx(0.1, abs=0.01)
    assert responses["latency_p50"]["value"] < 0.01


def test_damaged_messages_come_again(tmp_path: Path) -> None:
    _, responses, _ = run(tmp_path, "corrupt: camera.samples, share: 30%, at: 3s, for: 3s")
    assert responses["messages_lost"]["value"] == 0
    assert responses["latency_p95"]["value"] > 0.03


def test_a_burst_and_a_drift_of_data(tmp_path: Path) -> None:
    _, burst, _ = run(tmp_path / "a", "burst: camera, factor: 4, at: 3s, for: 3s")
    assert burst["throughput"]["value"] == pytest.approx(200, rel=0.02)
    _, drift, _ = run(tmp_path / "b", "drift: camera, change: swap, amount: 1, at: 4s, for: 2s")
    assert drift["accuracy_dip_x"]["value"] > 0.4


def test_a_clock_that_goes_ahead_leaves_no_latency_below_zero(tmp_path: Path) -> None:
    done = simulate(tmp_path, BASE.replace("RESTART", "never") + "  x: {clock-skew: edge, offset: 500ms, at: 3s, for: 2s}\n")
    with open_run(done).database() as connection:
        least, early = connection.execute(
            "SELECT min(done - created), sum(CAST(sent BETWEEN 3.9 AND 4.1 AS INT)) FROM messages"
        ).fetchone()
    assert least > 0
    assert early > 100  # it caught up with its clock


def test_of_a_connection_that_is_made_anew_the_newest_is_not_handed_out_twice(tmp_path: Path) -> None:
    """The transport repeats it, since it cannot know that it had come; the consumer's end does."""
    text = (
        BASE.replace("RESTART", "never")
        .replace("{on: edge", "{on: far")
        .replace("{on: fog, component: tr", "{on: edge, component: tr")
    )
    text = text.replace("{on: far", "{on: fog")
    done = simulate(tmp_path, text + "  x: {cut: [edge, fog], at: 2s, for: 5s}\n")
    responses = json.loads((done / "responses.json").read_text())
    assert responses["messages_duplicated"]["value"] == 0
    assert responses["messages_lost"]["value"] == 0


@pytest.mark.parametrize("kill", ["{kill: camera, at: 1s, for: 2s}", "{kill: camera, at: 4s, for: 1s}"], ids=["before", "amid"])
def test_who_begins_anew_amid_a_fault_of_its_data_brings_it_about_too(tmp_path: Path, kill: str) -> None:
    faults = f"  x: {{burst: camera, factor: 4, at: 2s, for: 5s}}\n  y: {kill}\n"
    done = simulate(tmp_path, BASE.replace("RESTART", "never") + faults)
    with open_run(done).database() as connection:
        amid, after = connection.execute(
            "SELECT sum(CAST(sent BETWEEN 6.5 AND 7.5 AS INT)), sum(CAST(sent BETWEEN 8.5 AND 9.5 AS INT)) FROM messages "
            "WHERE receiver = 'detector-0'"
        ).fetchone()
    assert amid == pytest.approx(400, rel=0.05)
    assert after == pytest.approx(100, rel=0.05)


def test_a_fault_on_a_condition_begins_when_it_holds(tmp_path: Path) -> None:
    record, _, happened = run(tmp_path, "slow: fog, speed: 0.5, when: samples >= 300, for: 1s")
    assert happened["when"] == "samples >= 300"
    assert 3.9 <= happened["begun"] <= 4.4
    assert record["status"] == "done"
    record, _, happened = run(tmp_path / "never", "slow: fog, speed: 0.5, when: samples >= 3000, for: 1s")
    assert happened["begun"] is None
    assert any("its condition never held" in warning for warning in record["warnings"])


def test_what_is_still_on_at_the_end_is_healed(tmp_path: Path) -> None:
    record, _, happened = run(tmp_path, "cut: [edge, fog], at: 8s")
    assert happened["ended"] == pytest.approx(10.0)
    assert record["status"] == "done"


def test_a_fault_of_no_time_is_measured_all_the_same(tmp_path: Path) -> None:
    record, responses, found = run(tmp_path, "crash: fog, at: 3s, for: none")
    assert found["without"] == {"x": [4.0]}
    assert responses["time_to_recover_x"]["value"] == 0
    assert "accuracy_dip_x" in responses
    assert "no time" in record["missing"]["time_to_detect_x"]


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    lines = (
        BASE.replace("RESTART", "always")
        + "  x: {crash: fog, random: {times: 2}, for: 1s}\n  y: {flap: [edge, fog], at: 1s, for: 2s}\n"
    )
    one, other = (open_run(simulate(tmp_path / name, lines)) for name in ("a", "b"))
    assert one.document("faults") == other.document("faults")
    assert one.responses == other.responses


def test_what_cannot_be_simulated_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no disk-full here: simulated hosts have no disks"):
        run(tmp_path, "disk-full: fog, at: 3s, for: 1s")
    assert not (tmp_path / "runs").exists()


def test_a_fault_that_cannot_be_injected_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: Breaker, injection: object) -> None:
        raise PlatformError("the pliers are broken", remedy="buy others")

    monkeypatch.setattr(Breaker, "inject", fails)
    record, _, _ = run(tmp_path, "cut: [edge, fog], at: 3s, for: 1s")
    assert record["status"] == "failed"
    assert "the pliers are broken" in record["failure"]["what"]
    assert record["failure"]["remedy"] == "buy others"
