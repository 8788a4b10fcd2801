"""Aggregation in virtual time: every policy against a plain sequential program written for these tests alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from estran.components.aggregator import Aggregator
from estran.components.messages import Model, Samples
from estran.components.worker import Worker
from estran.runtime.component import Component, generator
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play

WORKERS, CLASSES, FEATURES, RATE = 4, 3, 5, 0.05
LEARNER = {"softmax": {"dtype": "float64", "learning_rate": RATE}}
Rows = tuple[np.ndarray, np.ndarray]


def shards(rows: Sequence[int] = (40, 28, 33, 50)) -> list[Rows]:
    """Rows of each worker; every one lacks a class."""
    rng = np.random.default_rng(11)
    found = []
    for number, count in enumerate(rows):
        y = np.array([c for c in range(CLASSES) if c != number % CLASSES])[rng.integers(CLASSES - 1, size=count)]
        found.append((rng.normal(size=(count, FEATURES)) + 1.5 * y[:, None], y))
    return found


class Reader(Component):
    models: Input[Model]

    async def setup(self) -> None:
        self.seen: list[Message[Model]] = []

    async def run(self) -> None:
        async for message in self.models:
            self.seen.append(message)


class Federation:
    """An aggregator and its workers on a stage; links take no time unless told otherwise."""

    def __init__(
        self, policy: Any, parts: Sequence[Rows], *, delay: float = 0.0, worker: Mapping[str, Any] | None = None,
        cost: Mapping[str, float] | None = None, learner: Any = LEARNER,
    ) -> None:  # fmt: skip
        self.stage = Stage(cost=cost)
        self.parts = parts
        self.server = self.stage.add(Aggregator, "server", {"learner": learner, "policy": policy})
        self.reader = self.stage.add(Reader, "reader")
        count = len(parts)
        self.workers = [self.stage.add(Worker, "worker", worker or {}, index=i, replicas=count) for i in range(count)]
        self.delay = delay

    def connect(self, times: Callable[[int, int], float] = lambda worker, row: 0.0) -> None:
        stage = self.stage
        stage.connect(self.server, "models", (self.reader, "models"))
        stage.connect(self.server, "rounds", *[(w, "rounds") for w in self.workers], delivery="latest", delay=self.delay)
        for number, worker in enumerate(self.workers):
            x, y = self.parts[number]
            rows = [Samples(x[i : i + 1], y[i : i + 1], i, CLASSES) for i in range(len(y))]
            stage.hand(worker, "samples", rows, at=[times(number, i) for i in range(len(y))])
            stage.connect(worker, "updates", (self.server, "updates"), delay=self.delay)

    def run(self, seconds: float, times: Callable[[int, int], float] = lambda worker, row: 0.0) -> list[Model]:
        async def scene() -> None:
            self.connect(times)
            await self.stage.run(seconds)

        play(scene)
        return [message.payload for message in self.reader.seen]


# -- the sequential programs, written for these tests alone


def learn(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Softmax regression, row by row; the last row of w are the biases."""
    w = w.copy()
    for row, label in zip(x, y, strict=True):
        scores = row @ w[:-1] + w[-1]
        odds = np.exp(scores - scores.max())
        odds /= odds.sum()
        odds[label] -= 1
        w[:-1] -= RATE * np.outer(row, odds)
        w[-1] -= RATE * odds
    return w


def fresh() -> np.ndarray:
    return np.zeros((FEATURES + 1, CLASSES))


def flat(model: Model) -> np.ndarray:
    return np.vstack([model.state["w0"], model.state["b0"][None]])


def assert_same(models: Sequence[Model], wanted: Sequence[np.ndarray], least: int) -> None:
    assert len(models) == len(wanted) >= least
    assert [model.version for model in models] == list(range(1, len(models) + 1))
    for model, weights in zip(models, wanted, strict=True):
        np.testing.assert_allclose(flat(model), weights, rtol=0, atol=1e-9)
    assert np.abs(wanted[-1]).max() > 0.1


