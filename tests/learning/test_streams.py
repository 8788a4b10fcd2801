"""Orders, partitions, drift and baselines."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.learning.baselines import majority, no_change
from estran.learning.drift import Concept, Drift
from estran.learning.mistakes import SettingsError
from estran.learning.orders import Order, order_choice, partition, passes

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(lambda y: np.array(y, dtype=np.int64))


def first_passes(wanted: Order, y: Any, count: int = 3, seed: int = 0) -> list[Any]:
    return list(islice(passes(wanted, y, np.random.default_rng(seed)), count))


@given(LABELS, st.sampled_from([Order("as-is"), Order("shuffled"), Order("class-incremental", mix="strict")]))
def test_a_pass_has_every_row_once(y: Any, wanted: Order) -> None:
    for one_pass in first_passes(wanted, y):
        assert sorted(one_pass.tolist()) == list(range(len(y)))


@given(LABELS, st.integers(1, 3))
def test_strict_tasks_have_their_own_classes_only(y: Any, per_task: int) -> None:
    for one_pass in first_passes(Order("class-incremental", mix="strict", classes_per_task=per_task), y):
        tasks = np.unique(y, return_inverse=True)[1][one_pass] // per_task
        assert (np.diff(tasks) >= 0).all()


@given(LABELS, st.integers(1, 3), st.integers(1, 20))
def test_cumulative_tasks_add_classes_to_those_already_there(y: Any, per_task: int, size: int) -> None:
    present = np.unique(y)
    first, second, _ = first_passes(Order("class-incremental", classes_per_task=per_task, task_size=size), y)
    tasks = -(-len(present) // per_task)
    assert len(first) == size * tasks
    for task in range(tasks):
        assert set(y[first[task * size : (task + 1) * size]]) <= set(present[: (task + 1) * per_task])
    assert sorted(second.tolist()) == list(range(len(y)))


def test_a_new_class_is_seen_as_soon_as_it_may_come() -> None:
    y = np.repeat(np.arange(5), 200)
    first = first_passes(Order("class-incremental", task_size=100), y, 1)[0]
    for task in range(5):
        counts = np.bincount(y[first[task * 100 : (task + 1) * 100]], minlength=5)
        assert (counts[: task + 1] > 0).all()
        assert counts[: task + 1].max() < 100 / (task + 1) + 35


def test_blur_lets_other_classes_through() -> None:
    y = np.repeat(np.arange(4), 500)
    share = [
        float((y[first_passes(Order("class-incremental", mix="strict", blur=blur), y, 1)[0]][:500] == 0).mean())
        for blur in (0.0, 0.4, 1.0)
    ]
    assert share == pytest.approx([1.0, 0.7, 0.25], abs=0.06)


def test_classes_arrive_in_the_order_given() -> None:
    y = np.array([0, 1, 2, 0, 1, 2])
    first = first_passes(Order("class-incremental", mix="strict", classes=(2, 0, 1)), y, 1)[0]
    assert y[first].tolist() == [2, 2, 0, 0, 1, 1]
    with pytest.raises(SettingsError, match="none of the classes"):
        first_passes(Order("class-incremental", classes=(7,)), y)


def test_short_forms_and_wrong_orders() -> None:
    assert order_choice("shuffled") == Order("shuffled")
    for wrong in ({"classes_per_task": 0}, {"task_size": 0}, {"classes": (1, 1)}):
        with pytest.raises(SettingsError):
            Order("class-incremental", **wrong)  # type: ignore[arg-type]  # wrong on purpose


@given(LABELS, st.integers(1, 7), st.sampled_from(["iid", "by-class"]))
def test_replicas_share_all_rows_without_overlap(y: Any, replicas: int, how: Any) -> None:
    parts = [partition(y, how, index, replicas) for index in range(replicas)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(y)))
    if how == "iid":
        for label in np.unique(y):
            counts = [int((y[part] == label).sum()) for part in parts]
            assert max(counts) - min(counts) <= 1
    else:
        assert all(not set(y[a]) & set(y[b]) for i, a in enumerate(parts) for b in parts[:i])


def test_when_a_drift_has_set_in() -> None:
    abrupt = Drift(at=5.0)
    assert [abrupt.weight(t, 0) for t in (4.99, 5.0, 50.0)] == [0.0, 1.0, 1.0]
    gradual = Drift(schedule="gradual", at_sample=100, over_samples=50)
    assert [gradual.weight(0.0, i) for i in (99, 100, 125, 150, 900)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    recurring = Drift(schedule="recurring", at=1.0, period=2.0)
    assert [recurring.weight(t, 0) for t in (0.5, 1.5, 3.5, 5.5)] == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"at": 1.0, "at_sample": 3},
        {"at": 1.0, "schedule": "gradual"},
        {"at_sample": 1, "schedule": "recurring", "period": 1.0},
        {"at": 1.0, "size": 0},
    ],
    ids=str,
)
def test_impossible_drifts_are_refused(wrong: Any) -> None:
    with pytest.raises(SettingsError):
        Drift(**wrong)


@given(st.integers(2, 8), st.integers(1, 7), st.floats(0.1, 1.0), st.integers(0, 99))
def test_label_drift_swaps_classes_and_rotation_keeps_distances(classes: int, width: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, width))
    swap = Concept(Drift("labels", at=0.0, size=size), x, classes, rng)
    mapped = [swap.apply(x[0], label)[1] for label in range(classes)]
    assert sorted(mapped) == list(range(classes))
    assert sum(new != old for old, new in enumerate(mapped)) == min(classes, max(2, round(classes * size)))
    turn = Concept(Drift("rotation", at=0.0, size=size), x, classes, rng)
    turned = np.array([turn.apply(row, 0)[0] for row in x])
    assert np.linalg.norm(turned[0] - turned[1]) == pytest.approx(np.linalg.norm(x[0] - x[1]))
    assert width == 1 or not np.allclose(turned, x)


def test_shift_moves_every_feature_by_its_spread() -> None:
    x = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 10.0, 0.1]
    shift = Concept(Drift("shift", at=0.0, size=2.0), x, 2, np.random.default_rng(0))
    assert np.abs(shift.apply(x[0], 1)[0] - x[0]) == pytest.approx(2 * x.std(axis=0))


@given(st.lists(st.integers(0, 4), max_size=40))
def test_baselines_against_their_definition(truths: list[int]) -> None:
    last, seen = [], []
    for i, truth in enumerate(truths):
        last.append(truth == (truths[i - 1] if i else 0))
        counts = [truths[:i].count(label) for label in range(5)]
        seen.append(truth == counts.index(max(counts)))
    assert no_change(truths).tolist() == last
    assert majority(truths).tolist() == seen
