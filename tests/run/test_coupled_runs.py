"""Streams that leave messages out, in whole runs: nothing is held back, all is counted, and no drop is a loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.errors import RequestError, SpecErrors
from estran.run.prepare import prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from estran.spec import load_text
from tests.run.simulated import digests, record, simulate, value, written

COUPLED = """
experiment: coupled
seed: 3
layers: {edge: {hosts: 1, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 5ms, rate: 20mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 100/s}}
  detector: {on: edge, component: predictor}
  trainer:
    on: cloud
    component: trainer
    costs: {learn: {each: 15ms}, predict: 0.1ms}
    with: {learner: softmax, batch: {max_size: 4}}
streams:
  - {from: camera.samples, to: detector.samples}
  - {from: camera.samples, to: trainer.samples, when_full: "${policy}", capacity: 8, sample: "${sample}"}
  - {from: trainer.models, to: detector.models, delivery: latest}
factors: {policy: [drop-oldest, drop-newest, block], sample: [1, 20%]}
measure: {warmup: 0.5s, duration: 3s}
"""


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_a_slow_trainer_does_not_hold_the_camera_back(tmp_path: Path, policy: str) -> None:
    folder = simulate(tmp_path, COUPLED, overrides=[f"policy={policy}"])
    assert record(folder)["status"] == "done"
    assert value(folder, "throughput@detector") == pytest.approx(100, rel=0.02)
    assert value(folder, "latency_p99@detector") < 0.01
    assert value(folder, "loss") == 0
    # It learns 1 row in 15 ms, so 33 of 100 are left out.
    for name in ("dropped", "dropped@camera.samples", "dropped@trainer.samples"):
        assert value(folder, name) == pytest.approx(1 / 3, abs=0.03)
    assert "finding the stream full" in json.loads((folder / "responses.json").read_text())["dropped"]["note"]


def test_block_holds_the_camera_back(tmp_path: Path) -> None:
    folder = simulate(tmp_path, COUPLED, overrides=["policy=block"])
    assert value(folder, "throughput@detector") < 75
    assert "dropped" not in json.loads((folder / "responses.json").read_text())


def test_a_sample_is_the_same_again(tmp_path: Path) -> None:
    one, again = (simulate(tmp_path / name, COUPLED, overrides=["sample=20%"]) for name in ("one", "again"))
    assert value(one, "dropped@trainer.samples") == pytest.approx(0.8, abs=0.1)
    assert digests(one) == digests(again)


def test_drops_are_counted_in_an_emulated_run(tmp_path: Path) -> None:
    file = written(tmp_path, COUPLED)
    overrides = ["streams.1.sample=20%", "streams.1.rate=5/s", "policy=drop-newest"]
    folder = execute(prepare(str(file), overrides=overrides), out=tmp_path / "runs", progress=QuietProgress())[0]
    assert record(folder)["status"] == "done"
    assert value(folder, "loss") == 0
    assert value(folder, "dropped@trainer.samples") == pytest.approx(0.95, abs=0.02)
    assert value(folder, "throughput@detector") > 80


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("delivery: latest", "delivery: latest, when_full: drop-newest", "is never full"),
        ("capacity: 8", "capacity: 1", "needs a capacity of 2"),
        ('sample: "${sample}"', "sample: 0%", "nothing would be sent"),
        ('sample: "${sample}"', "sample: 120%", "120%"),
        ('sample: "${sample}"', "rate: 0/s", "more than zero"),
        ('when_full: "${policy}"', "when_full: drop", "'drop' is none of"),
    ],
)
def test_policies_that_cannot_be_are_named(old: str, new: str, what: str) -> None:
    text = COUPLED.replace(old, new)
    if "${sample}" not in text:
        text = text.replace(", sample: [1, 20%]", "")
    if "${policy}" not in text:
        text = text.replace("policy: [drop-oldest, drop-newest, block], ", "")
    with pytest.raises(SpecErrors) as caught:
        load_text(text)
    assert [what in error.what for error in caught.value.errors] == [True], caught.value.errors


def test_costs_alone_refuse_what_they_do_not_model(tmp_path: Path) -> None:
    from estran.components.index import Components
    from estran.platforms.simulated.flow.roles import roles

    with pytest.raises(RequestError, match="when_full: is not modelled by costs alone"):
        roles(load_text(COUPLED), Components(tmp_path))
