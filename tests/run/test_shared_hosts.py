"""Training and inference on one host, in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.errors import SpecErrors
from estran.run.prepare import prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from estran.spec import load_text
from tests.run.simulated import digests, record, rows, simulate, value, written

SHARED = """
experiment: shared
seed: 5
devices: {box: {like: cloud-vm-2, cores: 1, speed: 0.5}}
layers: {edge: {hosts: 1, device: cloud-vm-4}, box: {hosts: 1, device: box}}
network: [{between: [edge, box], delay: 1ms, rate: 1gbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 100/s, arrivals: poisson}}
  feed: {on: edge, component: source, with: {data: digits, batch: 8}}
  detector: {on: box, component: predictor, costs: {predict: 2ms}, with: {batch: {max_size: 1}}}
  trainer:
    on: box
    share: "${share}"
    component: trainer
    costs: {predict: 0.1ms, learn: 2.5ms}
    with: {learner: softmax, batch: {max_size: 1}, publish: {every: 1s}}
streams:
  - {from: camera.samples, to: detector.samples}
  - {from: feed.samples, to: trainer.samples, capacity: 16}
  - {from: trainer.models, to: detector.models, delivery: latest}
factors:
  share: [100%, 25%, idle, {latency_p99: 15ms, of: detector}, {latency_p99: 1s, of: detector}]
measure: {warmup: 1s, duration: 6s}
"""
LONG = (
    SHARED.replace("batch: 8}}", 'batch: 8, limit: "${limit}"}}')
    .replace("learn: 2.5ms", "learn: 60ms")  # much longer than an answer may take
    .replace("factors:", "factors:\n  limit: [8]")
)
USED = "SELECT sum(wall) FROM operations WHERE replica = 'trainer-0' AND time BETWEEN 1 AND 7"


def used(folder: Path) -> float:
    """Seconds per second for which training held the processor."""
    return float(rows(folder, USED)[0][0]) / 6


def test_a_fixed_share_is_kept_in_simulated_time(tmp_path: Path) -> None:
    assert used(simulate(tmp_path, SHARED, overrides=["share=25%"])) == pytest.approx(0.25, rel=0.1)


def test_idle_training_lets_answers_go_first_and_uses_what_is_left(tmp_path: Path) -> None:
    free, idle = (simulate(tmp_path / name, SHARED, overrides=[f"share={share}"]) for name, share in (("f", "100%"), ("i", "idle")))
    assert value(idle, "latency_p99@detector") <= value(free, "latency_p99@detector")
    # Answers take 4 ms of each 10 ms: 60 % are left.
    assert used(idle) > 0.7 * 0.6


@pytest.mark.parametrize("calibration", ["none", "quota"])
def test_answers_come_as_if_alone_while_training_uses_what_is_left(tmp_path: Path, calibration: str) -> None:
    """On cores that are slow by nature, and on emulated ones, whose quota follows what is left."""
    if calibration == "quota":
        (tmp_path / "quota.json").write_text(json.dumps({"version": 1, "processor": "quota"}))
        calibration = str(tmp_path / "quota.json")
    alone, kept = (
        simulate(tmp_path / name, LONG, overrides=[f"share={share}", f"limit={limit}"], calibration=calibration)
        for name, share, limit in (("a", "100%", 8), ("k", "{latency_p99: 20ms, of: detector}", 10**9))
    )
    assert value(kept, "latency_p99@detector") <= 1.5 * value(alone, "latency_p99@detector")
    left = 0.5 * 6 - value(alone, "cpu_seconds@box-0")
    assert value(kept, "cpu_seconds@box-0") - value(alone, "cpu_seconds@box-0") > 0.7 * left


def test_a_latency_is_kept_by_training_less(tmp_path: Path) -> None:
    tight, again = (simulate(tmp_path / name, SHARED, overrides=["share={latency_p99: 15ms, of: detector}"]) for name in ("t", "a"))
    loose = simulate(tmp_path / "l", SHARED, overrides=["share={latency_p99: 1s, of: detector}"])
    assert used(tight) < used(loose)
    assert value(tight, "share@trainer") < 1
    assert digests(tight) == digests(again)


def test_a_fixed_share_is_kept_in_an_emulated_run(tmp_path: Path) -> None:
    file = written(tmp_path, SHARED)
    folder = execute(prepare(str(file), overrides=["share=25%"]), out=tmp_path / "runs", progress=QuietProgress())[0]
    assert record(folder)["status"] == "done"
    query = "SELECT max(value) - min(value) FROM metrics WHERE replica = 'trainer-0' AND metric = 'process_cpu' AND time > 0"
    assert rows(folder, query)[0][0] / 7 < 0.25 * 0.5 * 1.25


def test_a_service_that_yields_and_the_others_together_use_an_emulated_device_no_more(tmp_path: Path) -> None:
    file = written(tmp_path, SHARED)
    overrides = ["share={latency_p99: 1s, of: detector}"]
    folder = execute(prepare(str(file), overrides=overrides), out=tmp_path / "runs", progress=QuietProgress())[0]
    assert record(folder)["status"] == "done"
    assert value(folder, "cpu_seconds@box-0") < 0.5 * 6 * 1.15
    assert rows(folder, "SELECT max(value) FROM metrics WHERE replica = 'trainer-0' AND metric = 'learned'")[0][0] > 0


@pytest.mark.parametrize(
    ("share", "what"),
    [
        ("0%", "nothing would ever be computed"),
        ("150%", "150%"),
        ("{latency_p99: 15ms}", "needs latency_p99: and of:"),
        ("{of: detector}", "needs latency_p99: and of:"),
        ("{latency_p99: 0ms, of: detector}", "more than zero"),
        ("{latency_p99: 15ms, of: detektor}", "there is no service 'detektor'"),
        ("{latency_p99: 15ms, of: trainer}", "is the service itself"),
        ("{latency_p99: 15ms, of: camera}", "runs on no host of 'trainer'"),
        ("{weight: 3}", "unknown key"),
        ("lazy", "'lazy'"),
    ],
)
def test_shares_that_cannot_be_are_named(share: str, what: str) -> None:
    text = SHARED.replace('"${share}"', share)
    text = text[: text.index("factors:")] + text[text.index("measure:") :]
    with pytest.raises(SpecErrors) as caught:
        load_text(text)
    assert [what in error.what for error in caught.value.errors] == [True], caught.value.errors


def test_a_command_can_have_a_fixed_share_only() -> None:
    text = "experiment: c\nlayers: {edge: {hosts: 1, device: raspberry-pi-4}}\n"
    assert load_text(text + "services: {s: {on: edge, command: sleep 1, share: 20%}}").services["s"].share.most == 0.2
    with pytest.raises(SpecErrors, match="cannot be made to yield"):
        load_text(text + "services: {s: {on: edge, command: sleep 1, share: idle}}")
