"""Figures of runs, as they are told."""

from __future__ import annotations

import pytest

from estran.observe.figures import Response
from estran.observe.intervals import Estimate


@pytest.mark.parametrize(
    ("value", "interval", "told"),
    [(0.99, (0.95, 1.03), (0.95, 1.0)), (0.0, (-0.1, 0.1), (0.0, 0.1)), (1.2, (1.0, 1.4), (1.0, 1.2)), (0.5, None, None)],
)
def test_intervals_of_shares_are_of_shares(
    value: float, interval: tuple[float, float] | None, told: tuple[float, float] | None
) -> None:
    assert Response.of(Estimate(value, 100, interval), "fraction").ci95 == told
    assert Response.of(Estimate(value, 100, interval), "s").ci95 == interval
