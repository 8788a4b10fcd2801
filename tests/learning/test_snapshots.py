"""What has changed from one snapshot to the next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning import registry
from estran.learning.learner import StateError
from estran.learning.snapshots import difference, patched


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        (one[name].shape, one[name].dtype, one[name].tobytes()) == (other[name].shape, other[name].dtype, other[name].tobytes())
        for name in one
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_patched_snapshot_is_the_new_one_to_the_bit(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    odd = np.array([0.0, -0.0, np.nan, np.inf, 1.0])
    old, new = {}, {}
    for name in data.draw(st.lists(st.sampled_from(["w0", "b0", "alpha", "m_w0"]), unique=True)):
        shape = tuple(data.draw(st.lists(st.integers(0, 6), max_size=3)))
        kind = data.draw(st.sampled_from([np.float32, np.float64]))
        old[name] = rng.choice(odd, shape).astype(kind)
        changed = rng.random(shape) < data.draw(st.sampled_from([0, 0.1, 1]))
        new[name] = np.where(changed, rng.choice(odd, shape), old[name]).astype(kind)
    changes = difference(old, new)
    assert same(patched(old, changes), new)
    assert sum(array.nbytes for array in changes.values()) <= sum(array.nbytes for array in new.values())


@pytest.mark.parametrize("choice", ["mlp", {"hbp": {"depth": 3, "width": 40}}], ids=str)
def test_few_sparse_rows_make_a_small_difference(choice: object) -> None:
    learner = registry.create(choice, 2000, 2, np.random.default_rng(0))  # type: ignore[arg-type]
    old = learner.state()
    x = np.zeros((5, 2000))
    x[:, :20] = 1
    learner.learn_many(x, np.array([0, 1, 0, 1, 1]))
    changes = difference(old, learner.state())
    assert same(dict(patched(old, changes)), dict(learner.state()))
    assert sum(array.nbytes for array in changes.values()) < 0.2 * sum(array.nbytes for array in old.values())


def test_nothing_changed_is_nothing_sent() -> None:
    state = {"w0": np.ones((3, 4))}
    assert difference(state, {"w0": np.ones((3, 4))}) == {}


@pytest.mark.parametrize(
    "other", [{}, {"w0": np.ones((4, 3))}, {"w0": np.ones((3, 4), np.float32)}, {"w0": np.ones((3, 4)), "b": np.ones(1)}]
)
def test_snapshots_of_different_learners_have_no_difference(other: dict[str, np.ndarray]) -> None:
    with pytest.raises(StateError, match="snapshots"):
        difference({"w0": np.ones((3, 4))}, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"b": np.ones(1)},
        {"w0": np.ones(3)},
        {"w0@": np.array([1], np.uint32)},
        {"w0=": np.ones(1)},
        {"w0@": np.array([12], np.uint32), "w0=": np.ones(1)},
        {"w0@": np.array([1, 2], np.uint32), "w0=": np.ones(1)},
    ],
    ids=str,
)
def test_changes_of_another_snapshot_are_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(StateError, match="snapshots"):
        patched({"w0": np.ones((3, 4))}, changes)
