"""The arithmetic of calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.observe.calibrate.fitting import condition, cost, mixture, non_negative, spread

positive = st.floats(1e-6, 1e3)


@given(st.lists(positive, min_size=2, max_size=400))
def test_a_spread_has_mean_one_and_never_falls(values: list[float]) -> None:
    found = spread(values)
    drawn = np.array([found.factor(u) for u in (np.arange(2000) + 0.5) / 2000])
    assert drawn.mean() == pytest.approx(1, abs=5e-3)
    assert (np.diff(drawn) >= -1e-9).all()
    assert drawn[0] >= 0


def test_one_outlier_does_not_weigh_as_much_as_a_whole_step() -> None:
    values = np.concatenate([np.full(9999, 1.0), [100.0]])
    found = spread(values)
    assert found.factor(0.5) == pytest.approx(1 / values.mean(), rel=1e-6)


@given(st.floats(0, 10), st.floats(0, 10), st.integers(0, 2**32 - 1))
def test_planted_costs_without_noise_are_found_exactly(time: float, each: float, seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 50, 40)
    if len(np.unique(sizes)) == 1 or time + each == 0:
        return
    found = cost(sizes, time + each * sizes)
    assert found.time == pytest.approx(time, abs=1e-6)
    assert found.each == pytest.approx(each, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_the_mean_of_what_was_observed_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, 200)
    values = (1e-4 + 3e-5 * sizes) * rng.lognormal(0, 1, 200)
    found = cost(sizes, values)
    assert found.time >= 0
    assert found.each >= 0
    assert (found.time + found.each * sizes).mean() == pytest.approx(values.mean())


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_non_negative_least_squares_meets_its_conditions_of_optimality(seed: int, width: int) -> None:
    """Karush, Kuhn and Tucker: the gradient is 0 where a coefficient is positive, and not negative where it is 0."""
    rng = np.random.default_rng(seed)
    columns, values = rng.normal(size=(30, width)), rng.normal(size=30)
    found = non_negative(columns, values)
    gradient = columns.T @ (columns @ found - values)
    assert (found >= 0).all()
    assert np.allclose(gradient[found > 0], 0, atol=1e-8)
    assert (gradient[found == 0] >= -1e-8).all()


def test_columns_are_hard_to_tell_apart_when_they_are_alike() -> None:
    rng = np.random.default_rng(1)
    one = np.full(100, 0.2)
    assert condition(np.column_stack([10 + rng.integers(-1, 2, 100) / 10, one])) > 50
    assert condition(np.column_stack([rng.poisson(10, 100), one])) < 10
    assert condition(np.column_stack([one, one])) > 1e6


def test_a_mixture_weighs_its_parts() -> None:
    values = mixture([(300.0, [0.0, 0.0]), (100.0, [4.0, 4.0])])
    assert values.mean() == pytest.approx(1.0)
