"""Workers that come, go, lag, diverge or are restarted in the middle of a round, and an aggregator that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from estran.components.aggregator import Aggregator, AggregatorSettings
from estran.components.messages import Samples, Update
from estran.components.worker import Worker, WorkerSettings
from estran.errors import EstranError, ServiceError
from estran.learning.aggregation.policy import Policy
from estran.runtime.component import Component
from tests.components.stage import Channel, Stage, play
from tests.components.test_aggregation import CLASSES, FEATURES, LEARNER, WORKERS, Federation, Reader, fresh, learn, shards

ROUND = {"kind": "local-sgd", "steps": 2, "batch": 2, "deadline": 0.5}
COST = {"learn": 0.02, "predict": 0.0}


class Living(Federation):
    """A federation whose parts can be killed and restarted; channels outlive them, and lose what was not processed."""

    def __init__(
        self, policy: Any, *, delay: float = 0.005, rows: int = 2000, every: float = 0.004, learner: Any = LEARNER, **worker: Any
    ) -> None:
        super().__init__(policy, shards((rows,) * WORKERS), delay=delay, worker=worker, cost=COST, learner=learner)
        self.every = every
        self.lives: dict[str, asyncio.Task[None]] = {}
        self.channels: list[tuple[Component, str, str, str, Channel]] = []

    def wire(self) -> None:
        stage = self.stage
        [models] = stage.connect(self.server, "models", (self.reader, "models"))
        self.channels.append((self.server, "models", "reader-0", "models", models))
        rounds = stage.connect(self.server, "rounds", *[(w, "rounds") for w in self.workers], delivery="latest", delay=self.delay)
        for (x, y), worker, order in zip(self.parts, self.workers, rounds, strict=True):
            parts = [Samples(x[i : i + 1], y[i : i + 1], i, CLASSES) for i in range(len(y))]
            rows = stage.hand(worker, "samples", parts, at=[i * self.every for i in range(len(parts))])
            [updates] = stage.connect(worker, "updates", (self.server, "updates"), delay=self.delay)
            self.channels += [
                (self.server, "rounds", worker.name, "rounds", order),
                (worker, "updates", "server-0", "updates", updates),
                (worker, "", worker.name, "samples", rows),
            ]

    async def start(self, part: Component) -> None:
        await part.setup()
        self.lives[part.name] = asyncio.get_running_loop().create_task(self.stage._life(part))

    async def kill(self, part: Component) -> None:
        life = self.lives.pop(part.name)
        life.cancel()
        await asyncio.wait({life})

    async def restart(self, old: Component, kind: type[Component], settings: Any) -> Any:
        service, _, index = old.name.rpartition("-")
        new = self.stage.add(kind, service, settings, index=int(index), replicas=old.replicas)
        for place, (sender, output, receiver, port, channel) in enumerate(self.channels):
            if receiver == new.name:
                getattr(new, port).attach("stream", "hand-0" if not output else sender.name, channel, conflate=port == "rounds")
            if sender.name == new.name and output:
                getattr(new, output).attach([channel], rotate=False, peers=[receiver])
                self.channels[place] = (new, output, receiver, port, channel)
        await self.start(new)
        return new

    def play(self, story: Callable[[], Any]) -> Living:
        async def scene() -> None:
            self.wire()
            for part in [self.server, self.reader, *self.workers]:
                await self.start(part)
            await story()
            for life in self.lives.values():
                assert not life.done(), life.exception()
                life.cancel()
            await asyncio.wait(self.lives.values())
            for recorder in self.stage.recorders:
                recorder.flush()

        play(scene)
        return self

    @property
    def versions(self) -> list[int]:
        return [message.payload.version for message in self.reader.seen]

    def participants(self) -> list[tuple[float, int]]:
        rows = [row for row in self.stage.rows["metrics"] if row.metric == "participants"]
        return [(row.time, int(row.value)) for row in rows]


async def until(clock: Any, time: float) -> None:
    await clock.sleep(time - clock.now())


def test_a_killed_worker_costs_one_deadline_and_its_next_life_takes_part() -> None:
    federation = Living(ROUND)

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 1.03)
        await federation.kill(federation.workers[2])
        await until(clock, 3.0)
        await federation.restart(federation.workers[2], Worker, {})
        await until(clock, 4.0)

    federation.play(story)
    counts = federation.participants()
    assert {count for time, count in counts if time < 1.03} == {4}
    assert {count for time, count in counts if 1.2 < time < 3.0} == {3}
    assert [count for time, count in counts if time > 3.1] == [4] * sum(time > 3.1 for time, _ in counts)
    gaps = np.diff([time for time, _ in counts])
    assert 0.45 < gaps.max() < 0.6
    assert np.sort(gaps)[-2] < 0.1
    assert federation.versions == list(range(1, len(counts) + 1))


def test_a_worker_restarted_in_mid_round_is_asked_again_and_the_round_is_whole() -> None:
    """The models are what they would be if it had never been killed, with the rows that its second life had."""
    federation = Living({**ROUND, "deadline": 5.0}, rows=200, every=0.0)

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 0.02)
        await federation.kill(federation.workers[1])
        federation.channels[:] = [one for one in federation.channels if one[2:4] != ("worker-1", "samples")]
        new = await federation.restart(federation.workers[1], Worker, {})
        x, y = federation.parts[1]
        for start in range(40):
            new._held.add(Samples(x[start : start + 1], y[start : start + 1], start, CLASSES))
        new._held._changed.wake()
        await until(clock, 0.3)

    federation.play(story)
    w = fresh()
    for number, message in enumerate(federation.reader.seen):
        w = np.mean([learn(w, x[4 * number : 4 * number + 4], y[4 * number : 4 * number + 4]) for x, y in federation.parts], axis=0)
        state = message.payload.state
        np.testing.assert_allclose(np.vstack([state["w0"], state["b0"][None]]), w, rtol=0, atol=1e-9)
    assert len(federation.versions) >= 3
    assert {count for _, count in federation.participants()} == {4}


def test_a_straggler_is_left_out_until_it_is_heard_of_again() -> None:
    """It has no rows for a while, then answers a round that is long over."""
    federation = Living(ROUND)
    x, y = federation.parts[3]
    federation.parts[3] = (x[:8], y[:8])

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 2.0)
        for i in range(8, 200):
            federation.workers[3]._held.add(Samples(x[i : i + 1], y[i : i + 1], i, CLASSES))
        await until(clock, 3.0)

    federation.play(story)
    late = [count for time, count in federation.participants() if 0.8 < time < 2.0]
    assert set(late) == {3}
    assert len(late) > 10
    assert next(count for time, count in federation.participants() if time > 2.2) == 4
    assert federation.server._server.refused == {"late": 1}


def test_without_a_quorum_a_round_changes_nothing_and_the_next_one_has_who_is_left() -> None:
    federation = Living({**ROUND, "quorum": 0.75})

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 1.03)
        for worker in federation.workers[:2]:
            await federation.kill(worker)
        await until(clock, 2.5)

    federation.play(story)
    assert federation.server._server.refused == {"round given up": 2}
    assert {count for time, count in federation.participants() if time > 1.6} == {2}
    assert federation.versions == list(range(1, len(federation.versions) + 1))


@pytest.mark.parametrize("kind", ["synchronous", "fedavg", "ssp", "asynchronous", "fedbuff"])
def test_all_workers_die_and_come_back(kind: str) -> None:
    federation = Living({"kind": kind, "batch": 2, "deadline": 0.5}, most=20)
    seen: list[int] = []

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 0.5)
        for worker in federation.workers:
            await federation.kill(worker)
        await until(clock, 3.0)
        seen.append(len(federation.versions))
        await until(clock, 5.0)
        assert len(federation.versions) == seen[0]
        for worker in federation.workers:
            await federation.restart(worker, Worker, {"most": 20})
        await until(clock, 6.5)

    federation.play(story)
    assert len(federation.versions) > seen[0] + 5
    assert federation.versions == list(range(1, len(federation.versions) + 1))


@pytest.mark.parametrize("kind", ["local-sgd", "ssp"])
def test_a_deadline_that_all_are_too_slow_for_does_not_stop_training(kind: str) -> None:
    federation = Living({"kind": kind, "steps": 4, "batch": 2, "deadline": 0.03})

    async def story() -> None:
        await until(federation.stage.clock, 3.0)

    federation.play(story)
    assert len(federation.versions) > 10
    assert federation.server._server.refused.total() == 0


@pytest.mark.parametrize("kind", ["synchronous", "ssp", "asynchronous", "fedbuff"])
def test_what_is_not_finite_or_does_not_fit_is_refused_and_counted(kind: str) -> None:
    federation = Living({"kind": kind, "batch": 2, "deadline": 0.5, "largest": 100.0}, learner={"softmax": {"learning_rate": 0.05}})
    x, y = federation.parts[0]
    x[200:] *= 1e200
    federation.parts[0] = (x, y)
    nan = {"w0": np.full((FEATURES, CLASSES), np.nan), "b0": np.zeros(CLASSES)}
    huge = {"w0": np.full((FEATURES, CLASSES), 1e9), "b0": np.zeros(CLASSES)}

    async def story() -> None:
        clock, server = federation.stage.clock, federation.server
        await until(clock, 1.0)
        for state in (nan, huge, {"w0": np.zeros((1, 1)), "b0": np.zeros(CLASSES)}, {}):
            # As if from a worker of bad will: it answers the order that it has.
            peer = server._server.peers["worker-1"]
            while not peer.order:
                await clock.sleep(0.001)
                peer = server._server.peers["worker-1"]
            update = Update(peer.born, server._born, peer.order, peer.base, FEATURES, CLASSES, state, 2)
            await server._take(update, "worker-1", 100)
        await until(clock, 6.0)

    federation.play(story)
    refused = federation.server._server.refused
    assert refused["unfit"] == 3
    assert refused["too large"] == 1
    assert refused["failed"] > 3
    assert federation.stage.metric("server-0", "refused")[-1] == refused.total()
    model = federation.reader.seen[-1].payload
    assert all(np.isfinite(array).all() for array in model.state.values())
    x, y = federation.parts[1]
    odds = x @ model.state["w0"] + model.state["b0"]
    assert (odds.argmax(axis=1) == y).mean() > 0.7


@pytest.mark.parametrize("lost", [False, True])
def test_an_aggregator_that_is_restarted_goes_on_with_what_the_workers_know(lost: bool) -> None:
    """From an answer that waited for it; or, if those are lost, from what it asks for."""
    federation = Living(ROUND, remind=0.5)

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 1.03)
        await federation.kill(federation.server)
        await until(clock, 2.0)
        for _, port, _, _, channel in federation.channels if lost else ():
            if port == "updates":
                channel.flying.clear()
        settings = {"learner": LEARNER, "policy": ROUND}
        federation.server = await federation.restart(federation.server, Aggregator, settings)
        await until(clock, 4.0)

    federation.play(story)
    before = [message.payload for message in federation.reader.seen if message.payload.published_at < 1.1]
    after = [message.payload for message in federation.reader.seen if message.payload.published_at > 2.0]
    assert after[0].version in (before[-1].version, before[-1].version + 1)
    assert len(after) > 5
    assert [model.version for model in after] == list(range(after[0].version, after[0].version + len(after)))
    assert np.abs(after[0].state["w0"] - before[-1].state["w0"]).max() < 0.2
    assert np.abs(before[-1].state["w0"]).max() > 0.2


def test_those_that_are_not_drawn_say_little() -> None:
    """Who waits long says that it is there, without sending its model."""
    federation = Living({"kind": "fedavg", "fraction": 0.25, "steps": 4, "batch": 32}, remind=0.2, every=0.001)

    async def story() -> None:
        await until(federation.stage.clock, 3.0)

    federation.play(story)
    heard = [row.bytes for row in federation.stage.rows["messages"] if row.receiver == "server-0"]
    reminders = [size for size in heard if size < 200]
    assert len(reminders) > WORKERS
    assert len(heard) - len(reminders) == len(federation.versions) > 5
    assert federation.server._server.refused.total() == 0


def test_a_late_comer_joins_a_federation_that_runs() -> None:
    federation = Living({"kind": "ssp", "staleness": 1, "batch": 2, "deadline": 0.3}, least=1)
    x, y = federation.parts[0]
    federation.parts[0] = (x[:0], y[:0])

    async def story() -> None:
        clock = federation.stage.clock
        await until(clock, 2.0)
        for i in range(200):
            federation.workers[0]._held.add(Samples(x[i : i + 1], y[i : i + 1], i, CLASSES))
        await until(clock, 3.0)

    federation.play(story)
    peers = federation.server._server.peers
    begun = next(row.time for row in federation.stage.rows["metrics"] if row.metric == "participants")
    assert begun == pytest.approx(0.3, abs=0.1)
    assert peers["worker-0"].clock > 20
    assert max(peer.clock for peer in peers.values()) - min(peer.clock for peer in peers.values()) <= 2


def test_orders_that_no_stream_carries_are_an_error_that_says_so() -> None:
    stage = Stage()
    server, reader = stage.add(Aggregator, "server", {"learner": LEARNER}), stage.add(Reader, "reader")
    workers = [stage.add(Worker, "worker", index=i, replicas=2) for i in range(2)]

    async def scene() -> None:
        stage.connect(server, "models", (reader, "models"))
        stage.connect(server, "rounds", (workers[0], "rounds"))  # as routing: paired has it
        for worker, (x, y) in zip(workers, shards((20, 20)), strict=True):
            stage.hand(worker, "samples", [Samples(x, y, 0, CLASSES)])
            stage.connect(worker, "updates", (server, "updates"))
        await stage.run(1.0)

    with pytest.raises(ExceptionGroup) as raised:
        play(scene)
    error: BaseException = raised.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ServiceError)
    assert "no stream leads from output rounds to worker-1" in str(error)
    assert "routing: all" in str(error)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"kind": "ssp", "staleness": -1}, "staleness is -1"),
        ({"kind": "fedavg", "fraction": 0.0}, "fraction is 0"),
        ({"kind": "fedavg", "fraction": 1.5}, "fraction is 1.5"),
        ({"kind": "fedavg", "fraction": float("nan")}, "fraction is nan"),
        ({"kind": "fedavg", "quorum": 0.0}, "quorum is 0"),
        ({"kind": "fedavg", "steps": 1, "epochs": 1}, "steps and epochs"),
        ({"kind": "ssp", "epochs": 1}, "ssp has no epochs; .*fedavg|ssp has no epochs"),
        ({"kind": "fedavg", "staleness": 2}, "fedavg has no staleness"),
        ({"kind": "synchronous", "steps": 2}, "synchronous has no steps"),
        ({"kind": "asynchronous", "rate": 1.1}, "rate is 1.1"),
        ({"kind": "asynchronous", "decay": -0.5}, "decay is -0.5"),
        ({"kind": "fedbuff", "buffer": 0}, "buffer is 0"),
        ({"kind": "fedavg", "deadline": 0.0}, "deadline is 0"),
        ({"kind": "fedavg", "batch": 0}, "batch is 0"),
        ({"kind": "fedavg", "largest": 0.0}, "largest is 0"),
    ],
)
def test_policies_that_make_no_sense_are_refused(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(EstranError, match=message):
        Policy(**policy)


class Counting:
    """A learner that counts classes, and knows nothing else."""

    def __init__(self, features: int, classes: int, rng: np.random.Generator) -> None:
        self.counts = np.zeros(classes, np.int64)

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts.copy()}


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        ("drift-reacting", "starts over"),
        ("kernel-perceptron", "remembers rows"),
        ("ada-rda", "all gradients"),
        ("fobos", "sparse"),
        ("ftrl", "all gradients"),
        ("river.tree:HoeffdingTreeClassifier", "no snapshot|cannot be"),
        ("tests.components.test_coming_and_going:Counting", "counts of .* is int64, which has no mean"),
        ("nonsense", "no learner"),
    ],
)
def test_learners_that_cannot_be_averaged_are_refused(learner: str, message: str) -> None:
    with pytest.raises(EstranError, match=message):
        AggregatorSettings(learner=learner)


@pytest.mark.parametrize("learner", ["mlp", "softmax", "arow", "hbp", "perceptron", "scaled", {"mlp": {"optimizer": "adam"}}])
def test_learners_of_real_numbers_are_taken(learner: Any) -> None:
    assert AggregatorSettings(learner=learner).learner == learner


@pytest.mark.parametrize("settings", [{"least": 0}, {"least": 9, "most": 8}, {"remind": 0.0}])
def test_workers_that_make_no_sense_are_refused(settings: Any) -> None:
    with pytest.raises(EstranError):
        WorkerSettings(**settings)
