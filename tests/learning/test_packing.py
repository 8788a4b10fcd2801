"""Snapshots in fewer bytes: nothing is lost where nothing may be, and errors stay within what is stated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from estran.learning import registry
from estran.learning.learner import StateError
from estran.learning.packing import LEAST, packed, unpacked

FLOATS = st.sampled_from([np.float32, np.float64])


@st.composite
def snapshots(draw: Any) -> dict[str, np.ndarray[Any, Any]]:
    dtype = draw(FLOATS)
    numbers = st.floats(-1e6, 1e6, width=32)
    large = draw(arrays(dtype, array_shapes(min_dims=2, max_dims=2, min_side=8, max_side=12), elements=numbers))
    small = draw(arrays(dtype, (3,), elements=numbers))
    return {"w0": large, "b0": small, "count": np.array([draw(st.integers(0, 10**9))])}


def error_bound(array: np.ndarray[Any, Any], precision: str) -> Any:
    if array.size < LEAST or precision == "exact":
        return 0.0
    largest, grain = np.abs(array).max(), np.finfo(array.dtype)
    rounding = 4 * grain.eps * largest + 255 * grain.smallest_normal
    if precision == "int8":
        return largest / 254 + rounding
    return np.maximum(np.abs(array) * 2.0**-11, largest * 2.0**-25) + rounding


@given(snapshots(), st.sampled_from(["exact", "float16", "int8"]))
def test_what_comes_out_is_as_close_as_stated(state: dict[str, Any], precision: Any) -> None:
    out = unpacked(packed(state, precision))
    assert out.keys() == state.keys()
    for name, array in state.items():
        assert (out[name].dtype, out[name].shape) == (array.dtype, array.shape)
        assert (np.abs(out[name].astype(np.float64) - array) <= error_bound(array, precision)).all()


@given(snapshots(), st.sampled_from(["exact", "float16", "int8"]), st.floats(0, 100), st.data())
def test_changes_against_a_base_are_as_close_as_changes_are_small(
    base: dict[str, Any], precision: Any, size: float, data: Any
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    moved = {name: array + (size * rng.normal(size=array.shape)).astype(array.dtype) for name, array in base.items()}
    out = unpacked(packed(moved, precision, base), base)
    for name, array in moved.items():
        change = array - base[name]
        magnitude = np.abs(base[name]).max() + np.abs(change).max()
        allowed = error_bound(change, precision) + (0 if precision == "exact" else 2 * np.finfo(np.float32).eps * magnitude)
        assert (np.abs(out[name].astype(np.float64) - array) <= allowed).all()


def test_sizes_are_those_of_the_precision() -> None:
    state = {"w": np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32), "b": np.zeros(10, np.float32)}
    sizes = {one: sum(array.nbytes for array in packed(state, one).values()) for one in ("exact", "float16", "int8")}
    assert sizes == {"exact": 12840, "float16": 6444, "int8": 3244}
    assert packed(state, "exact", state) == {}
    assert packed(state, "int8", state) == {}


def test_a_rounded_network_answers_nearly_as_the_exact_one() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(500, 20)), rng.integers(4, size=500)
    x += y[:, None]
    learner = registry.create({"mlp": {"hidden": [32]}}, 20, 4, np.random.default_rng(0))
    learner.learn_many(x, y)
    for precision, most in (("float16", 0.002), ("int8", 0.05)):
        other = registry.create({"mlp": {"hidden": [32]}}, 20, 4, np.random.default_rng(1))
        other.load(unpacked(packed(learner.state(), precision)))  # type: ignore[arg-type]  # a literal of the tuple above
        assert 0 < np.abs(other.predict_proba(x) - learner.predict_proba(x)).max() < most


def test_what_is_not_finite_goes_as_it_is() -> None:
    state = {"w": np.full((9, 9), np.nan, dtype=np.float32)}
    assert np.isnan(unpacked(packed(state, "int8"))["w"]).all()


@pytest.mark.parametrize(
    ("sent", "base", "text"),
    [
        ({"w~": np.zeros(80, np.int8)}, None, "values and scales"),
        ({"w*": np.ones(1, np.float32)}, None, "values and scales"),
        ({"w~": np.zeros(80, np.int8), "w*": np.full(1, np.nan, np.float32)}, None, "int8 with a scale"),
        ({"w~": np.zeros(80, np.int32), "w*": np.ones(1, np.float32)}, None, "int32 with a scale"),
        ({"w~": np.zeros(80, np.int8), "w*": np.ones(1, np.float32)}, {"w": np.zeros(81, np.float32)}, "not in the base"),
        ({"v": np.zeros(3)}, {"w": np.zeros(81, np.float32)}, "v is not in both"),
    ],
)
def test_what_does_not_fit_is_refused(sent: Any, base: Any, text: str) -> None:
    with pytest.raises(StateError, match=text):
        unpacked(sent, base)


def test_a_base_of_another_learner_is_refused() -> None:
    with pytest.raises(StateError, match="other arrays"):
        packed({"w": np.zeros(3)}, "exact", {"w": np.zeros(4)})
