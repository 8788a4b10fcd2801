from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.observe.intervals import mean, proportion, quantile, ratio, share, student

REPEATS = 300
# 95 % of 300 repeats has a standard error of 1.3 %.


def autoregressive(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    out = rng.normal(size=n)
    out[0] /= np.sqrt(1 - rho**2)  # as if it had gone on for ever
    level = 0.0
    values = out.tolist()
    for i, step in enumerate(values):
        level = rho * level + step
        values[i] = level
    return np.array(values)


@pytest.mark.parametrize("freedom", [6, 9, 12.67, 19, 29, 1000])
def test_student_quantile(freedom: float) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    assert student(freedom) == pytest.approx(scipy_stats.t.ppf(0.975, freedom), rel=1e-3)


@pytest.mark.parametrize(("rho", "n", "lowest"), [(0.0, 1000, 0.92), (0.5, 2000, 0.91), (0.8, 3000, 0.91)])
def test_interval_of_a_correlated_mean_covers_it_about_as_often_as_it_says(rho: float, n: int, lowest: float) -> None:
    rng = np.random.default_rng(7)
    found = [mean(autoregressive(rng, n, rho)).ci95 for _ in range(REPEATS)]
    given_ = [bounds for bounds in found if bounds is not None]
    assert len(given_) > 0.95 * REPEATS
    assert lowest <= np.mean([low <= 0 <= high for low, high in given_]) <= 0.995


def test_naive_interval_would_not_cover() -> None:
    """The batch means earn their keep: the independent formula is far too narrow here."""
    rng = np.random.default_rng(8)
    series = [autoregressive(rng, 2000, 0.8) for _ in range(100)]
    naive = np.mean([abs(x.mean()) <= 1.96 * x.std() / np.sqrt(len(x)) for x in series])
    assert naive < 0.7


def test_interval_of_a_quantile_covers() -> None:
    rng = np.random.default_rng(9)
    hits = []
    for _ in range(REPEATS):
        bounds = quantile(rng.exponential(size=1500), 0.95).ci95
        assert bounds is not None
        hits.append(bounds[0] <= -np.log(0.05) <= bounds[1])
    assert 0.92 <= np.mean(hits) <= 0.995


def test_interval_of_a_learning_curve_covers_and_is_narrow() -> None:
    rng = np.random.default_rng(10)
    chance = 0.95 - 0.85 * np.exp(-np.linspace(0, 5, 3000))
    found = [proportion(rng.random(3000) < chance, trend=True) for _ in range(REPEATS)]
    bounds = [estimate.ci95 for estimate in found if estimate.ci95 is not None]
    assert np.mean([low <= chance.mean() <= high for low, high in bounds]) >= 0.93
    assert np.median([high - low for low, high in bounds]) < 0.12


def test_all_right_or_all_wrong_still_has_a_width() -> None:
    right, wrong = proportion(np.ones(200)).ci95, proportion(np.zeros(200)).ci95
    assert right is not None
    assert wrong is not None
    assert right[1] == 1.0
    assert wrong[0] == 0.0
    assert 0.97 < right[0] < 0.99
    assert wrong == pytest.approx((1 - right[1], 1 - right[0]), abs=1e-9)


def test_too_little_has_no_interval_and_says_so() -> None:
    assert mean([1.0, 2.0]).ci95 is None
    assert "too few" in mean([1.0, 2.0]).note
    tail = quantile(np.arange(100.0), 0.99)
    assert tail.ci95 is None
    assert "do not bound" in tail.note


def test_mean_of_what_is_never_negative_has_no_negative_bound() -> None:
    bursts = mean(np.repeat([0.0] * 28 + [5.0] * 2, 40))
    assert bursts.ci95 is not None
    assert bursts.ci95[0] == 0.0


@pytest.mark.parametrize("level", [None, 0.05, 0.5, 0.95])
def test_drift_through_the_whole_window_has_a_wide_interval_and_says_so(level: float | None) -> None:
    series = np.linspace(0, 10, 1000) + np.random.default_rng(1).normal(size=1000)
    drifting = mean(series) if level is None else quantile(series, level)
    assert "not steady" in drifting.note or level in (0.05, 0.95)  # few observations lie beyond these, and tell little
    assert drifting.ci95 is not None
    low, high = drifting.ci95
    assert low < drifting.value < high
    assert 10 < high - low < 100  # as wide as the drift, and yet it tells that 1000 is far away


QUANTILES = {"p50": 0.5, "p95": 0.95, "mean": None}


@pytest.mark.parametrize("name", QUANTILES)
@pytest.mark.parametrize(("memories", "lowest"), [(None, 0.93), (100, 0.90), (20, 0.83)])
@pytest.mark.parametrize("n", [200, 1000])
def test_every_mean_and_quantile_has_an_interval_that_covers(name: str, memories: int | None, lowest: float, n: int) -> None:
    """``memories``: how many times its correlation time a series is long; None if nothing depends on what came before."""
    level = QUANTILES[name]
    rho = 0.0 if memories is None else float(np.exp(-memories / n))
    scale = np.sqrt(1 - rho**2)
    truth = 0.0 if level is None else NormalDist().inv_cdf(level)
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(REPEATS):
        series = scale * autoregressive(rng, n, rho)
        bounds = (mean(series) if level is None else quantile(series, level)).ci95
        assert bounds is not None
        covered += bounds[0] <= truth <= bounds[1]
    assert lowest <= covered / REPEATS <= 0.997


@pytest.mark.parametrize("n", [12, 30, 60])
def test_interval_of_a_median_of_few_skewed_observations_covers(n: int) -> None:
    rng = np.random.default_rng(12)
    found = [bounds for _ in range(REPEATS) if (bounds := quantile(rng.exponential(size=n), 0.5).ci95) is not None]
    assert len(found) > (0.85 if n < 20 else 0.99) * REPEATS
    assert np.mean([low <= np.log(2) <= high for low, high in found]) >= 0.93


@given(st.integers(0, 2**32 - 1), st.integers(10, 400), st.floats(0, 1), st.floats(0.1, 0.9), st.integers(1, 40))
def test_a_quantile_lies_in_its_interval_however_blocky_the_series(seed: int, n: int, rho: float, level: float, block: int) -> None:
    rng = np.random.default_rng(seed)
    series = np.repeat(np.cumsum(rng.normal(size=n)) * rho + rng.exponential(size=n), block)[:n]
    found = quantile(series, level)
    if n * min(level, 1 - level) >= 10:
        assert found.ci95 is not None
    if found.ci95 is not None:
        assert found.ci95[0] <= found.value <= found.ci95[1]


def test_what_rounding_leaves_is_no_drift() -> None:
    """A latency that is always the same differs by bits of the clock's reading, and more of them as time goes on."""
    sent = np.arange(4000) / 200
    series = (sent + 0.0457) - sent
    for found in (mean(series), quantile(series, 0.5)):
        assert found.ci95 == pytest.approx((0.0457, 0.0457), rel=1e-9)


def test_ratio_needs_a_denominator() -> None:
    with pytest.raises(ValueError, match="denominator"):
        ratio([1.0], [0.0])
    with pytest.raises(ValueError, match="trials"):
        share([], [])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200))
