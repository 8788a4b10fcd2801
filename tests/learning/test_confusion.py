"""Confusion of classes against definitions worked out row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.learning.confusion import Confusion
from estran.learning.evaluation import Answers
from estran.learning.mistakes import SettingsError

PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40)


@given(PAIRS)
def test_counts_recalls_and_costs(pairs: Any) -> None:
    truth, answer = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    found = Answers(truth, answer, 3).confusion()
    prices = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [5.0, 6.0, 0.0]])
    recalls = []
    for i in range(3):
        rows = [a for t, a in pairs if t == i]
        assert found.counts[i].tolist() == [rows.count(j) for j in range(3)]
        recalls.append(rows.count(i) / len(rows) if rows else np.nan)
    assert np.array_equal(found.recalls, recalls, equal_nan=True)
    assert found.cost(prices) == sum(prices[t, a] for t, a in pairs)
    assert found.cost([1, 2, 7]) == sum([1, 2, 7][t] for t, a in pairs if t != a)
    known = [recall for recall in recalls if not np.isnan(recall)]
    assert found.balanced_accuracy == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)


def test_sensitivity_and_specificity_are_of_two_classes() -> None:
    found = Confusion(np.array([[90, 10], [1, 3]]))
    assert (found.sensitivity, found.specificity) == (0.75, 0.9)
    with pytest.raises(SettingsError, match="of two classes, not 3"):
        _ = Confusion(np.eye(3, dtype=np.int64)).sensitivity
    with pytest.raises(SettingsError, match=r"shape \(3,\)\n  → give 2 numbers"):
        found.cost([1, 2, 3])
