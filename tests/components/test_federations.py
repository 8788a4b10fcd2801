"""Ten workers with one digit each: every way of training together learns all ten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.components.aggregator import Aggregator
from estran.components.gossip import Gossip
from estran.components.predictor import Predictor
from estran.components.source import Source
from estran.components.split import Back, Front
from estran.components.worker import Worker
from tests.components.stage import Stage, play

pytest.importorskip("sklearn")

WORKERS = 10
COST = {"learn": 0.004, "predict": 0.001, "aggregate": 0.0002, "load": 0.0005}
LEARNER = {"mlp": {"hidden": [32]}}
POLICIES = [
    {"kind": "fedavg", "epochs": 1, "fraction": 0.5, "batch": 200},
    {"kind": "synchronous", "batch": 8},
    {"kind": "local-sgd", "steps": 2, "batch": 8},
    {"kind": "ssp", "staleness": 2, "batch": 8},
    {"kind": "asynchronous", "batch": 4, "rate": 0.3},
    {"kind": "fedbuff", "buffer": 5, "batch": 8},
]


def sources(stage: Stage, parts: list[Any], judge: Any) -> None:
    """A digit for each, and all of them for the judge; rows come in tens."""
    for index, part in enumerate(parts):
        settings = {"data": "digits", "partition": "by-class", "rate": 400.0, "batch": 10}
        camera = stage.add(Source, "camera", settings, index=index, replicas=len(parts))
        stage.connect(camera, "samples", (part, "samples"))
    everything = stage.add(Source, "judge", {"data": "digits", "rate": 200.0, "batch": 10})
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
        await stage.run(12.0)

    play(scene)
    assert accuracy(stage) > 0.85


def test_gossip_on_a_ring_learns_what_no_peer_has_seen() -> None:
    stage = Stage(cost=COST)
    peers = [stage.add(Gossip, "peer", {"learner": LEARNER, "batch": 4}, index=i, replicas=WORKERS) for i in range(WORKERS)]
    detector = stage.add(Predictor, "detector")

    async def scene() -> None:
        sources(stage, peers, detector)
        for i, peer in enumerate(peers):
            neighbours = [peers[(i + step) % WORKERS] for step in (1, -1)]
            stage.connect(peer, "offers", *[(other, "peers") for other in neighbours], delay=0.005)
        stage.connect(peers[0], "models", (detector, "models"), delivery="latest", delay=0.01)
        await stage.run(12.0)

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
        await stage.run(12.0)

    play(scene)
    assert accuracy(stage) > 0.8
