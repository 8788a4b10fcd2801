"""Arrays that begin a cache line."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from estran.learning import aligned


@given(shape=st.tuples(st.integers(0, 9), st.integers(0, 70)), dtype=st.sampled_from(["float32", "float64", "int64"]))
def test_an_array_begins_a_line_and_is_as_numpy_makes_it(shape: tuple[int, int], dtype: str) -> None:
    array = aligned.zeros(shape, np.dtype(dtype))
    assert array.ctypes.data % 64 == 0 or array.size == 0
    assert (array.shape, array.dtype, array.flags.c_contiguous, array.any()) == (shape, np.dtype(dtype), True, False)


@given(count=st.integers(0, 1000), dtype=st.sampled_from(["float32", "float64"]))
def test_rows_are_padded_to_whole_lines(count: int, dtype: str) -> None:
    kind = np.dtype(dtype)
    room = aligned.padded(count, kind)
    assert room * kind.itemsize % 64 == 0
    assert 0 <= (room - count) * kind.itemsize < 64
