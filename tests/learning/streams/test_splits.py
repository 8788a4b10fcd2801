"""Recorded rows in tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.learning.mistakes import SettingsError
from estran.learning.streams.splits import ClassIncremental, DomainIncremental, Permuted, Recorded, Rotated, rotated

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(lambda y: np.array(y, dtype=np.int64))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbered(y: Any) -> Any:
    """Rows that say which they are."""
    return np.arange(len(y), dtype=float)[:, None]


@given(LABELS, st.integers(1, 4), st.integers(1, 30), st.sampled_from([ClassIncremental, DomainIncremental]))
def test_every_row_comes_once_in_its_classes_task(y: Any, per_task: int, size: int, kind: Any) -> None:
    stream = kind(numbered(y), y, per_task=per_task)
    chunks = list(stream.chunks(rng(), size))
    rows = np.concatenate([x[:, 0] for x, _ in chunks]).astype(int)
    assert sorted(rows.tolist()) == list(range(len(y)))
    place = np.unique(y, return_inverse=True)[1][rows]
    tasks = place // per_task
    assert (np.diff(tasks) >= 0).all()
    assert stream.starts == [int(np.flatnonzero(tasks == task)[0]) for task in range(tasks.max() + 1)]
    labels = np.concatenate([part for _, part in chunks])
    assert np.array_equal(labels, y[rows] if kind is ClassIncremental else place % per_task)
    assert labels.max() < stream.classes


@given(LABELS, st.integers(1, 4), st.integers(1, 30))
def test_permuted_tasks_have_the_same_rows(y: Any, tasks: int, size: int) -> None:
    x = rng(1).normal(size=(len(y), 5))
    stream = Permuted(x, y, tasks=tasks)
    chunks = list(stream.chunks(rng(), size))
    found = np.vstack([part for part, _ in chunks])
    assert len(found) == tasks * len(y)
    for task in range(tasks):
        part = np.sort(found[task * len(y) : (task + 1) * len(y)], axis=1)
        assert np.array_equal(part[np.lexsort(part.T)], np.sort(x, axis=1)[np.lexsort(np.sort(x, axis=1).T)])


def test_one_permutation_holds_for_a_whole_task() -> None:
    x = np.tile(np.arange(30.0), (20, 1))
    found, _ = Permuted(x, np.zeros(20, dtype=int), tasks=3).take(60, rng())
    tasks = found.reshape(3, 20, 30)
    assert (tasks == tasks[:, :1]).all()
    assert len({tuple(task[0]) for task in tasks}) == 3


def test_turning_by_right_angles_moves_pixels() -> None:
    images = rng().random((3, 12))
    as_image = images.reshape(3, 3, 4)
    assert np.allclose(rotated(images, (3, 4), 180).reshape(3, 3, 4), as_image[:, ::-1, ::-1])
    assert np.array_equal(rotated(images, (3, 4), 0), images)
    square = rng().random((2, 25))
    assert np.allclose(rotated(square, (5, 5), 90).reshape(2, 5, 5), np.rot90(square.reshape(2, 5, 5), axes=(1, 2)))


def test_turning_there_and_back_blurs_only() -> None:
    line, column = np.mgrid[:28, :28]
    blob = np.exp(-((line - 12) ** 2 + (column - 16) ** 2) / 18.0).reshape(1, -1)
    back = rotated(rotated(blob, (28, 28), 35), (28, 28), -35)
    assert np.abs(back - blob).max() < 0.05
    assert np.abs(rotated(blob, (28, 28), 35) - blob).max() > 0.3


def test_rotated_tasks_go_through_the_angles() -> None:
    x, y = rng().random((4, 9)), np.array([0, 1, 2, 3])
    stream = Rotated(x, y, shape=(3, 3), angles=(0, 90, 180))
    found, labels = stream.take(12, rng())
    assert stream.starts == [0, 4, 8]
    for task, degrees in enumerate((0, 90, 180)):
        order = labels[4 * task : 4 * task + 4]
        assert np.allclose(found[4 * task : 4 * task + 4], rotated(x[order], (3, 3), degrees))


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: Recorded(x[:-1], y),
        lambda x, y: Recorded(x[:0], y[:0]),
        lambda x, y: Recorded(x, y - 1),
        lambda x, y: Recorded(x, y + 0.5),
        lambda x, y: Recorded(np.full_like(x, np.nan), y),
        lambda x, y: ClassIncremental(x, y, per_task=0),
        lambda x, y: Permuted(x, y, tasks=0),
        lambda x, y: Rotated(x, y, shape=(2, 3)),
        lambda x, y: Rotated(x, y, shape=(2, 2), angles=()),
    ],
)
def test_what_does_not_fit_is_refused(make: Any) -> None:
    with pytest.raises(SettingsError):
        make(np.zeros((3, 4)), np.array([0, 1, 2]))
