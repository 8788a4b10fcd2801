"""Series against the plain arithmetic that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.web.series import BIN, Bins, Grid, Latencies, envelope, trailing

times = st.lists(st.floats(0, 500), min_size=1, max_size=60)
seeds = st.integers(0, 2**32 - 1)


@given(times, st.integers(1, 5), st.integers(2, 64))
def test_sums_are_kept_however_coarse_the_bins_become(found: list[float], parts: int, most: int) -> None:
    bins = Bins(2, most=most)
    for part in np.array_split(np.array(found), parts):
        bins.add(part, np.stack([np.ones(len(part)), part], axis=1))
    assert len(bins.sums) <= most
    assert bins.sums.sum(axis=0) == pytest.approx([len(found), sum(found)])
    expected = np.bincount((np.array(found) / bins.width).astype(int), minlength=len(bins.sums))
    assert bins.sums[:, 0].tolist() == expected.tolist()


def test_what_has_no_time_or_came_before_the_beginning_is_not_counted() -> None:
    bins = Bins(1)
    bins.add(np.array([-1.0, np.nan, 0.0]), np.ones((3, 1)))
    assert bins.sums.tolist() == [[1.0]]


@given(seeds, st.floats(1e-5, 10), st.integers(1, 400))
def test_quantiles_are_exact_to_two_percent(seed: int, scale: float, number: int) -> None:
    rng = np.random.default_rng(seed)
    values = scale * rng.lognormal(size=number)
    latencies = Latencies()
    for part in np.array_split(rng.permutation(number), 3):
        latencies.add(rng.uniform(0, 100, len(part)), values[part])
    levels = [0.5, 0.95, 0.99]
    exact = np.quantile(values, levels, method="inverted_cdf")
    assert latencies.last(200, 100, levels) == pytest.approx(exact.tolist(), rel=0.0101)
    _, together = latencies.quantiles(levels, 1)
    assert together[0].tolist() == pytest.approx(exact.tolist(), rel=0.0101)


def test_nothing_has_no_quantiles() -> None:
    assert Latencies().last(5, 10, [0.5]) == [None]


@given(seeds, st.integers(2, 80), st.integers(1, 10))
def test_a_counters_rates_are_the_same_whatever_portions_it_came_in(seed: int, number: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    at, values = np.cumsum(rng.uniform(0.01, 1.5, number)) - 2.0, np.cumsum(rng.uniform(0, 3, number))
    grid = Grid(counter=True)
    for part in np.array_split(np.arange(number), parts):
        grid.add(at[part], values[part])
    cells = max(0, int(at[-1] / grid.width))
    expected = np.diff(np.interp(np.arange(cells + 1) * grid.width, at, values)) / grid.width if cells else np.zeros(0)
    assert grid.until(at[-1]).tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    assert grid.grown == pytest.approx(values[-1] - values[0])


def test_what_is_not_sampled_again_stays_and_a_counter_stands_still() -> None:
    gauge, counter = Grid(counter=False), Grid(counter=True)
    for grid in (gauge, counter):
        grid.add(np.array([0.0, 1.0]), np.array([4.0, 6.0]))
    assert gauge.until(2.0).tolist() == [4.5, 5.5, 5.5, 5.5]
    assert counter.until(2.0).tolist() == [2.0, 2.0]  # the next sample may be on its way
    assert counter.until(3.0).tolist() == [2.0, 2.0, 0.0, 0.0, 0.0, 0.0]


@given(seeds, st.integers(1, 3000), st.integers(5, 50))
def test_nothing_that_stands_out_is_lost_on_a_screen(seed: int, number: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    at, values = np.sort(rng.uniform(0, 10, number)), rng.normal(size=number)
    x, y = envelope(at, values, 0, 10, columns)
    assert len(x) <= max(2 * columns, 1)
    assert (np.diff(x) >= 0).all()
    assert y.min() == values.min()
    assert y.max() == values.max()


@given(seeds, st.integers(1, 50), st.integers(1, 30))
def test_a_moving_ratio_is_that_of_the_bins_that_hold_enough(seed: int, number: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 6, number).astype(float)
    values = rng.binomial(weights.astype(int), 0.5).astype(float)
    found = trailing(weights, values, least)
    for i in range(number):
        first = i
        while first > 0 and weights[first : i + 1].sum() < least:
            first -= 1
        while first < i and weights[first + 1 : i + 1].sum() >= least:
            first += 1
        total = weights[first : i + 1].sum()
        assert np.isnan(found[i]) if total == 0 else found[i] == pytest.approx(values[first : i + 1].sum() / total)


def test_bins_are_a_quarter_of_a_second_until_they_are_many() -> None:
    bins = Bins(1)
    bins.add(np.array([BIN * 10]), np.ones((1, 1)))
    assert bins.times.tolist() == pytest.approx([BIN * (i + 0.5) for i in range(11)])