def test_mean_is_the_mean_and_lies_in_its_interval(values: list[float]) -> None:
    estimate = mean(values)
    assert estimate.value == pytest.approx(np.mean(values), abs=1e-6)
    assert estimate.n == len(values)
    if estimate.ci95 is not None:
        assert estimate.ci95[0] - 1e-6 <= estimate.value <= estimate.ci95[1] + 1e-6


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.booleans())
def test_interval_of_a_proportion_stays_within_zero_and_one(hits: list[bool], trend: bool) -> None:
    estimate = proportion(hits, trend=trend)
    if estimate.ci95 is not None:
        low, high = estimate.ci95
        assert 0 <= low <= estimate.value + 1e-9
        assert estimate.value - 1e-9 <= high <= 1


@given(st.lists(st.floats(0, 100), min_size=10, max_size=300), st.floats(0.1, 50))
def test_scaling_the_series_scales_the_interval(values: list[float], factor: float) -> None:
    plain, scaled = mean(values), mean(np.array(values) * factor)
    assert scaled.value == pytest.approx(plain.value * factor, abs=1e-6)
    if plain.ci95 is not None and scaled.ci95 is not None:
        assert np.array(scaled.ci95) == pytest.approx(np.array(plain.ci95) * factor, rel=1e-4, abs=1e-4)
