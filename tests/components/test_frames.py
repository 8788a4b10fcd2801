"""Arrays from a pipe: read back as they were, and whatever else comes is told as one kind of error."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from estran.components.frames import Frames, SimulationError

NUMBERS = arrays(st.sampled_from(["<f8", ">f4", "<i2", "|u1", "|b1"]), array_shapes(max_side=4))


def written(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def frames(data: bytes) -> list[Any]:
    """All arrays of a pipe that ends after ``data``."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        source, found = Frames(reading, 1.0), []
        while (array := source.next()) is not None:
            found.append(array)
        return found
    finally:
        os.close(reading)


@settings(max_examples=50, deadline=None)
@given(st.lists(NUMBERS, max_size=4))
def test_arrays_come_as_they_were_written(sent: list[Any]) -> None:
    found = frames(b"".join(map(written, sent)))
    assert len(found) == len(sent)
    for one, other in zip(found, sent, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == np.ascontiguousarray(other).tobytes()


def test_order_by_columns_is_understood() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert np.array_equal(frames(written(array))[0], array)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 130), st.integers(0, 40))
def test_garbage_is_an_array_or_an_error_of_one_kind(garbage: bytes, start: int, cut: int) -> None:
    sound = written(np.arange(4.0))
    data = (sound[:start] + garbage + sound[start:])[: len(sound) + len(garbage) - cut]
    try:
        found = frames(data)
    except SimulationError:
        return
    assert all(array.dtype.kind in "fiub" for array in found)


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([1j]), np.zeros(1, [("a", "f8")]), np.array([0], "M8[s]")])
def test_what_is_not_real_numbers_is_refused(array: Any) -> None:
    with pytest.raises(SimulationError, match="no time step"):
        frames(written(array))


@pytest.mark.parametrize("shape", ["(-1,)", "(-1, -1)", "(99999999999999999999,)", "(65536, 65536, 65536)"])
def test_impossible_shapes_are_refused_before_anything_is_allocated(shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    with pytest.raises(SimulationError, match="no time step"):
        frames(b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(64))


def test_silence_is_noticed() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, written(np.arange(4.0))[:-1])
        with pytest.raises(SimulationError, match=r"fell silent for 0\.05s"):
            Frames(reading, 0.05).next()
    finally:
        os.close(reading)
        os.close(writing)
