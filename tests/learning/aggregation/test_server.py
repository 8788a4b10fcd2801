"""The server's side alone: whatever workers do, it neither hangs nor spoils a model."""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning.aggregation.policies import serve
from estran.learning.aggregation.policy import Policy, policy_choice
from estran.learning.aggregation.server import Reply, Server
from estran.learning.aggregation.states import change, distance, fading, misfit, moved
from estran.learning.learner import StateError

SETTINGS: dict[str, dict[str, Any]] = {
    "synchronous": {},
    "local-sgd": {"steps": 3},
    "fedavg": {"fraction": 0.5},
    "ssp": {"staleness": 1},
    "asynchronous": {"staleness": 4},
    "fedbuff": {"buffer": 3},
}
KINDS = sorted(SETTINGS)


class World:
    """Workers that take their time, die, come back, and sometimes answer nonsense."""

    def __init__(self, kind: str, workers: int, seed: int, *, trouble: float, quorum: float = 0.5) -> None:
        extra = {"quorum": quorum} if kind in ("synchronous", "local-sgd", "fedavg") else {}
        policy = Policy(kind=kind, deadline=1.0, **SETTINGS[kind], **extra)  # type: ignore[arg-type]
        self.rng = np.random.default_rng(seed)
        self.server: Server = serve(policy, {"w": np.zeros(2)}, workers, np.random.default_rng(1))
        self.names = [f"w-{i}" for i in range(workers)]
        self.trouble = trouble
        self.events: list[tuple[float, int, Any]] = []
        self.count = itertools.count()
        self.born = dict.fromkeys(self.names, 0.0)
        self.dead: set[str] = set()
        self.versions: list[int] = []
        self.times: list[float] = []
        for name in self.names:
            self.at(self.rng.uniform(0, 0.5), Reply(name, 0.0, 0, {}))

    def at(self, time: float, event: Any) -> None:
        heapq.heappush(self.events, (time, next(self.count), event))

    def run(self, seconds: float, calm: float) -> None:
        """Until so long; after ``calm`` nothing goes wrong any more."""
        now = 0.0
        while now < seconds:
            due = self.server.due
            if self.events and (due is None or self.events[0][0] <= due):
                now, _, reply = heapq.heappop(self.events)
                self.server.hear(reply, now)
            elif due is not None:
                assert due >= now
                now = due
                self.server.expire(now)
            else:
                return
            self.look(now)
            number, chosen = self.server.orders(now)
            for name in chosen:
                self.order(name, number, now, troubled=now < calm)

    def order(self, name: str, number: int, now: float, *, troubled: bool) -> None:
        if name in self.dead or self.born[name] > self.server.peers[name].born:
            return  # nobody is there to hear of it
        base = self.server.state["w"]
        state = {"w": 0.9 * base + 0.1 * self.rng.uniform(-1, 1, 2)}
        fate = self.rng.random() if troubled else 1.0
        done = now + self.rng.exponential(0.1)
        if fate < 0.3 * self.trouble:
            # It dies, and comes back or not.
            if self.rng.random() < 0.1:
                self.dead.add(name)
            else:
                former, self.born[name] = self.born[name], done
                self.at(done + self.rng.uniform(0, 2.0), Reply(name, done, 0, {}))
                self.at(done + self.rng.uniform(0, 2.0), Reply(name, former, number, state, 3))
            return
        if fate < 0.5 * self.trouble:
            state = {"w": np.array([np.nan, 0.0])} if fate < 0.4 * self.trouble else {}
        elif fate < 0.7 * self.trouble:
            done += self.rng.uniform(0, 2.5)
        self.at(done, Reply(name, self.born[name], number, state, int(self.rng.integers(1, 50))))

    def look(self, now: float) -> None:
        server = self.server
        assert np.isfinite(server.state["w"]).all()
        assert np.abs(server.state["w"]).max() < 10
        for outcome in server.drain():
            self.versions.append(outcome.version)
            self.times.append(now)
            assert min(outcome.staleness) >= 0
            if server.policy.kind in ("synchronous", "local-sgd", "fedavg"):
                assert set(outcome.staleness) == {0}
        assert self.versions == list(range(1, len(self.versions) + 1))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 7), st.integers(0, 2**32 - 1), st.floats(0, 1), st.sampled_from([0.2, 0.5, 1.0]))
