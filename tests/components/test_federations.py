"""Ten workers with one digit each: every way of training together learns all ten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.components.aggregator import Aggregator
from estran.components.gossip import Gossip
from estran.components.predictor import Predictor
from estran.components.source import Source
from estran.components.split import Back, Front
from estran.components.worker import Worker
from estran.errors import EstranError
from estran.run.prepare import read_experiment
from tests.components.stage import Stage, play
from tests.run.simulated import digests, record, rows, simulate, value

pytest.importorskip("sklearn")

WORKERS = 10
COST = {"learn": 0.004, "predict": 0.001, "aggregate": 0.0002, "load": 0.0005}
LEARNER = {"mlp": {"hidden": [32]}}
POLICIES = [
    {"kind": "fedavg", "epochs": 1, "fraction": 0.8, "batch": 200},
    {"kind": "synchronous", "batch": 8},
    {"kind": "local-sgd", "steps": 2, "batch": 8},
    {"kind": "ssp", "staleness": 2, "batch": 8},
    {"kind": "asynchronous", "batch": 4, "rate": 0.3},
    {"kind": "fedbuff", "buffer": 5, "batch": 8},
]


def sources(stage: Stage, parts: list[Any], judge: Any) -> None:
    """A digit for each, and all of them for the judge; rows come in twenties."""
    for index, part in enumerate(parts):
        settings = {"data": "digits", "partition": "by-class", "rate": 400.0, "batch": 20}
        camera = stage.add(Source, "camera", settings, index=index, replicas=len(parts))
        stage.connect(camera, "samples", (part, "samples"))
    everything = stage.add(Source, "judge", {"data": "digits", "rate": 200.0, "batch": 20})
    stage.connect(everything, "samples", (judge, "samples"))


def accuracy(stage: Stage) -> float:
    return float(np.mean(stage.metric("detector-0", "accuracy")[-4:]))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy["kind"])
def test_every_policy_learns_what_no_worker_has_seen(policy: Any) -> None:
    stage = Stage(cost=COST)
    server = stage.add(Aggregator, "server", {"learner": LEARNER, "policy": policy})
    workers = [stage.add(Worker, "worker", {"least": 100, "most": 180}, index=i, replicas=WORKERS) for i in range(WORKERS)]
    detector = stage.add(Predictor, "detector")

    async def scene() -> None:
        sources(stage, workers, detector)
        stage.connect(server, "rounds", *[(w, "rounds") for w in workers], delivery="latest", delay=0.01)
        stage.connect(server, "models", (detector, "models"), delivery="latest", delay=0.01)
        for worker in workers:
            stage.connect(worker, "updates", (server, "updates"), delay=0.01)
        await stage.run(7.0)

    play(scene)
    assert accuracy(stage) > 0.85


def test_gossip_learns_what_no_peer_has_seen() -> None:
    stage = Stage(cost=COST)
    peers = [stage.add(Gossip, "peer", {"learner": "softmax", "batch": 2}, index=i, replicas=WORKERS) for i in range(WORKERS)]
    detector = stage.add(Predictor, "detector")

    async def scene() -> None:
        sources(stage, peers, detector)
        for i, peer in enumerate(peers):
            neighbours = [peers[(i + step) % WORKERS] for step in (1, -1, 3, -3)]
            stage.connect(peer, "offers", *[(other, "peers") for other in neighbours], delay=0.005)
        stage.connect(peers[0], "models", (detector, "models"), delivery="latest", delay=0.01)
        await stage.run(7.0)

    play(scene)
    assert accuracy(stage) > 0.8
    assert len(stage.events("published")) > 5


def test_ten_devices_share_a_network_that_is_cut_in_two() -> None:
    stage = Stage(cost=COST)
    learner = {"mlp": {"hidden": [32], "learning_rate": 0.3}}
    back = stage.add(Back, "back", {"learner": learner, "batch": 8, "gather": 4})
    fronts = [stage.add(Front, "front", index=i, replicas=WORKERS) for i in range(WORKERS)]
    detector = stage.add(Predictor, "detector")

    async def scene() -> None:
        sources(stage, fronts, detector)
        stage.connect(back, "gradients", *[(front, "gradients") for front in fronts], delivery="latest", delay=0.005)
        stage.connect(back, "models", (detector, "models"), delivery="latest", delay=0.01)
        for front in fronts:
            stage.connect(front, "activations", (back, "activations"), delay=0.005)
        await stage.run(7.0)

    play(scene)
    assert accuracy(stage) > 0.8


# -- as an experiment file has them

TOGETHER = """
experiment: together
seed: 3
layers: {edge: {hosts: 3, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 10ms, rate: 20mbit}, {between: [edge, edge], delay: 2ms, rate: 50mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, partition: by-class, rate: 200/s, batch: 20}}
  worker: {on: edge, component: worker, with: {least: 40}}
  server: {on: cloud, component: aggregator, with: {learner: {mlp: {hidden: [16]}}, policy: {kind: ssp, staleness: 1, batch: 10}}}
  peer: {on: edge, component: gossip, with: {learner: softmax, batch: 10}}
  front: {on: edge, component: split-front}
  back: {on: cloud, component: split-back, with: {learner: {mlp: {hidden: [16]}}, cut: 1, batch: 10, gather: 4}}
  judge: {on: cloud, component: source, with: {data: digits, rate: 100/s}}
  detector: {on: cloud, component: predictor}
  reader: {on: cloud, component: sink}
