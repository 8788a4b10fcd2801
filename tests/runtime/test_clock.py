"""The real clock: how late its timers fire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.runtime.clock import Lateness, RealClock


@given(st.lists(st.floats(0, 1), max_size=3000))
def test_a_sample_of_lateness_is_bounded_and_its_sums_are_exact(values: list[float]) -> None:
    lateness = Lateness()
    for value in values:
        lateness.add(value, 2.0)
    assert lateness.count == len(values)
    assert np.isclose(lateness.late, sum(values))
    assert lateness.slept == 2.0 * len(values)
    quantiles = lateness.quantiles()
    assert bool(quantiles) == bool(values)
    assert quantiles == sorted(quantiles)
    assert set(quantiles) <= set(values)


def test_a_long_run_is_sampled_evenly() -> None:
    lateness = Lateness()
    for value in np.linspace(0, 1, 100_000):
        lateness.add(float(value), 0.0)
    assert np.allclose(lateness.quantiles(), np.linspace(0, 1, 41), atol=0.01)


async def test_sleeps_are_never_early_and_counted() -> None:
    clock = RealClock(0)
    for _ in range(5):
        await clock.sleep(0.002)
    await clock.sleep(-1)
    assert clock.lateness.count == 5
    assert clock.lateness.quantiles()[0] >= -1e-6
    assert clock.lateness.slept == pytest.approx(0.01)