def test_training_goes_on_as_long_as_somebody_works(kind: str, workers: int, seed: int, trouble: float, quorum: float) -> None:
    world = World(kind, workers, seed, trouble=trouble, quorum=quorum)
    world.run(12.0, calm=6.0)
    # Who has died for good is not missed any more; all others work.
    if world.dead != set(world.names):
        assert len([time for time in world.times if time > 9.0]) >= 3
        assert not world.dead & set(world.server.present()) or kind in ("asynchronous", "fedbuff")


@pytest.mark.parametrize("kind", KINDS)
def test_without_trouble_all_take_part(kind: str) -> None:
    world = World(kind, 5, 3, trouble=0.0)
    world.run(10.0, calm=0.0)
    assert len(world.versions) > 20
    assert world.server.present() == world.names
    assert world.server.refused.total() == world.server.refused["stale"]


def test_nobody_begins_before_all_are_there_or_the_deadline_has_passed() -> None:
    server = serve(Policy("synchronous", deadline=2.0), {"w": np.zeros(1)}, 3, np.random.default_rng(0))
    server.hear(Reply("a", 0.0, 0, {}), 1.0)
    server.hear(Reply("b", 0.0, 0, {}), 2.0)
    assert server.orders(2.0) == (0, ())
    assert server.due == 3.0
    server.expire(3.0)
    assert server.orders(3.0) == (1, ("a", "b"))
    server.hear(Reply("c", 0.0, 0, {}), 3.1)
    assert server.orders(3.1) == (1, ())
    for name in "ab":
        server.hear(Reply(name, 0.0, 1, {"w": np.ones(1)}, 1), 3.2)
    assert server.orders(3.2) == (2, ("a", "b", "c"))


def test_a_former_life_is_not_listened_to() -> None:
    server = serve(Policy("asynchronous"), {"w": np.zeros(1)}, 1, np.random.default_rng(0))
    server.hear(Reply("a", 0.0, 0, {}), 0.0)
    assert server.orders(0.0) == (1, ("a",))
    server.hear(Reply("a", 5.0, 0, {}), 5.1)
    assert server.orders(5.1) == (2, ("a",))
    server.hear(Reply("a", 0.0, 1, {"w": np.ones(1)}, 1), 5.2)
    server.hear(Reply("a", 0.0, 2, {"w": np.ones(1)}, 1), 5.2)
    assert server.refused == {"former life": 2}
    assert server.version == 0


def test_one_that_comes_back_does_not_hold_up_those_that_went_ahead() -> None:
    server = serve(Policy("ssp", staleness=1, deadline=1.0), {"w": np.zeros(1)}, 3, np.random.default_rng(0))
    for name in "abc":
        server.hear(Reply(name, 0.0, 0, {}), 0.0)
    server.orders(0.0)
    numbers = dict.fromkeys("abc", 1)

    def turn(now: float, *names: str) -> tuple[str, ...]:
        for name in names:
            server.hear(Reply(name, 0.0, numbers[name], {"w": np.ones(1)}, 1), now)
        number, chosen = server.orders(now)
        numbers.update(dict.fromkeys(chosen, number))
        return chosen

    assert turn(0.5, "a", "b") == ("a", "b")
    assert turn(0.6, "a", "b") == ()
    assert server.due == 1.0
    server.expire(1.0)
    assert turn(1.0) == ("a", "b")
    for step in range(6):
        assert turn(1.1 + step / 10, "a", "b") == ("a", "b")
    assert turn(2.0, "c") == ("c",)
    assert server.refused == {"late": 1}
    assert turn(2.1, "a", "b") == ("a", "b")