streams:
  - {from: camera.samples, to: [worker.samples, peer.samples, front.samples]}
  - {from: server.rounds, to: worker.rounds, delivery: latest}
  - {from: worker.updates, to: server.updates}
  - {from: server.models, to: detector.models, delivery: latest}
  - {from: judge.samples, to: detector.samples}
  - {from: peer.offers, to: peer.peers, routing: all}
  - {from: front.activations, to: back.activations}
  - {from: back.gradients, to: front.gradients, delivery: latest}
  - {from: back.models, to: reader.messages}
measure: {warmup: 0.5s, duration: 3s}
"""


def test_simulated_federations_work_and_repeat_to_the_byte(tmp_path: Path) -> None:
    first, again = (simulate(tmp_path / name, TOGETHER, trace=True) for name in ("first", "again"))
    assert record(first)["status"] == "done", record(first)["failure"]
    assert digests(first) == digests(again)
    published = dict(rows(first, "SELECT split_part(replica, '-', 1), count(*) FROM events WHERE event = 'published' GROUP BY 1"))
    assert published["server"] > 20
    assert published["back"] > 5
    assert value(first, "accuracy@detector") > 0.2
    assert value(first, "exchanges@peer") > 5
    assert value(first, "waiting@front") > 0.02
    assert value(first, "update_staleness@server") <= 3 * 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("staleness: 1,", "staleness: -1,", "staleness is -1"),
        ("kind: ssp, staleness: 1", "kind: fedavg, fraction: 0", "fraction is 0"),
        ("kind: ssp, staleness: 1", "kind: fedavg, fraction: 150%", "150%"),
        ("learner: {mlp: {hidden: [16]}}, policy", "learner: kernel-perceptron, policy", "remembers rows"),
        ("cut: 1", "cut: 3", "cut is 3 of 1"),
        ("  - {from: server.rounds, to: worker.rounds, delivery: latest}\n", "", "its port 'rounds' is not connected"),
        ("  - {from: peer.offers, to: peer.peers, routing: all}\n", "", "its port 'offers' is not connected"),
        ("  - {from: front.activations, to: back.activations}\n", "", "its port 'activations' is not connected"),
    ],
)
def test_mistakes_are_found_before_anything_starts(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TOGETHER
    file = tmp_path / "experiment.yaml"
    file.write_text(TOGETHER.replace(old, new))
    with pytest.raises(EstranError) as raised:
        read_experiment(str(file))
    assert message in str(raised.value)
