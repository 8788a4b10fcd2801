"""Prequential evaluation of regressors against definitions worked out the slow way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning.learner import Features
from estran.learning.mistakes import SettingsError
from estran.learning.regression.evaluation import ErrorCurves, Estimates, last_known, mean_known, prequential
from estran.learning.regression.regressor import create
from estran.learning.regression.rows import Numbers
from estran.learning.streams.classic import Friedman

PAIRS = st.lists(st.tuples(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32)), min_size=1, max_size=50)


def estimates(pairs: Any, delay: int = 0) -> Estimates:
    truth, answer = np.array(pairs, dtype=np.float64).T
    return Estimates(truth.copy(), answer.copy(), delay)


def weighted(found: Estimates, weights: Any) -> dict[str, float]:
    """All figures as of the last row."""
    truth, delay = found.truth, found.delay
    known = [truth[: max(0, t - delay)] for t in range(len(truth))]
    rivals = {
        "": found.answer,
        "no_change_": np.array([past[-1] if len(past) else 0.0 for past in known]),
        "mean_": np.array([past.mean() if len(past) else 0.0 for past in known]),
    }
    result = {}
    for prefix, rival in rivals.items():
        result[f"{prefix}mae"] = float(np.average(np.abs(rival - truth), weights=weights))
        result[f"{prefix}rmse"] = float(np.sqrt(np.average((rival - truth) ** 2, weights=weights)))
    spread = float(np.average((truth - np.average(truth, weights=weights)) ** 2, weights=weights))
    # What differs from nothing by rounding alone is a matter of rounding.
    if spread > 1e-6:
        result["r2"] = 1 - result["rmse"] ** 2 / spread
    for rival in ("no_change", "mean"):
        if result[f"{rival}_mae"] > 1e-6:
            result[f"skill_{rival}"] = 1 - result["mae"] / result[f"{rival}_mae"]
    return result


def assert_last(curves: ErrorCurves, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert np.isclose(getattr(curves, name)[-1], value, rtol=1e-6, atol=1e-6), name


@settings(deadline=None)  # the first example compiles
@given(PAIRS, st.integers(0, 4))
def test_overall_weighs_all_rows_alike(pairs: Any, delay: int) -> None:
    found = estimates(pairs, delay)
    assert_last(found.overall(), weighted(found, np.ones(len(pairs))))


@settings(deadline=None)  # the first example compiles
@given(PAIRS, st.sampled_from([0.5, 0.9, 0.99]), st.integers(0, 2))
def test_fading_weighs_by_age(pairs: Any, factor: float, delay: int) -> None:
    found = estimates(pairs, delay)
    assert_last(found.fading(factor), weighted(found, factor ** np.arange(len(pairs))[::-1]))


@settings(deadline=None)  # the first example compiles
@given(PAIRS, st.integers(1, 60), st.integers(0, 2))
def test_sliding_counts_the_window_only(pairs: Any, window: int, delay: int) -> None:
    found = estimates(pairs, delay)
    weights = (np.arange(len(pairs)) >= len(pairs) - window).astype(float)
    assert_last(found.sliding(window), weighted(found, weights))


@settings(deadline=None)  # the first example compiles
@given(PAIRS)
def test_a_curve_at_a_row_is_the_result_up_to_it(pairs: Any) -> None:
    whole, part = estimates(pairs), estimates(pairs[: max(1, len(pairs) // 2)])
    n = len(part.truth)
    for one, other in (
        (whole.overall(), part.overall()),
        (whole.fading(0.9), part.fading(0.9)),
        (whole.sliding(5), part.sliding(5)),
    ):
        for name in vars(one):
            assert np.array_equal(getattr(one, name)[:n], getattr(other, name), equal_nan=True), name


def test_r2_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.normal(5, 2, size=400)
    answer = truth + rng.normal(size=400)
    assert np.isclose(Estimates(truth, answer).overall().r2[-1], metrics.r2_score(truth, answer))
    assert np.isclose(Estimates(truth, answer).sliding(100).r2[-1], metrics.r2_score(truth[-100:], answer[-100:]))


def test_an_outlier_that_has_left_the_window_is_not_felt_and_large_targets_do_not_drown() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    answer = truth + 1e-3 * rng.normal(size=500)
    clean = Estimates(truth, answer).sliding(50)
    spoiled = answer.copy()
    spoiled[200] = 1e12
    assert np.array_equal(Estimates(truth, spoiled).sliding(50).rmse[250:], clean.rmse[250:])
    lifted = Estimates(truth + 1e9, answer + 1e9)
    for curves, wanted in ((lifted.sliding(50), clean), (lifted.fading(0.9), Estimates(truth, answer).fading(0.9))):
        assert np.allclose(curves.r2[1:], wanted.r2[1:], atol=1e-4)


def test_no_figure_where_there_is_nothing_to_compare_with() -> None:
    found = Estimates(np.zeros(4), np.array([0.0, 1.0, 0.0, 0.0])).overall()
    assert found.mae[-1] == 0.25
    for name in ("r2", "skill_no_change", "skill_mean"):
        assert np.isnan(getattr(found, name)).all()
    assert Estimates(np.zeros(0), np.zeros(0)).sliding().mae.shape == (0,)


def test_answering_the_last_target_is_no_achievement() -> None:
    # A random walk: whoever answers the mean of what it has seen looks bad, and whoever answers the last target looks good.
    truth = np.cumsum(np.random.default_rng(0).normal(size=2000))
    persistent = Estimates(truth, last_known(truth)).overall()
    assert persistent.r2[-1] > 0.9
    assert persistent.skill_no_change[-1] == 0
    assert Estimates(truth, mean_known(truth)).overall().skill_no_change[-1] < -1


class Log:
    """Notes what it is asked and told, in order, by the first feature and the target."""

    def __init__(self) -> None:
        self.events: list[tuple[str, float]] = []

    def learn_many(self, x: Features, y: Numbers) -> None:
        assert np.array_equal(x[:, 0] + 0.5, y)
        self.events += [("learn", value) for value in x[:, 0]]

    def predict(self, x: Features) -> Numbers:
        self.events += [("answer", value) for value in x[:, 0]]
        return np.full(len(x), 0.25)


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 6), st.booleans())
def test_targets_come_when_they_are_due(n: int, size: int, delay: int, learn: bool) -> None:
    log: Any = Log()
    x = np.arange(float(n))[:, None]
    chunks = ((x[start : start + size], x[start : start + size, 0] + 0.5) for start in range(0, n, size))
    found = prequential(log, chunks, delay=delay, learn=learn)
    assert found.answer.tolist() == [0.25] * n
    assert found.truth.tolist() == [row + 0.5 for row in range(n)]
    expected = [(verb, row - lag) for row in range(n) for verb, lag in (("answer", 0), ("learn", delay))]
    assert log.events == [(verb, row) for verb, row in expected if row >= 0 and (learn or verb == "answer")]


@pytest.mark.parametrize("delay", [0, 7])
def test_however_the_stream_is_cut_answers_are_the_same(delay: int) -> None:
    def run(size: int) -> Numbers:
        chunks = Friedman().chunks(np.random.default_rng(1), size, 300)
        return prequential(create("forward-ridge", 10, np.random.default_rng(0)), chunks, delay=delay).answer

    first = run(1)
    assert first.std() > 1
    assert np.array_equal(first, run(37))
    assert np.array_equal(first, run(300))


def test_what_cannot_be_is_refused() -> None:
    found = Estimates(np.zeros(1), np.zeros(1))
    regressor = create("ridge", 1, np.random.default_rng(0))
    for call in (lambda: found.fading(0), lambda: found.sliding(0), lambda: prequential(regressor, [], delay=-1)):
        with pytest.raises(SettingsError):
            call()
