"""The rehearsal buffer: who stays, who is drawn, and that it can be undone and handed over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.checks.comparing import assert_same_state
from estran.errors import RequestError
from estran.learning.learner import StateError
from estran.learning.rehearsal.buffer import POLICIES, Buffer, Memories
from tests.learning.rehearsal.chance import uniform_p


def made(size: int = 20, classes: int = 4, seed: int = 0, **options: Any) -> Buffer:
    return Buffer(size, 1, classes, np.random.default_rng(seed), **options)


def offered(buffer: Buffer, rows: int, seed: int = 1, batch: int = 10) -> np.ndarray:
    """Offer numbered rows of classes that are not equally frequent."""
    y = np.random.default_rng(seed).choice(buffer.classes, rows, p=np.array([8, 4, 2, 1])[: buffer.classes] / 15)
    for start in range(0, rows, batch):
        part = slice(start, start + batch)
        buffer.offer(np.arange(rows)[part, None], y[part], losses=1.0 + np.arange(rows)[part] % 7)
    return y


def rows_of(buffer: Buffer) -> list[int]:
    return sorted(buffer.memories().x[:, 0].astype(int).tolist())


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_held_is_what_was_offered(policy: Any) -> None:
    filling = made(policy=policy)
    offered(filling, 7)
    assert len(filling) == 7
    assert rows_of(filling) == list(range(7))
    buffer = made(policy=policy)
    y = offered(buffer, 300)
    held = buffer.memories()
    assert len(buffer) == 20
    assert buffer.offered == 300
    assert len(set(rows_of(buffer))) == 20
    assert np.array_equal(y[held.x[:, 0].astype(int)], held.y)
    assert np.array_equal(np.bincount(held.y, minlength=4), buffer.held)


def test_a_reservoir_holds_every_row_with_the_same_probability() -> None:
    counts = np.zeros(60, np.int64)
    for seed in range(4000):
        buffer = made(12, 1, seed)
        buffer.offer(np.arange(60)[:, None], np.zeros(60, np.int64))
        counts[rows_of(buffer)] += 1
    assert counts.sum() == 48_000
    assert uniform_p(counts, 12) > 0.01


def test_fifo_holds_the_latest_rows() -> None:
    buffer = made(policy="fifo")
    offered(buffer, 305)
    assert rows_of(buffer) == list(range(285, 305))


def test_first_in_random_out_takes_every_row_and_forgets_at_a_constant_rate() -> None:
    ages = np.zeros(400, np.int64)
    for seed in range(300):
        buffer = made(10, 1, seed, policy="firo")
        buffer.offer(np.arange(400)[:, None], np.zeros(400, np.int64))
        ages[399 - np.array(rows_of(buffer))] += 1
    assert ages[0] == 300
    # A row of age a is still there with probability (9/10)^a, but for rows that came while it was filling.
    for age in (5, 10, 20):
        chance = 0.9**age
        assert abs(ages[age] / 300 - chance) < 4 * (chance * (1 - chance) / 300) ** 0.5


@pytest.mark.parametrize("policy", ["class-balanced", "greedy"])
def test_a_balanced_buffer_is_balanced_and_keeps_rare_classes_whole(policy: Any) -> None:
    buffer = made(policy=policy)
    y = offered(buffer, 300)
    assert buffer.held.tolist() == [5, 5, 5, 5]
    rare = made(40, policy=policy)
    x, y = np.arange(200)[:, None], np.repeat([0, 1, 2, 3], [120, 70, 7, 3])
    order = np.random.default_rng(0).permutation(200)
    rare.offer(x[order], y[order])
    assert rare.held.tolist() == [15, 15, 7, 3]
    assert set(range(190, 200)) <= set(rows_of(rare))


def test_class_balanced_is_a_reservoir_of_each_class_and_greedy_keeps_the_first_rows() -> None:
    counts = {"class-balanced": np.zeros(60, np.int64), "greedy": np.zeros(60, np.int64)}
    for policy, found in counts.items():
        for seed in range(2000):
            buffer = made(12, 1, seed, policy=policy)
            buffer.offer(np.arange(60)[:, None], np.zeros(60, np.int64))
            found[rows_of(buffer)] += 1
    assert uniform_p(counts["class-balanced"], 12) > 0.01
    assert counts["greedy"][:12].tolist() == [2000] * 12


def test_rows_that_are_lost_least_go_first() -> None:
    survived = {"loss": 0, "reservoir": 0}
    for policy in survived:
        for seed in range(200):
            buffer = made(10, 1, seed, policy=policy)
            losses = np.where(np.arange(10) < 5, 0.1, 3.0)
            buffer.offer(np.arange(10)[:, None], np.zeros(10, np.int64), losses=losses)
            buffer.offer(np.arange(10, 40)[:, None], np.zeros(30, np.int64), losses=np.full(30, 3.0))
            rows = np.array(rows_of(buffer))
            survived[policy] += int((rows < 5).sum())
    assert survived["loss"] < 0.2 * survived["reservoir"]


def test_a_loss_is_what_it_was_last() -> None:
    buffer = made(4, 1, policy="loss")
    buffer.offer(np.arange(4)[:, None], np.zeros(4, np.int64), losses=np.full(4, 2.0))
    buffer.lose(np.array([2]), np.array([0.5]))
    slots = buffer.offer(np.arange(4, 200)[:, None], np.zeros(196, np.int64), losses=np.full(196, 2.0))
    assert slots[slots >= 0][0] == 2


def test_candidates_are_drawn_from_each_batch_uniformly() -> None:
    counts = np.zeros(10, np.int64)
    buffer = made(3, 1, candidates=3, policy="fifo")
    for _ in range(20_000):
        buffer.offer(np.arange(10)[:, None], np.zeros(10, np.int64))
        counts[rows_of(buffer)] += 1
    assert buffer.offered == 60_000
    assert uniform_p(counts, 3) > 0.01


@pytest.mark.parametrize("fill", [13, 50, 200], ids=["filling", "half-full", "full"])
def test_a_million_draws_are_uniform_over_all_slots(fill: int) -> None:
    buffer = made(100)
    offered(buffer, fill)
    held, counts = min(fill, 100), np.zeros(100, np.int64)
    for _ in range(100_000):
        slots = buffer.draw(10)
        counts[slots] += 1
    assert counts.sum() == 1_000_000
    assert counts[held:].sum() == 0
    assert counts[0] > 0
    assert uniform_p(counts[:held], 10) > 0.01


def test_draws_are_uniform_over_pairs_and_the_test_finds_one_that_is_not() -> None:
    buffer = made(6, 1)
    buffer.offer(np.arange(6)[:, None], np.zeros(6, np.int64))
    pairs = np.zeros((6, 6), np.int64)
    for _ in range(30_000):
        one, other = sorted(buffer.draw(2).tolist())
        pairs[one, other] += 1
    assert uniform_p(pairs[np.triu_indices(6, 1)], 1) > 0.01
    never_first = np.random.default_rng(0).multinomial(1_000_000, [0.0, *[1 / 99] * 99])
    assert uniform_p(never_first, 1) < 1e-9
    slightly = np.random.default_rng(0).multinomial(1_000_000, np.r_[np.full(50, 1.01), np.full(50, 0.99)] / 100)
    assert uniform_p(slightly, 1) < 0.01


def test_where_fewer_are_held_all_are_drawn() -> None:
    buffer = made()
    assert buffer.draw(5).tolist() == []
    offered(buffer, 3)
    assert sorted(buffer.draw(5).tolist()) == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(policy=st.sampled_from(POLICIES), before=st.integers(0, 60), after=st.integers(0, 60), candidates=st.sampled_from([None, 2]))
def test_undone_and_handed_over_it_goes_on_alike(policy: Any, before: int, after: int, candidates: int | None) -> None:
    kept, undone, other = (made(policy=policy, candidates=candidates, scores=True, seed=seed) for seed in (0, 0, 9))
    for buffer in (kept, undone):
        offered(buffer, before)
    other.load(kept.state())
    undone.begin()
    offered(undone, after, seed=5, batch=3)
    undone.draw(4)
    undone.undo()
    for buffer in (undone, other):
        assert_same_state(buffer, kept)
    for buffer in (kept, undone, other):
        offered(buffer, after, seed=6)
        buffer.draw(3)
    for buffer in (undone, other):
        assert_same_state(buffer, kept)


def test_scores_are_kept_with_the_rows() -> None:
    buffer = made(4, 2, policy="fifo", scores=True)
    buffer.offer(np.arange(6)[:, None], np.array([0, 1] * 3), scores=np.arange(12.0).reshape(6, 2))
    held = buffer.memories()
    assert np.array_equal(held.scores[:, 0], 2 * held.x[:, 0])


def test_rows_of_several_buffers_are_joined() -> None:
    parts = []
    for seed in range(3):
        buffer = made(seed=seed, scores=True)
        offered(buffer, 5 + seed)
        parts.append(buffer.memories())
    joined = Memories.joined(parts)
    assert len(joined) == 18
    assert (joined.x.shape, joined.scores.shape) == ((18, 1), (18, 4))
    assert np.array_equal(joined.y[5:11], parts[1].y)


def test_a_snapshot_that_does_not_fit_is_refused() -> None:
    buffer = made()
    offered(buffer, 50)
    good = dict(buffer.state())
    before = buffer.state()
    wrong: list[dict[str, Any]] = [
        {**good, "x": good["x"][:-1]},
        {**good, "labels": good["labels"] + 4},
        {**good, "labels": np.where(np.arange(20) == 3, -1, good["labels"])},
        {**good, "counts": good["counts"] + 1},
        {**good, "counters": good["counters"] * -1},
        {**good, "losses": good["losses"] * np.nan},
        {part: array for part, array in good.items() if part != "losses"},
    ]
    for state in wrong:
        with pytest.raises(StateError):
            buffer.load(state)
    assert all(np.array_equal(array, buffer.state()[part]) for part, array in before.items())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": 3}, "smaller than the number of classes"),
        ({"size": 0}, "buffer is 0"),
        ({"policy": "random"}, "policy"),
        ({"candidates": 0}, "candidates"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(RequestError, match=word):
        made(**options)