def test_an_answer_counts_once() -> None:
    server = serve(Policy("asynchronous", rate=1.0), {"w": np.zeros(1)}, 1, np.random.default_rng(0))
    server.hear(Reply("a", 0.0, 0, {}), 0.0)
    server.orders(0.0)
    for _ in range(3):
        server.hear(Reply("a", 0.0, 1, {"w": np.ones(1)}, 1), 0.1)
    assert (server.version, server.refused["late"]) == (1, 2)


def test_models_weigh_by_their_rows_unless_told_otherwise() -> None:
    for weighting, wanted in (("samples", 0.25), ("equal", 0.5)):
        server = serve(Policy("local-sgd", weighting=weighting), {"w": np.zeros(1)}, 2, np.random.default_rng(0))  # type: ignore[arg-type]
        for name in "ab":
            server.hear(Reply(name, 0.0, 0, {}), 0.0)
        server.orders(0.0)
        server.hear(Reply("b", 0.0, 1, {"w": np.zeros(1)}, 30), 0.1)
        server.hear(Reply("a", 0.0, 1, {"w": np.ones(1)}, 10), 0.1)
        assert server.state["w"].tolist() == [wanted]
        assert server.rows == 40


def test_sums_that_overflow_leave_the_model_as_it_was() -> None:
    server = serve(Policy("fedbuff", buffer=1, rate=1e308), {"w": np.zeros(1)}, 1, np.random.default_rng(0))
    server.hear(Reply("a", 0.0, 0, {}), 0.0)
    server.orders(0.0)
    server.hear(Reply("a", 0.0, 1, {"w": np.full(1, 1e10)}, 1), 0.1)
    assert (server.version, server.state["w"].tolist(), dict(server.refused)) == (0, [0.0], {"overflow": 1})
    assert server.orders(0.2) == (2, ("a",))


def test_snapshots_are_compared_whole() -> None:
    base = {"w": np.zeros(2), "b": np.zeros(1)}
    assert misfit(base, {"w": np.ones(2), "b": np.ones(1)}) is None
    assert "wanted b, w" in str(misfit(base, {"w": np.ones(2)}))
    assert "shape" in str(misfit(base, {"w": np.ones(3), "b": np.ones(1)}))
    assert "int64" in str(misfit(base, {"w": np.ones(2, np.int64), "b": np.ones(1)}))
    assert "finite" in str(misfit(base, {"w": np.array([np.inf, 0]), "b": np.ones(1)}))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_what_is_the_same_everywhere_stays_so_bit_for_bit(values: list[float]) -> None:
    """A seed or a constant among the parts must not drift by rounding."""
    state = {"w": np.array(values, np.float32), "seed": np.array([0.1 + 0.2])}
    others = [{"w": state["w"] + i, "seed": state["seed"]} for i in range(3)]
    mean = moved(state, [change(state, other) for other in others], [1 / 3] * 3)
    assert mean["seed"].tobytes() == state["seed"].tobytes()
    assert mean["w"].dtype == np.float32
    np.testing.assert_allclose(mean["w"], np.mean([other["w"] for other in others], axis=0), rtol=1e-5, atol=1e-5)


def test_small_rules() -> None:
    assert [fading(staleness, 0.5) for staleness in (0, 3, 8)] == pytest.approx([1, 1 / 2, 1 / 3])
    assert fading(7, 0.0) == 1
    assert distance({"w": np.zeros(2)}, {"w": np.array([3.0, 4.0])}) == 5
    assert distance({"w": np.zeros(1)}, {"w": np.array([1e300])}) == np.inf
    assert policy_choice("ssp").bound == 3
    assert policy_choice("fedavg").work == (0, 1)
    assert Policy("asynchronous", epochs=2).work == (0, 2)
    with pytest.raises(StateError, match="finite"):
        moved({"w": np.zeros(1)}, [{"w": np.full(1, 1e308)}], [1e10])