@pytest.mark.parametrize(
    ("policy", "steps", "batch"),
    [
        ({"kind": "synchronous", "batch": 1}, 1, 1),
        ({"kind": "synchronous", "batch": 4}, 1, 4),
        ({"kind": "local-sgd", "steps": 3, "batch": 2}, 3, 2),
        ({"kind": "fedavg", "steps": 2, "batch": 3, "weighting": "equal"}, 2, 3),
        ({"kind": "ssp", "staleness": 0, "batch": 4}, 1, 4),
    ],
    ids=str,
)
def test_rounds_of_steps_are_the_mean_of_what_each_learned(policy: Any, steps: int, batch: int) -> None:
    parts = shards()
    size = steps * batch
    w, wanted = fresh(), []
    for start in range(0, min(len(y) for _, y in parts) // size * size, size):
        w = np.mean([learn(w, x[start : start + size], y[start : start + size]) for x, y in parts], axis=0)
        wanted.append(w)
    models = Federation(policy, parts).run(9.0)
    if policy["kind"] == "ssp":
        # There each answer makes a version, and those of a whole turn make what a round makes.
        assert [model.version for model in models] == list(range(1, len(models) + 1))
        models = [Model(i + 1, m.learner, m.features, m.classes, m.state, m.samples, m.published_at)
                  for i, m in enumerate(models[WORKERS - 1 : len(wanted) * WORKERS : WORKERS])]  # fmt: skip
    assert_same(models, wanted, least=4)


def test_one_row_each_is_one_step_along_the_mean_gradient() -> None:
    parts = shards()
    w, wanted = fresh(), []
    for i in range(min(len(y) for _, y in parts)):
        gradient = np.zeros_like(w)
        for x, y in parts:
            odds = np.exp(x[i] @ w[:-1] + w[-1])
            odds /= odds.sum()
            odds[y[i]] -= 1
            gradient += np.vstack([np.outer(x[i], odds), odds[None]]) / len(parts)
        w = w - RATE * gradient
        wanted.append(w)
    assert_same(Federation({"kind": "synchronous", "batch": 1}, parts).run(9.0), wanted, least=28)


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("rate", [1.0, 0.7])
def test_fedavg_is_its_paper(fraction: float, rate: float) -> None:
    """Algorithm 1 of McMahan et al., with the draws that the seed gives."""
    parts = shards()
    draws = [generator(1, "worker", number) for number in range(WORKERS)]
    server = generator(1, "server", 0)
    drawn = max(1, int(fraction * WORKERS))
    w, wanted = fresh(), []
    for _ in range(30):
        chosen = sorted(server.choice(WORKERS, drawn, replace=False)) if drawn < WORKERS else range(WORKERS)
        rows = sum(len(parts[k][1]) for k in chosen)
        total = np.zeros_like(w)
        for k in chosen:
            x, y = parts[k]
            own = w
            for _ in range(2):
                order = draws[k].permutation(len(y))
                own = learn(own, x[order], y[order])
            total += len(y) / rows * own
        w = (1 - rate) * w + rate * total
        wanted.append(w)
    policy = {"kind": "fedavg", "epochs": 2, "fraction": fraction, "batch": 10, "rate": rate}
    federation = Federation(policy, parts, worker={"least": 28}, cost={"snapshot": 0.1})
    models = federation.run(2.95)
    assert_same(models[:29], wanted[: len(models)][:29], least=29)
    assert set(federation.stage.metric("server-0", "participants")) == {drawn}


def arriving(worker: int, row: int) -> float:
    """Two rows at once make a step; no two steps of the federation end at the same time, and workers differ in speed."""
    return 0.0 if row == 0 else 0.01 + (row // 2) * (0.10 + 0.037 * worker) + 0.003 * worker


def steps_in_order(parts: Sequence[Rows], until: float) -> list[tuple[float, int, int]]:
    found = [(arriving(k, 2 * step + 1), k, step) for k, (_, y) in enumerate(parts) for step in range(len(y) // 2)]
    return sorted(one for one in found if one[0] < until)


def pair(part: Rows, step: int) -> Rows:
    x, y = part
    return x[2 * step : 2 * step + 2], y[2 * step : 2 * step + 2]


@pytest.mark.parametrize(("rate", "decay", "bound"), [(0.6, 0.5, None), (0.9, 0.0, None), (0.5, 2.0, 3)])
def test_asynchronous_mixing_is_fedasync(rate: float, decay: float, bound: int | None) -> None:
    parts = shards()
    w, version, wanted = fresh(), 0, []
    base, based, refused = [w] * WORKERS, [0] * WORKERS, 0
    for _, k, step in steps_in_order(parts, 1.9):
        own, staleness = learn(base[k], *pair(parts[k], step)), version - based[k]
        if bound is not None and staleness > bound:
            refused += 1
        else:
            mixing = rate * (1 + staleness) ** -decay
            w, version = (1 - mixing) * w + mixing * own, version + 1
            wanted.append(w)
        base[k], based[k] = w, version
    policy = {"kind": "asynchronous", "batch": 2, "rate": rate, "decay": decay, "staleness": bound}
    federation = Federation(policy, parts)
    assert_same(federation.run(1.9, arriving), wanted, least=30)
    assert federation.server._server.refused["stale"] == refused
    assert (refused > 0) == (bound is not None)


@pytest.mark.parametrize("buffer", [1, 3, 7])
def test_a_buffer_adds_the_mean_of_its_changes(buffer: int) -> None:
    parts = shards()
    w, version, wanted = fresh(), 0, []
    base, based, gathered = [w] * WORKERS, [0] * WORKERS, []
    for _, k, step in steps_in_order(parts, 1.9):
        gathered.append((1 + version - based[k]) ** -0.5 * (learn(base[k], *pair(parts[k], step)) - base[k]))
        if len(gathered) == buffer:
            w, version = w + 0.8 * sum(gathered) / buffer, version + 1
            gathered = []
            wanted.append(w)
        base[k], based[k] = w, version
    policy = {"kind": "fedbuff", "batch": 2, "buffer": buffer, "rate": 0.8}
    assert_same(Federation(policy, parts).run(1.9, arriving), wanted, least=6)


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_bounded_staleness_lets_nobody_run_ahead(bound: int) -> None:
    """An event by event program of SSP: rows that are there wait until their worker may go on."""
    parts = shards()
    w, wanted, ahead = fresh(), [], []
    clocks, base, allowed = [0] * WORKERS, [w] * WORKERS, [True] * WORKERS
    came = [0] * WORKERS
    for _, k, step in steps_in_order(parts, 1.9):
        came[k] = step + 1
        moving = True
        while moving:
            moving = False
            for j in range(WORKERS):
                if allowed[j] and clocks[j] < came[j]:
                    w = w + (learn(base[j], *pair(parts[j], clocks[j])) - base[j]) / WORKERS
                    wanted.append(w)
                    clocks[j] += 1
                    ahead.append(clocks[j] - min(clocks))
                    allowed[j] = False
                    for i in range(WORKERS):
                        if not allowed[i] and clocks[i] - min(clocks) <= bound:
                            allowed[i], base[i] = True, w
                    moving = True
    federation = Federation({"kind": "ssp", "batch": 2, "staleness": bound}, parts)
    models = federation.run(1.9, arriving)
    assert max(ahead) == bound + 1
    assert len(models) == len(wanted) > 20
    if bound != 0:
        assert max(federation.stage.metric("server-0", "update_staleness")) <= WORKERS * (bound + 1)
    assert_same(models, wanted, least=20)
