"""What a device has left, against a device whose use is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.platforms.emulated.limits.rest import LEAST, Rest

STEP = 0.25


@given(st.floats(0.05, 4), st.floats(0, 0.9), st.floats(0.7, 1.1), st.integers(0, 2**32 - 1))
def test_all_together_use_what_the_device_has(whole: float, load: float, efficiency: float, seed: int) -> None:
    """Others use a random part, and a cap gives more or less than it says: what those that yield get is the remainder."""
    rng, rest = np.random.default_rng(seed), Rest(whole)
    first = yielding = 0.0
    rest.step(first, yielding, 0.0)
    for number in range(1, 401):
        first += whole * load * rng.uniform(0.6, 1.4) / 1.4 * STEP
        yielding += rest.share * efficiency * STEP
        share = rest.step(first, yielding, number * STEP)
        assert LEAST * whole <= share <= 1.5 * whole
    assert (first + yielding) / (400 * STEP * whole) == pytest.approx(1.0, abs=0.03)


def test_what_was_used_beyond_the_device_is_given_back_and_what_nobody_wanted_is_gone() -> None:
    rest = Rest(1.0)
    rest.step(0.0, 0.0, 0.0)
    assert rest.step(0.25, 0.25, 0.25) == LEAST  # both at full speed: a step is owed
    assert rest.step(0.25, 0.25, 0.5) == 1.0
    for now in range(1, 40):
        share = rest.step(0.25, 0.25, 0.5 + now * STEP)
    assert share == 1.0
    assert rest.step(0.25 + 0.5 * STEP, 0.25, 0.5 + 40 * STEP) == pytest.approx(0.5)
