"""Payloads survive the wire; what is not a frame is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import TransportError
from estran.runtime.message import Story
from estran.runtime.wire import decode, encode


@dataclass(frozen=True)
class Inner:
    weights: dict[str, npt.NDArray[np.float64]]
    note: str | None = None


@dataclass(frozen=True)
class Everything:
    x: np.ndarray
    label: int
    ratio: float
    name: str
    raw: bytes
    flag: bool
    inner: Inner
    rows: list[list[float]] = field(default_factory=list)
    pair: tuple[int, str] = (0, "")
    anything: Any = None


@dataclass(frozen=True)
class OneArray:
    x: np.ndarray


@dataclass(frozen=True)
class OneName:
    x: str


numeric = hnp.integer_dtypes(endianness="?") | hnp.unsigned_integer_dtypes(endianness="?") | hnp.floating_dtypes(endianness="?")
numeric = numeric | hnp.complex_number_dtypes(endianness="?") | hnp.boolean_dtypes()
arrays = hnp.arrays(numeric, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.binary(max_size=9)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)
stories = st.builds(
    Story, trace=st.text(max_size=12), created=st.floats(-10, 1e6), stream=st.text(max_size=9), origin=st.text(max_size=9),
    seq=st.integers(-1, 2**63 - 1), sent=st.floats(-10, 1e6), version=st.none() | st.integers(0, 2**40),
)  # fmt: skip


def joined(payload: object, story: Story | None = None) -> bytes:
    return b"".join(encode(payload, story or Story()))


def same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@given(arrays, arrays, trees, stories, st.integers(0, 7))
def test_round_trip(x: npt.NDArray[Any], other: npt.NDArray[Any], tree: Any, story: Story, shift: int) -> None:
    inner = Inner({"a": np.arange(3.0), "b": np.eye(2)}, "n")
    payload = Everything(x, -3, 0.5, "né", b"\x00\xff", True, inner, [[1.0], []], (4, "p"), {"t": tree, "o": other})
    frame = joined(payload, story)
    data = memoryview(bytes(shift) + frame)[shift:]
    got, told = decode(data, Everything)
    assert same(got.x, x)
    assert same(got.anything["o"], other)
    assert got.anything["t"] == tree
    assert same(got.inner.weights["b"], inner.weights["b"])
    assert (got.label, got.ratio, got.name, got.raw, got.flag, got.rows, got.pair) == (
        -3,
        0.5,
        "né",
        b"\x00\xff",
        True,
        [[1.0], []],
        (4, "p"),
    )
    assert got.x.flags.aligned
    expected = (story.trace, story.created, story.stream, story.origin, story.seq, story.sent, story.version, len(frame))
    assert (told.trace, told.created, told.stream, told.origin, told.seq, told.sent, told.version, told.bytes) == expected


def test_strided_arrays_and_numpy_scalars() -> None:
    x = np.arange(24.0).reshape(4, 6)
    got, _ = decode(memoryview(joined(OneArray(x.T[::2]))), OneArray)
    assert same(got.x, np.ascontiguousarray(x.T[::2]))
    assert decode(memoryview(joined(Inner({}, np.str_("s")))), Inner)[0].note == "s"


def test_an_aligned_array_is_not_copied() -> None:
    data = memoryview(joined(OneArray(np.arange(1000.0))))
    got, _ = decode(data, OneArray)
    assert np.shares_memory(got.x, np.frombuffer(data, np.uint8))
    assert not got.x.flags.writeable


@pytest.mark.parametrize("bad", [np.array([object()]), np.array(["a"]), object(), print])
def test_what_cannot_travel_is_refused(bad: Any) -> None:
    with pytest.raises(TransportError, match="cannot"):
        encode(OneArray(bad), Story())


def test_another_payload_is_refused() -> None:
    with pytest.raises(TransportError, match="Inner"):
        decode(memoryview(joined(OneArray(np.zeros(2)))), Inner)
    with pytest.raises(TransportError, match="expected"):
        decode(memoryview(joined(OneName("not an array"))), OneArray)


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_noise_is_refused(noise: bytes, dressed: bool) -> None:
    data = b"est\x01" + len(noise).to_bytes(4, "little") + noise if dressed else noise
    with pytest.raises(TransportError):
        decode(memoryview(data), OneArray)


@settings(max_examples=500)
@given(st.data())
def test_a_damaged_frame_is_read_or_refused_but_never_more(data: st.DataObject) -> None:
    frame = bytearray(joined(Everything(np.arange(6).reshape(2, 3), 1, 2.0, "n", b"r", False, Inner({"w": np.ones(3)}))))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(len(frame) // 2, len(frame)))]
    try:
        got, _ = decode(memoryview(bytes(frame)), Everything)
    except TransportError:
        return
    assert got.x.nbytes <= len(frame)


@pytest.mark.parametrize(
    "meta", [("<f8", 0, [2**40]), ("<f8", 0, [2**62, 4]), ("<f8", -8, [1]), ("|O8", 0, [1]), ("<f8", 0, [-1]), ("<f8", 2**70, [1])]
)
def test_an_array_that_claims_too_much_is_refused(meta: Any) -> None:
    import msgspec

    pack = msgspec.msgpack.encode
    try:
        extension = msgspec.msgpack.Ext(1, pack(meta))
    except OverflowError:
        extension = msgspec.msgpack.Ext(1, b"\xc1")
    header = pack((("", 0.0, "", "", 0, 0.0, None), {"x": extension}))
    with pytest.raises(TransportError, match="malformed"):
        decode(memoryview(b"est\x01" + len(header).to_bytes(4, "little") + header + bytes(64)), OneArray)
