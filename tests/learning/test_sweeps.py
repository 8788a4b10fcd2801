"""Sweeps over matrices: the bits of sums in the order that is written down, at every width."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from estran.learning import sweeps


@numba.njit
def weigh(acts: Any, lists: Any, count: int, rows: int, here: int, above: int, outputs: int, matrix: Any) -> None:
    sweeps.weigh(acts, lists, count, rows, here, above, outputs, matrix)


@numba.njit
def pass_down(delta: Any, matrix: Any, places: Any, count: int, below: Any) -> None:
    sweeps.pass_down(delta, matrix, places, count, below)


@numba.njit
def move(scale: Any, values: Any, places: Any, count: int, delta: Any, matrix: Any) -> None:
    sweeps.move(scale, values, places, count, delta, matrix)


@numba.njit
def list_places(values: Any, places: Any) -> int:
    return sweeps.list_places(values, places)  # type: ignore[no-any-return]  # compiled


def folded(lanes: np.ndarray) -> Any:
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    return lanes[0]


def product(row: np.ndarray, delta: np.ndarray) -> Any:
    """The sum in 32 lanes, then what is left over in halves of that."""
    lanes, total, place = np.zeros(32, row.dtype), row.dtype.type(0), row.size - row.size % 32
    for start in range(0, place, 32):
        lanes = lanes + row[start : start + 32] * delta[start : start + 32]
    for width in (16, 8, 4, 2, 1):
        if row.size & width:
            total = total + folded(row[place : place + width] * delta[place : place + width])
            place += width
    return total + folded(lanes)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 100), st.integers(1, 9), st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32 - 1))
def test_sums_and_moves_are_as_written_out(outputs: int, inputs: int, kind: type, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return np.asarray((rng.normal(size=shape) * 10.0 ** rng.integers(-6, 6, shape)).astype(kind))

    matrix, acts, delta = draw(inputs * outputs), draw(2, inputs + outputs), draw(outputs)
    acts[:, :inputs] *= rng.random((2, inputs)) < 0.6
    lists = np.zeros((2, inputs + 1), np.int64)
    for r in range(2):
        lists[r, inputs] = list_places(acts[r, :inputs], lists[r])
        assert lists[r, : lists[r, inputs]].tolist() == np.flatnonzero(acts[r, :inputs]).tolist()
    wanted, rows = acts.copy(), matrix.reshape(inputs, outputs).copy()
    for r in range(2):
        for i in np.flatnonzero(acts[r, :inputs]):
            wanted[r, inputs:] = wanted[r, inputs:] + acts[r, i] * rows[i]
    weigh(acts, lists, inputs, 2, 0, inputs, outputs, matrix)
    assert np.array_equal(acts, wanted)

    below, places, count = np.full(inputs, kind(7)), lists[1], lists[1, inputs]
    pass_down(delta, matrix, places, count, below)
    assert below.tolist() == [product(rows[i], delta) if acts[1, i] else 7 for i in range(inputs)]

    move(kind(-0.1), acts[1, :inputs], places, count, delta, matrix)
    for i in np.flatnonzero(acts[1, :inputs]):
        rows[i] = rows[i] + (kind(-0.1) * acts[1, i]) * delta
    assert np.array_equal(matrix.reshape(inputs, outputs), rows)


def test_arrays_of_other_types_are_not_compiled() -> None:
    with pytest.raises(TypingError):
        pass_down(np.zeros(4, np.float32), np.zeros(16), np.zeros(4, np.int64), 1, np.zeros(4))
