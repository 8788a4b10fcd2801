"""Gossip and split learning in virtual time, against plain sequential programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from estran.components.gossip import Gossip, GossipSettings
from estran.components.messages import Exchange, Gradients, Samples
from estran.components.predictor import Predictor
from estran.components.split import Back, BackSettings, Front
from estran.errors import EstranError
from estran.learning import registry
from estran.learning.mlp import Mlp
from estran.runtime.component import generator
from tests.components.stage import Stage, play
from tests.components.test_aggregation import CLASSES, FEATURES, LEARNER, RATE, Reader, fresh, learn, pair, shards

PEERS = 3
STEP = 0.1


def when(peer: int, row: int) -> float:
    """Two rows are a step, and peers take turns."""
    return (row // 2) * STEP + 0.01 * peer


def ring(peer: int) -> list[int]:
    return [(peer + 1) % PEERS]


def whole(peer: int) -> list[int]:
    return [other for other in range(PEERS) if other != peer]


@pytest.mark.parametrize("topology", [ring, whole])
def test_gossip_averages_two_by_two(topology: Any) -> None:
    parts = shards((40, 40, 40))
    models, draws = [fresh() for _ in range(PEERS)], [generator(1, "peer", k) for k in range(PEERS)]
    for step in range(20):
        for k in range(PEERS):
            models[k] = learn(models[k], *pair(parts[k], step))
            if step % 2:
                free = topology(k)
                chosen = free[int(draws[k].integers(len(free)))]
                models[k] = models[chosen] = (models[k] + models[chosen]) / 2
    stage = Stage()
    settings = {"learner": LEARNER, "steps": 2, "batch": 2}
    peers = [stage.add(Gossip, "peer", settings, index=k, replicas=PEERS) for k in range(PEERS)]

    async def scene() -> None:
        for k, peer in enumerate(peers):
            x, y = parts[k]
            rows = [Samples(x[i : i + 1], y[i : i + 1], i, CLASSES) for i in range(40)]
            stage.hand(peer, "samples", rows, at=[when(k, i) for i in range(40)])
            # Answers go the other way, so that offers are drawn from the topology alone.
            stage.connect(peer, "offers", *[(peers[other], "peers") for other in topology(k)])
            for other in topology(k):
                if k not in topology(other):
                    stage.connect(peers[other], "offers", (peer, "peers"))
        for k, peer in enumerate(peers):
            names = tuple(peers[other].name for other in topology(k))
            peer.offers = Only(peer.offers, names)
        await stage.run(9.0)

    play(scene)
    for peer, wanted in zip(peers, models, strict=True):
        state = peer._learner.state()
        np.testing.assert_allclose(np.vstack([state["w0"], state["b0"][None]]), wanted, rtol=0, atol=1e-9)
    assert sum(max(stage.metric(peer.name, "exchanges")) for peer in peers) == 2 * 10 * PEERS


class Only:
    """An output that says that it leads to some replicas only, and sends to others all the same."""

    def __init__(self, output: Any, peers: tuple[str, ...]) -> None:
        self._output, self.peers = output, peers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)


def gossiping(stage: Stage, count: int, settings: Mapping[str, Any], delay: float = 0.02, rows: int = 400) -> list[Any]:
    peers = [stage.add(Gossip, "peer", settings, index=k, replicas=count) for k in range(count)]
    for k, (peer, (x, y)) in enumerate(zip(peers, shards((rows,) * count), strict=True)):
        parts = [Samples(x[i : i + 1], y[i : i + 1], i, CLASSES) for i in range(rows)]
        stage.hand(peer, "samples", parts, at=[0.01 * i + 0.001 * k for i in range(rows)])
    for peer in peers:
        # Few may be unprocessed, so that one who sends too much to a dead peer is held up.
        stage.connect(peer, "offers", *[(other, "peers") for other in peers if other is not peer], delay=delay, capacity=4)
    return peers


def test_offers_that_cross_on_slow_links_bring_all_together() -> None:
    """Nobody learns (a rate of almost nothing): all models become alike, within what they were."""
    stage = Stage()
    learner = {"softmax": {"dtype": "float64", "learning_rate": 1e-300}}

    async def scene() -> None:
        peers = gossiping(stage, 4, {"learner": learner, "batch": 4}, delay=0.05)
        for k, peer in enumerate(peers):
            await peer.setup()
            peer._begin(FEATURES, CLASSES).load({"w0": np.full((FEATURES, CLASSES), float(k)), "b0": np.zeros(CLASSES)})
            peer.setup = nothing
        await stage.run(7.0)
        weights = [peer._learner.state()["w0"] for peer in peers]
        assert np.ptp([one[0, 0] for one in weights]) < 1e-6
        assert 0.5 < weights[0][0, 0] < 2.5

    play(scene)


async def nothing() -> None:
    """Stand in for a setup that has been done."""


def test_a_peer_that_never_answers_or_sends_rubbish_holds_nobody_up() -> None:
    stage = Stage()

    async def scene() -> None:
        peers = gossiping(stage, 3, {"learner": LEARNER, "batch": 4})
        dead = peers[2]

        async def deaf() -> None:
            """It neither learns nor answers."""

        dead.run = deaf
        bad = {"w0": np.full((FEATURES, CLASSES), np.nan), "b0": np.zeros(CLASSES)}
        stage.hand(peers[0], "peers", [Exchange(0.0, True, FEATURES, CLASSES, bad)], at=[1.0])
        await stage.run(5.0)
        assert all(np.isfinite(peer._learner.state()["w0"]).all() for peer in peers[:2])

    play(scene)
    assert stage.metric("peer-0", "learned")[-1] == stage.metric("peer-1", "learned")[-1] == 400
    assert stage.metric("peer-0", "exchanges")[-1] > 10


# -- split learning

NETWORK = {"mlp": {"hidden": [8, 6], "dtype": "float64", "learning_rate": RATE}}


def cut_in_two(
    settings: Mapping[str, Any], devices: int = 1, rows: int = 120, delay: float = 0.0, seconds: float = 60.0
) -> tuple[Stage, Any, list[Any], Any]:
    stage = Stage()
    back, reader = stage.add(Back, "back", {"learner": NETWORK, **settings}), stage.add(Reader, "reader")
    fronts = [stage.add(Front, "front", index=i, replicas=devices) for i in range(devices)]

    async def scene() -> None:
        stage.connect(back, "gradients", *[(front, "gradients") for front in fronts], delivery="latest", delay=delay)
        stage.connect(back, "models", (reader, "models"))
        for front, (x, y) in zip(fronts, shards((rows,) * devices), strict=True):
            stage.hand(front, "samples", [Samples(x, y, 0, CLASSES)])
            stage.connect(front, "activations", (back, "activations"), delay=delay)
        await stage.run(seconds)

    play(scene)
    return stage, back, fronts, reader


@pytest.mark.parametrize("cut", [1, 2])
def test_a_network_cut_in_two_learns_as_one(cut: int) -> None:
    """Row by row it is the compiled perceptron, which was written without a cut in mind."""
    (x, y), *_ = shards((120,))
    mlp = registry.create(NETWORK, FEATURES, CLASSES, generator(1, "back", 0))
    assert isinstance(mlp, Mlp)
    wanted = []
    for i in range(120):
        if (i + 1) % 8 == 0:
            wanted.append(mlp.state())
        mlp.learn_many(x[i : i + 1], y[i : i + 1])
    stage, _, _, reader = cut_in_two({"cut": cut, "batch": 1, "gather": 8})
    models = [message.payload for message in reader.seen]
    assert len(models) == len(wanted) == 15
    for model, state in zip(models, wanted, strict=True):
        assert set(model.state) == set(state)
        for name, array in state.items():
            np.testing.assert_allclose(model.state[name], array, rtol=0, atol=1e-9)
    assert stage.metric("front-0", "learned")[-1] == 120


def test_a_batch_is_a_step_along_its_mean_gradient() -> None:
    (x, y), *_ = shards((120,))
    w = {name: array.copy() for name, array in registry.create(NETWORK, FEATURES, CLASSES, generator(1, "back", 0)).state().items()}
    for start in range(0, 120, 10):
        rows, labels = x[start : start + 10], y[start : start + 10]
        first = np.maximum(rows @ w["w0"] + w["b0"], 0)
        second = np.maximum(first @ w["w1"] + w["b1"], 0)
        scores = second @ w["w2"] + w["b2"]
        odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        g2 = (odds - np.eye(CLASSES)[labels]) / 10
        g1 = (g2 @ w["w2"].T) * (second > 0)
        g0 = (g1 @ w["w1"].T) * (first > 0)
        for layer, below, gradient in ((2, second, g2), (1, first, g1), (0, rows, g0)):
            w[f"w{layer}"] -= RATE * below.T @ gradient
            w[f"b{layer}"] -= RATE * gradient.sum(axis=0)
    _, back, fronts, _ = cut_in_two({"cut": 1, "batch": 10, "gather": 100})
    np.testing.assert_allclose(back._stack.weights["w1"], w["w1"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(back._stack.weights["w2"], w["w2"], rtol=0, atol=1e-9)
    assert fronts[0]._learned == 120


def test_several_devices_share_the_back_and_their_mean_is_published() -> None:
    stage, _, _, reader = cut_in_two({"cut": 1, "batch": 4, "gather": 3}, devices=4, rows=400, delay=0.005)
    detector = Stage()
    predictor = detector.add(Predictor, "detector")
    x, y = (np.concatenate(part) for part in zip(*shards((100,) * 4), strict=True))

    async def scene() -> None:
        detector.hand(predictor, "models", [reader.seen[-1].payload])
        detector.hand(predictor, "samples", [Samples(x[i : i + 1], y[i : i + 1], i, CLASSES) for i in range(len(y))])
        await detector.run(2.0)

    play(scene)
    assert detector.metric("detector-0", "accuracy")[-1] > 0.8
    assert min(stage.metric(f"front-{i}", "learned")[-1] for i in range(4)) == 400
    assert max(stage.metric("front-0", "waiting")) >= 0.01


def test_a_front_whose_gradient_is_lost_or_not_finite_goes_on() -> None:
    stage = Stage()
    front = stage.add(Front, "front", {"remind": 0.5})
    weights = {"w0": np.ones((FEATURES, 2)), "b0": np.zeros(2)}

    async def scene() -> None:
        (x, y), *_ = shards((40,))
        stage.hand(front, "samples", [Samples(x, y, 0, CLASSES)])
        begin = Gradients(0.0, 0.0, 0, np.zeros((0, 0)), weights, 0.1, 10, 99)
        bad = Gradients(0.0, 0.0, 2, np.full((10, 2), np.nan), {}, 0.1, 10, 99)
        other = {"w0": np.ones((FEATURES, 9)), "b0": np.zeros(9)}
        former = Gradients(-5.0, 0.0, 0, np.zeros((0, 0)), other, 0.1, 10, 99)
        # What a former life was sent is left alone. The first batch is answered by nobody; it then asks for weights again, and its
        # second answer is not finite.
        stage.hand(front, "gradients", [former, begin, former, begin, bad], at=[0.05, 0.1, 0.2, 1.0, 1.1])
        await stage.run(3.0)

    play(scene)
    assert stage.metric("front-0", "refused") == [1.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": "softmax"}, "softmax cannot be cut"),
        ({"learner": {"mlp": {"optimizer": "adam"}}}, "cannot be cut"),
        ({"learner": {"mlp": {"hidden": []}}}, "cut is 1 of 0"),
        ({"cut": 0}, "cut is 0"),
        ({"cut": 2}, "cut is 2 of 1"),
        ({"gather": 0}, "gather is 0"),
    ],
)
def test_what_cannot_be_cut_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(EstranError, match=message):
        BackSettings(**settings)


@pytest.mark.parametrize("learner", ["drift-reacting", "kernel-perceptron", "rda", "river.tree:HoeffdingTreeClassifier"])
def test_learners_that_cannot_be_averaged_do_not_gossip(learner: str) -> None:
    with pytest.raises(EstranError, match="choose mlp, softmax"):
        GossipSettings(learner=learner)
