"""What a frame looks like: one msgpack header that tells the message's story and its scalars, then the raw arrays.

::

    4s magic | u32 header length | header | padding to 8 | array | padding to 8 | array | ...

In the header an array is a msgpack extension that names dtype, place and shape; nothing in a frame can name code.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Hashable
from functools import cache
from types import GenericAlias
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from estran.errors import TransportError
from estran.runtime.message import Story
from estran.runtime.transport import Buffer, Frame

P = TypeVar("P")

MAGIC = b"est\x01"
ALIGNMENT = 8
SMALL = 4096
"""Bytes up to which arrays are copied into their frame."""
_PREFIX = struct.Struct("<4sI")
_ARRAY = 1
_KINDS = frozenset("biufc")
_MAX_DIMENSIONS = 32
_PADDING = tuple(bytes(count) for count in range(ALIGNMENT))

_StoryFields = tuple[str, float, str, str, int, float, int | None]
_meta_encoder = msgspec.msgpack.Encoder()
_meta_decoder = msgspec.msgpack.Decoder(tuple[str, int, list[int]])


def encode(payload: object, story: Story) -> Frame:
    """Turn a payload into the buffers of one frame; large arrays are not copied, so send the frame before changing them.

    Parameters
    ----------
    payload
        A dataclass (nested ones allowed) of scalars, strings, bytes, None, lists, tuples, dicts, and numeric arrays of any shape.
    story
        Travels along, except for ``received`` and ``bytes``, which the other end fills in.

    Raises
    ------
    TransportError
        The payload holds something else, such as an array of objects.
    """
    fields = (story.trace, story.created, story.stream, story.origin, story.seq, story.sent, story.version)
    try:
        header, buffers = _writer.write((fields, payload))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        remedy = "use dataclasses of scalars, strings, bytes, None, lists, dicts and numeric arrays"
        raise TransportError(f"a payload cannot be encoded: {error}", where=type(payload).__qualname__, remedy=remedy) from error
    head = _PREFIX.pack(MAGIC, len(header)) + header
    head += _PADDING[-len(head) % ALIGNMENT]
    if sum(map(len, buffers)) <= SMALL:
        # One piece goes through everything below more quickly than three.
        return [b"".join((head, *buffers))]
    return [head, *buffers]


class _Writer(threading.local):
    """Encodes headers, and collects the arrays that they name; making an encoder costs more than using it."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._place = 0
        self._encode = msgspec.msgpack.Encoder(enc_hook=self._hook).encode

    def write(self, envelope: object) -> tuple[bytes, list[Buffer]]:
        self._buffers, self._place = [], 0
        return self._encode(envelope), self._buffers

    def _hook(self, value: object) -> object:
        if isinstance(value, np.ndarray):
            dtype, place = value.dtype, self._place
            if dtype.kind not in _KINDS:
                raise TypeError(f"an array of dtype {dtype} cannot travel in a message")
            size = value.nbytes
            if size:
                # A small copy is cheaper than a view of views.
                small = size <= SMALL
                self._buffers.append(value.tobytes() if small else np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
                padding = -size % ALIGNMENT
                if padding:
                    self._buffers.append(_PADDING[padding])
                self._place = place + size + padding
            return msgspec.msgpack.Ext(_ARRAY, _meta_encoder.encode((dtype.str, place, value.shape)))
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"{type(value).__qualname__} cannot travel in a message")


_writer = _Writer()


def decode(data: memoryview, kind: type[P]) -> tuple[P, Story]:
    """Read a frame back; arrays are read-only views into ``data`` where they lie aligned, copies elsewhere.

    Raises
    ------
    TransportError
        The frame is malformed, or its payload is not a ``kind``.
    """
    try:
        header, arrays = _split(data)
        fields, payload = _reader(cast(Hashable, kind)).read(header, arrays)
    except (ValueError, TypeError, struct.error, msgspec.MsgspecError, RecursionError, OverflowError) as error:
        remedy = "run the same version of the components at both ends of the stream"
        raise TransportError(f"a frame is malformed: {error}", where=kind.__qualname__, remedy=remedy) from error
    trace, created, stream, origin, seq, sent, version = fields
    story = Story(trace, created, stream, origin, seq, sent, bytes=len(data), version=version)
    return payload, story


class _Reader(threading.local):
    """Decodes headers of one kind; making a decoder costs more than using it. Each thread has its own."""

    def __init__(self, kind: Hashable) -> None:
        envelope: Any = GenericAlias(tuple, (_StoryFields, kind))
        self._arrays = memoryview(b"")
        self._decode = msgspec.msgpack.Decoder(envelope, ext_hook=self._extension, dec_hook=_only_arrays).decode

    def read(self, header: memoryview, arrays: memoryview) -> Any:
        self._arrays = arrays
        try:
            return self._decode(header)
        finally:
            self._arrays = memoryview(b"")

    def _extension(self, code: int, meta: memoryview) -> object:
        if code != _ARRAY:
            raise ValueError(f"unknown extension {code}")
        return _array(self._arrays, *_meta_decoder.decode(meta))


_reader = cache(_Reader)


@cache
def _dtype(name: str) -> np.dtype[Any]:
    if len(name) > 4 or name[1:2] not in _KINDS or name[:1] not in "<>|":
        raise ValueError(f"an array claims dtype {name!r}")
    return np.dtype(name)


def _split(data: memoryview) -> tuple[memoryview, memoryview]:
    magic, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise ValueError("it does not start like one")
    end = _PREFIX.size + length
    if end > len(data):
        raise ValueError(f"its header claims {length} bytes, it has {len(data)} in all")
    return data[_PREFIX.size : end], data[end + -end % ALIGNMENT :].toreadonly()


def _array(arrays: memoryview, dtype_name: str, place: int, shape: list[int]) -> npt.NDArray[Any]:
    """Only dtypes and extents that the frame really holds are believed, before anything is allocated."""
    dtype = _dtype(dtype_name)
    if len(shape) > _MAX_DIMENSIONS or place < 0:  # first: the product of many large numbers takes for ever
        raise ValueError("an array claims an impossible shape")
    count = 1
    for extent in shape:
        if extent < 0:
            raise ValueError("an array claims an impossible shape")
        count *= extent
    if place + count * dtype.itemsize > len(arrays):
        raise ValueError("an array reaches past the frame's end")
    if not count:
        return np.empty(shape, dtype)
    flat = np.frombuffer(arrays, dtype, count, place)
    if not flat.flags.aligned:
        flat = flat.copy()
    return flat if len(shape) == 1 else flat.reshape(shape)


def _only_arrays(kind: type[Any], value: object) -> object:
    if isinstance(value, np.ndarray):
        return value
    raise ValueError(f"expected {getattr(kind, '__name__', kind)}, got {type(value).__name__}")
