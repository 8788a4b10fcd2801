"""Rehearsal over several workers' buffers in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from estran.components.aggregator import Aggregator
from estran.components.messages import Recall, Samples
from estran.components.recalling import REST, Recalling
from estran.components.rehearser import Rehearser
from estran.errors import EstranError
from estran.learning import registry
from estran.learning.rehearsal.buffer import Buffer, Memories
from estran.run.prepare import read_experiment
from estran.runtime.component import Component, generator
from estran.runtime.ports import Input, Output
from tests.components.stage import Stage, play
from tests.run.simulated import digests, record, rows, simulate, value

WORKERS, CLASSES = 4, 2


class Keeper(Component):
    """A buffer and nothing that learns; its rows are numbered over all keepers."""

    peers: Input[Recall]
    recalls: Output[Recall]
    size = 100
    ahead = 0
    together = 1
    slow = 0.0

    async def setup(self) -> None:
        self.buffer = Buffer(self.size, 1, CLASSES, self.rng, policy="fifo")
        self.recalling: Recalling | None = None

    def begin(self) -> Recalling:
        self.recalling = Recalling(
            self.name, self.recalls.peers, self.buffer, self.most, 1, ahead=self.ahead, together=self.together, patience=0.1,
            born=self.clock.now(), clock=self.clock, rng=self.rng, send=lambda recall, peer: self.recalls.send(recall, to=(peer,)),
        )  # fmt: skip
        return self.recalling

    most = 10

    def keep(self, count: int) -> None:
        first = len(self.buffer)
        numbers = 1000 * self.index + np.arange(first, first + count)
        self.buffer.offer(numbers[:, None].astype(float), numbers % CLASSES)
        if self.recalling is not None:
            self.recalling.grown()

    async def run(self) -> None:
        recalling = self.recalling or self.begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(recalling.talk())
            async for message in self.peers:
                if self.slow and message.payload.wanted:
                    await self.clock.sleep(self.slow)
                recalling.hear(message.payload, message.story.origin)


class Deaf(Keeper):
    """One that tells how much it keeps, and never answers."""

    async def run(self) -> None:
        await (self.recalling or self.begin()).talk()


def keepers(stage: Stage, kinds: Sequence[type[Keeper]], *, delay: float = 0.0, capacity: int = 1024) -> list[Any]:
    parts = [stage.add(kind, "keeper", index=index, replicas=len(kinds)) for index, kind in enumerate(kinds)]
    for part in parts:
        stage.connect(part, "recalls", *[(other, "peers") for other in parts], delay=delay, capacity=capacity)
    return parts


def acted(stage: Stage, act: Callable[[], Any], seconds: float = 1e6) -> None:
    """Run a stage until what happens on it is over."""

    async def scene() -> None:
        running = asyncio.create_task(stage.run(seconds))
        await stage.clock.sleep(0.001)
        await act()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(scene)


@pytest.mark.parametrize(("ahead", "together", "draws"), [(0, 1, 1_000_000), (3, 1, 200_000), (2, 5, 200_000)])
def test_draws_are_uniform_over_the_union_also_while_it_fills(ahead: int, together: int, draws: int) -> None:
    sizes, steps, most = (400, 300, 200, 100), 8, 200

    class Filling(Keeper):
        async def setup(self) -> None:
            self.size, self.most, self.ahead, self.together = sizes[self.index], most, ahead, together
            await super().setup()

    stage = Stage(seed=5 + ahead)
    parts = keepers(stage, [Filling] * WORKERS)
    statistic, freedom, drawn = 0.0, 0, 0

    async def act() -> None:
        nonlocal statistic, freedom, drawn
        for step in range(1, steps + 1):
            # The last keeper begins late, the first is the slowest to be full.
            goals = [size * min(step + shift, steps) // steps for size, shift in zip(sizes, (0, 2, 1, -3), strict=True)]
            for part, goal in zip(parts, goals, strict=True):
                part.keep(max(goal, 0) - len(part.buffer))
            await stage.clock.sleep(0.001)
            for _ in range(ahead + together):  # those that were asked for at another size
                await asyncio.gather(*(part.recalling.take() for part in parts))
            counts: Counter[int] = Counter()
            total = sum(len(part.buffer) for part in parts)
            takes = draws // (steps * WORKERS * most) + 1
            for _ in range(takes):
                for (memories,) in await asyncio.gather(*(part.recalling.take() for part in parts)):
                    assert len(memories) == most
                    counts.update(memories.x[:, 0].astype(int).tolist())
            held = [1000 * part.index + slot for part in parts for slot in range(len(part.buffer))]
            assert set(counts) <= set(held)
            expected = takes * WORKERS * most / total
            # Draws without replacement spread less, by (N - n) / (N - 1).
            statistic += sum((counts[row] - expected) ** 2 for row in held) / expected * (total - 1) / (total - most)
            freedom += total - 1
            drawn += counts.total()

    acted(stage, act)
    assert drawn >= draws
    assert 0.01 < chi2.sf(statistic, freedom) < 0.9999
    assert all(part.recalling.missing == 0 for part in parts)


@pytest.mark.parametrize("together", [1, 4])
def test_who_is_dead_costs_one_wait_and_all_rows_then_come_from_the_others(together: int) -> None:
    stage = Stage()
    parts = keepers(stage, [Keeper, Keeper, Deaf], delay=0.005, capacity=8)
    took: list[float] = []
    found: list[Memories] = []

    async def act() -> None:
        for part in parts:
            part.recalling._ahead, part.recalling._together = 3, together
            part.keep(50)
        await stage.clock.sleep(0.1)
        for _ in range(100):
            began = stage.clock.now()
            found.extend(await parts[0].recalling.take())
            took.append(stage.clock.now() - began)
            parts[0].keep(1)  # more to tell than the channel to the dead has room for

    acted(stage, act)
    assert took[0] == pytest.approx(0.1)
    assert max(took[1:]) <= 0.0101
    assert parts[0].recalling.missing == sum(10 - len(one) for one in found) > 0
    later = found[4 + together :]
    assert {len(one) for one in later} == {10}
    assert {int(row) // 1000 for one in later for row in one.x[:, 0]} == {0, 1}


def test_who_is_slow_costs_a_tenth_of_the_time_and_is_drawn_from_again_when_it_answers() -> None:
    stage = Stage()
    parts = keepers(stage, [Keeper, Keeper, Keeper], delay=0.001)
    waited = 0.0

    async def act() -> None:
        nonlocal waited
        for part in parts:
            part.keep(50)
        parts[2].slow = 0.3  # three times the patience
        await stage.clock.sleep(0.1)
        began = stage.clock.now()
        while stage.clock.now() < began + 20:
            await parts[0].recalling.take()
            await stage.clock.sleep(0.01)
        waited = parts[0].recalling.tally.waited
        assert waited < 20 * (1 / REST + 0.2)  # 0.2: two links of a millisecond for each ten
        parts[2].slow = 0.0
        await stage.clock.sleep(2.0)
        owners: Counter[int] = Counter()
        for _ in range(50):
            (memories,) = await parts[0].recalling.take()
            owners.update((memories.x[:, 0] // 1000).astype(int).tolist())
        assert owners[2] > 100

    acted(stage, act)
    assert waited > 0.5


def test_a_new_life_is_not_waited_for_on_behalf_of_the_former() -> None:
    stage = Stage()
    parts = keepers(stage, [Keeper, Deaf])

    async def act() -> None:
        for part in parts:
            part.keep(50)
        await stage.clock.sleep(0.01)
        waiting = asyncio.create_task(parts[0].recalling.take())
        await stage.clock.sleep(0.02)
        assert not waiting.done()
        parts[0].recalling.hear(Recall(stage.clock.now(), 7), "keeper-1")
        began = stage.clock.now()
        (memories,) = await waiting
        assert stage.clock.now() == began
        assert set((memories.x[:, 0] // 1000).tolist()) == {0.0}
        assert parts[0].recalling.missing == 10 - len(memories)

    acted(stage, act)


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    stage = Stage()
    parts = keepers(stage, [Keeper, Keeper])

    async def act() -> None:
        recalling = parts[0].recalling
        parts[0].keep(20)
        nothing = {
            "given": (3,),
            "x": np.zeros((3, 1), np.float32),
            "y": np.zeros(3, np.int64),
            "scores": np.zeros((3, 0), np.float32),
        }
        recalling.hear(Recall(0.0, 0, recalling._born, 77, **nothing), "keeper-1")
        recalling.hear(Recall(0.0, 0, recalling._born + 1, 1, **nothing), "keeper-1")
        recalling.hear(Recall(0.0, 5), "a stranger")
        assert recalling.missing == 0
        assert len((await recalling.take())[0]) == 10

    acted(stage, act)


# -- workers that learn


def dealt(count: int, workers: int, batch: int) -> tuple[np.ndarray, np.ndarray, list[list[Samples]]]:
    """Rows of four classes that come two by two, and the batches of each worker."""
    rng = np.random.default_rng(2)
    y = np.concatenate([rng.integers(2, size=count // 2), rng.integers(2, 4, size=count // 2)])
    x = rng.normal(size=(count, 6)) * 0.4 + np.eye(4, 6)[y]
    starts = [range(k * batch, count, workers * batch) for k in range(workers)]
    return x, y, [[Samples(x[at : at + batch], y[at : at + batch], at, 4) for at in mine] for mine in starts]


class Site:
    """Rehearsers and their aggregator."""

    def __init__(
        self, settings: dict[str, Any], batches: list[list[Samples]], *, batch: int = 10, delay: float = 0.0, cost: float = 0.0
    ) -> None:
        self.stage = Stage(seed=4, cost={"learn": cost})
        policy = {"kind": "synchronous", "batch": batch}
        self.server = self.stage.add(Aggregator, "server", {"learner": {"mlp": {"hidden": [12]}}, "policy": policy})
        count = len(batches)
        self.workers = [self.stage.add(Rehearser, "worker", settings, index=k, replicas=count) for k in range(count)]
        self.batches, self.delay = batches, delay

    def run(self, seconds: float = 1.0) -> dict[str, np.ndarray]:
        async def scene() -> None:
            stage = self.stage
            stage.connect(self.server, "rounds", *[(part, "rounds") for part in self.workers], delivery="latest", delay=self.delay)
            for part, samples in zip(self.workers, self.batches, strict=True):
                stage.connect(part, "updates", (self.server, "updates"), delay=self.delay)
                stage.connect(part, "recalls", *[(other, "peers") for other in self.workers], delay=self.delay)
                stage.hand(part, "samples", samples)
            await stage.run(seconds)

        play(scene)
        return dict(self.server._server.state)


@pytest.mark.parametrize("strategy", ["er", "er-ace", "der++", "a-gem"])
def test_one_worker_alone_learns_bit_for_bit_what_the_strategy_does(strategy: str) -> None:
    x, y, batches = dealt(400, 1, 10)
    site = Site({"learner": {strategy: {"buffer": 40, "representatives": 8}}, "ahead": 0, "together": 1}, batches)
    state = site.run()
    learner = registry.create(
        {strategy: {"hidden": [12], "buffer": 40, "representatives": 8, "batch": 10}}, 6, 4, generator(4, "worker", 0).spawn(1)[0]
    )
    learner.load_weights(registry.create({"mlp": {"hidden": [12]}}, 6, 4, generator(4, "server", 0)).state())
    for at in range(0, len(y), 10):
        learner.learn_many(x[at : at + 10], y[at : at + 10])
    assert site.stage.metric("worker-0", "learned")[-1] == len(y)
    for part, array in learner.weights().items():
        np.testing.assert_array_equal(state[part], array)


@pytest.mark.parametrize("strategy", ["er", "der++"])
def test_four_workers_rehearse_rows_of_each_other(strategy: str) -> None:
    x, y, batches = dealt(4000, WORKERS, 10)
    scores = {}
    for name, settings in {
        "naive": {"learner": "naive"}, "union": {"learner": {strategy: {"buffer": 20, "learning_rate": 0.3}}},
    }.items():  # fmt: skip
        site = Site(settings, batches, delay=0.01)
        state = site.run(3.0)
        model = registry.create({"mlp": {"hidden": [12]}}, 6, 4, np.random.default_rng(0))
        model.load(state)
        scores[name] = float(np.mean(model.predict(x) == y))
    assert scores["naive"] < 0.6
    assert scores["union"] > 0.85
    shares = [share for k in range(WORKERS) for share in site.stage.metric(f"worker-{k}", "remote_share")]
    assert np.mean(shares) == pytest.approx(0.75, abs=0.04)


def test_asking_ahead_hides_links_that_take_time() -> None:
    _, _, batches = dealt(1600, WORKERS, 10)
    waits = {}
    for ahead in (0, 1, 2):
        settings = {"learner": {"er": {"buffer": 20}}, "ahead": ahead, "together": 1}
        site = Site(settings, batches, delay=0.02, cost=0.03)
        site.run(4.0)
        waits[ahead] = np.mean([site.stage.metric(f"worker-{k}", "rehearsal_wait")[2:] for k in range(WORKERS)])
    # From batch to batch: 30 ms of learning, two links of 20 ms to the aggregator and back, and two more if rows are waited for.
    assert waits[0] == pytest.approx(0.04 / 0.11, rel=0.1)
    assert waits[1] == waits[2] == 0.0


def test_asking_for_several_batches_at_once_takes_fewer_messages() -> None:
    _, _, batches = dealt(4000, WORKERS, 10)
    counts = {}
    for together in (1, 5):
        site = Site({"learner": {"er": {"buffer": 20}}, "together": together}, batches)
        site.run()
        assert {site.stage.metric(f"worker-{k}", "learned")[-1] for k in range(WORKERS)} == {1000}
        counts[together] = sum(
            1 for row in site.stage.rows["messages"] if row.receiver.startswith("worker") and "recalls" in row.trace
        )
    # Sizes are told by themselves only while buffers of 20 fill: two batches.
    assert counts[5] < counts[1] / 4


# -- as an experiment file has them

EXPERIMENT = """
experiment: rehearsal
seed: 3
layers: {edge: {hosts: 3, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 5ms, rate: 50mbit}, {between: [edge, edge], delay: 5ms, rate: 50mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 200/s, batch: 10}}
  worker: {on: edge, component: rehearser, with: {learner: {er: {buffer: 40}}}}
  server: {on: cloud, component: aggregator, with: {learner: {mlp: {hidden: [16]}}, policy: {kind: local-sgd, steps: 2, batch: 10}}}
