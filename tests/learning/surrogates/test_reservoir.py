"""Reservoirs: nothing is lost unseen, nothing is handed out twice where it must not be, and draws are fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.learning.surrogates.reservoir import Policy, Reservoir


def filled(n: int, policy: Policy, capacity: int = 1000, threshold: int = 1) -> Reservoir:
    rows, rng = Reservoir(1, 1, capacity=capacity, threshold=threshold, policy=policy), np.random.default_rng(0)
    for value in range(n):
        rows.put(np.array([value]), np.array([value]), rng, owner=value // 10)
    return rows


def test_fifo_hands_out_in_order_and_once() -> None:
    rows, rng = filled(20, "fifo"), np.random.default_rng(0)
    assert [rows.draw(5, rng).y[:, 0].tolist() for _ in range(4)] == np.arange(20.0).reshape(4, 5).tolist()
    assert not rows.ready(1)


def test_firo_hands_out_each_once_in_random_order() -> None:
    rows, rng = filled(20, "firo"), np.random.default_rng(0)
    drawn = np.concatenate([rows.draw(5, rng).y[:, 0] for _ in range(4)])
    assert sorted(drawn.tolist()) == list(range(20))
    assert drawn.tolist() != list(range(20))


def test_a_reservoir_draws_uniformly_from_all_that_is_there() -> None:
    from scipy.stats import chisquare

    rows, rng = filled(50, "reservoir"), np.random.default_rng(1)
    counts = np.bincount(np.concatenate([rows.draw(64, rng).y[:, 0] for _ in range(1000)]).astype(int), minlength=50)
    assert chisquare(counts).pvalue > 0.01
    assert rows.uses.sum() == rows.drawn == 64_000


def test_its_batches_mix_simulations_where_those_in_order_of_production_do_not() -> None:
    rng = np.random.default_rng(0)
    owners = {policy: len(set(filled(200, policy).draw(10, rng).owner.tolist())) for policy in ("fifo", "firo", "reservoir")}
    assert owners["fifo"] == 1
    assert min(owners["firo"], owners["reservoir"]) >= 6


@given(st.data(), st.sampled_from(["fifo", "firo", "reservoir"]), st.integers(1, 12), st.integers(0, 2**32))
def test_no_row_goes_before_it_was_handed_out(data: st.DataObject, policy: Policy, capacity: int, seed: int) -> None:
    rows, rng = Reservoir(1, 1, capacity=capacity, policy=policy), np.random.default_rng(seed)
    produced, handed = 0, []
    for put in data.draw(st.lists(st.booleans(), max_size=60)):
        if put and rows.room():
            rows.put(np.array([produced]), np.array([produced]), rng)
            produced += 1
        elif not put and rows.ready(2):
            handed += rows.draw(2, rng).y[:, 0].tolist()
        assert len(rows) <= capacity
        left = set(rows.fields()[:, 0].tolist()) if len(rows) else set()
        assert left | set(handed) == set(range(produced))
        if policy != "reservoir":
            assert len(handed) == len(set(handed))
            assert not left & set(handed)
    if policy == "reservoir" and not rows.room():
        assert not set(rows.fields()[:, 0].tolist()) & set(handed)


def test_nothing_is_handed_out_below_the_threshold() -> None:
    assert not filled(9, "reservoir", threshold=10).ready(4)
    assert filled(10, "reservoir", threshold=10).ready(64)
    assert not filled(10, "firo", threshold=5).ready(64)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(RequestError, match="capacity is 0"):
        Reservoir(1, 1, capacity=0)
    with pytest.raises(RequestError, match="policy is 'lifo'"):
        Reservoir(1, 1, capacity=1, policy="lifo")  # type: ignore[arg-type]
