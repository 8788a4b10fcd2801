"""Sums in lanes: the same bits as the order that is written down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from estran.learning.lanes import dot


def written_out(a: np.ndarray, b: np.ndarray) -> Any:
    lanes, whole = np.zeros(16, a.dtype), a.size - a.size % 16
    for start in range(0, whole, 16):
        lanes = lanes + a[start : start + 16] * b[start : start + 16]
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    total = lanes[0]
    for j in range(whole, a.size):
        total = total + a[j] * b[j]
    return total


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100), st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32 - 1))
def test_the_order_of_a_sum_is_fixed(size: int, kind: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Off the start of their memory, as a row of a matrix is, and not aligned to a vector.
    a, b = ((rng.normal(size=size + 3) * 10.0 ** rng.integers(-6, 6, size + 3)).astype(kind)[3:] for _ in range(2))
    assert kind(dot(a, b)) == written_out(a, b)


@pytest.mark.parametrize("other", [np.zeros(16), np.zeros(32, np.float32)[::2]], ids=["type", "stride"])
def test_what_lanes_cannot_read_is_not_compiled(other: np.ndarray) -> None:
    with pytest.raises(TypingError):
        dot(np.zeros(16, np.float32), other)