streams:
  - {from: camera.samples, to: worker.samples}
  - {from: server.rounds, to: worker.rounds, delivery: latest}
  - {from: worker.updates, to: server.updates}
  - {from: worker.recalls, to: worker.peers, routing: all}
measure: {warmup: 0.5s, duration: 3s}
"""
FEED = """
import numpy as np

from estran.components.messages import Samples
from estran.runtime.component import Component
from estran.runtime.ports import Output

class Feeder(Component):
    samples: Output[Samples]

    async def run(self) -> None:
        for index in range(100):
            await self.samples.send(Samples(np.eye(4), np.arange(4), index, 4))
            await self.clock.sleep(0.01)
"""
RECALLS = "  - {from: worker.recalls, to: worker.peers, routing: all}\n"


def test_a_simulated_run_rehearses_and_repeats_to_the_byte(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, again = (simulate(tmp_path / name, EXPERIMENT, trace=True) for name in ("first", "again"))
    assert record(first)["status"] == "done", record(first)["failure"]
    assert digests(first) == digests(again)
    assert value(first, "remote_share@worker") == pytest.approx(2 / 3, abs=0.05)
    assert value(first, "missing@worker") == 0
    assert value(first, "recall_bytes@worker") > 10_000
    assert value(first, "samples_per_second@worker") > 50


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (RECALLS, "", "recalls"),
        ("{er: {buffer: 40}}", "{er: {buffer: 1}}", "smaller than the number of classes"),
        ("{er: {buffer: 40}}", "{er: {hidden: [16]}}", "hidden is not a rehearser's to say"),
        ("{er: {buffer: 40}}", "{er: {buffer: 9}}", "smaller than the number of classes, 10"),
        ("kind: local-sgd, steps: 2", "kind: fedavg", "step by step"),
        ("{mlp: {hidden: [16]}}", "softmax", "softmax, not mlp"),
        ("{er: {buffer: 40}}", "mlp", "there is no strategy 'mlp'"),
        ("{er: {buffer: 40}}", "er, ahead: -1", "ahead is -1"),
        ("{er: {buffer: 40}}", "er, together: 0", "together is 0"),
        ("{er: {buffer: 40}}", "er, patience: 0s", "patience is 0"),
        ("{er: {buffer: 40}}", "{er: {representatives: 0}}", "representatives"),
        ("{er: {buffer: 40}}", "er, over: everything", "over"),
    ],
)
def test_what_cannot_work_is_named_when_checked(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EXPERIMENT
    file = tmp_path / "experiment.yaml"
    file.write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(EstranError) as caught:
        read_experiment(str(file))
    assert message in str(caught.value)


@pytest.mark.parametrize("settings", ["{learner: naive}", "{learner: er, over: own}"])
def test_streams_between_workers_are_only_wanted_where_rows_cross(tmp_path: Path, settings: str) -> None:
    pytest.importorskip("sklearn")
    folder = simulate(tmp_path, EXPERIMENT.replace(RECALLS, "").replace("{learner: {er: {buffer: 40}}}", settings))
    assert record(folder)["status"] == "done", record(folder)["failure"]
    assert rows(folder, "SELECT count(*) FROM metrics WHERE metric = 'samples_per_second'")[0][0] > 10


def test_a_buffer_too_small_for_data_that_only_the_run_knows_ends_it_and_is_named(tmp_path: Path) -> None:
    camera = "camera: {on: edge, component: source, with: {data: digits, rate: 200/s, batch: 10}}"
    own = 'camera: {on: edge, component: "feed:Feeder"}'
    assert camera in EXPERIMENT
    text = EXPERIMENT.replace(camera, own).replace("buffer: 40", "buffer: 3")
    folder = simulate(tmp_path, text, {"feed": FEED})
    assert record(folder)["status"] == "failed"
    assert "smaller than the number of classes, 4" in str(record(folder)["failure"])
