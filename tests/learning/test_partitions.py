"""Which replica has which rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.components.index import Components
from estran.learning.mistakes import SettingsError
from estran.learning.orders import Dealt, partition

Y = np.random.default_rng(0).integers(10, size=2000)


@given(st.sampled_from(["iid", "by-class", Dealt(0.01), Dealt(0.5), Dealt(100.0)]), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_every_row_is_of_one_replica(how: object, replicas: int, seed: int) -> None:
    parts = [partition(Y, how, k, replicas, seed) for k in range(replicas)]  # type: ignore[arg-type]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(Y)))


def test_shares_are_the_more_unequal_the_smaller_the_concentration() -> None:
    def largest(concentration: float) -> float:
        counts = np.array([np.bincount(Y[partition(Y, Dealt(concentration), k, 10, 3)], minlength=10) for k in range(10)])
        return float((counts.max(axis=0) / counts.sum(axis=0)).mean())

    assert largest(0.05) > 0.6 > largest(0.5) > 0.25 > largest(1e4) > 0.09
    drawn = [np.bincount(Y[partition(Y, Dealt(0.5), 0, 10, seed)], minlength=10) / np.bincount(Y) for seed in range(400)]
    # A share of a symmetric Dirichlet with K parts has mean 1/K and variance (K-1) / K² / (K a + 1).
    assert np.mean(drawn) == pytest.approx(0.1, abs=0.01)
    assert np.var(drawn) == pytest.approx(9 / 100 / 6, rel=0.1)


def test_a_seed_decides() -> None:
    one, again, other = (partition(Y, Dealt(0.5), 2, 5, seed) for seed in (1, 1, 2))
    assert one.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize("concentration", [0.0, -1.0, float("nan"), float("inf")])
def test_a_concentration_that_makes_no_sense_is_refused(concentration: float) -> None:
    with pytest.raises(SettingsError, match="dirichlet is"):
        Dealt(concentration)


def test_an_experiment_file_may_ask_for_it() -> None:
    source = Components().describe("source")
    assert source.validate({"partition": {"dirichlet": 0.3}}) == ({"partition": {"dirichlet": 0.3}}, [])
    for wrong in ({"dirichlet": 0}, {"dirichlet": -1}, "by-clas", {"alpha": 1}):
        assert source.validate({"partition": wrong})[1]
