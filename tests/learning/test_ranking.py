"""The prequential area under the ROC curve, against pairs counted the slow way."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.learning import ranking, registry
from estran.learning.mistakes import SettingsError
from estran.learning.ranking import Ranking, area, prequential_ranking

PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=1, max_size=40)


def counted(truth: Any, scores: Any) -> float:
    """Share of pairs in the right order."""
    wins = [(high > low) + 0.5 * (high == low) for high in scores[truth == 1] for low in scores[truth == 0]]
    return float(np.mean(wins)) if wins else float("nan")


def test_examples() -> None:
    assert doctest.testmod(ranking).failed == 0


@given(PAIRS, st.integers(2, 15))
def test_areas_are_shares_of_pairs(pairs: Any, window: int) -> None:
    truth, scores = np.array(pairs, dtype=np.int64).T
    found = Ranking(truth, scores / 7).sliding(window)
    for t in range(len(truth)):
        latest = slice(max(0, t + 1 - window), t + 1)
        np.testing.assert_equal(found[t], counted(truth[latest], scores[latest]))
    np.testing.assert_allclose(area(truth, scores), counted(truth, scores))


def test_it_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(2, size=500), rng.normal(size=500).round(1)
    assert Ranking(truth, scores).overall() == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert Ranking(truth, scores).sliding(200)[-1] == pytest.approx(metrics.roc_auc_score(truth[-200:], scores[-200:]))


@pytest.mark.parametrize("choice", ["opauc", "arow", {"mlp": {"hidden": [3]}}], ids=str)
def test_scores_are_those_before_learning(choice: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    found = prequential_ranking(registry.create(choice, 3, 2, np.random.default_rng(0)), [(x[:25], y[:25]), (x[25:], y[25:])])
    learner: Any = registry.create(choice, 3, 2, np.random.default_rng(0))
    for i in range(60):
        odds = learner.predict_proba(x[i : i + 1])[0]
        assert found.scores[i] == pytest.approx(np.log(odds[1] / odds[0]), abs=1e-6)
        learner.learn_many(x[i : i + 1], y[i : i + 1])
    assert np.array_equal(found.truth, y)


@pytest.mark.parametrize(
    ("truth", "scores"), [([0, 1, 2], [0.0, 1.0, 2.0]), ([0, 1], [0.0, np.nan]), ([0, 1], [0.0]), ([[0, 1]], [[0.0, 1.0]])]
)
def test_what_cannot_be_ranked_is_refused(truth: Any, scores: Any) -> None:
    with pytest.raises(SettingsError):
        area(np.array(truth), np.array(scores))
    with pytest.raises(SettingsError):
        Ranking(np.array(truth), np.array(scores)).sliding(10)
    with pytest.raises(SettingsError, match="window has 1 rows"):
        Ranking(np.array([0, 1]), np.array([0.0, 1.0])).sliding(1)
    assert np.isnan(area(np.array([1, 1]), np.array([0.0, 1.0])))
