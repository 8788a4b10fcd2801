"""The small seam under the delivery protocols: one end of a pair that passes datagrams, and the datagrams' layout.

A lane may lose, duplicate and reorder whatever it is given; the protocols above it repair that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

Datagram: TypeAlias = "bytes | bytearray"
Arrival: TypeAlias = "tuple[bytes, float]"
"""A datagram, and the clock's reading when it came in."""


class Lane(Protocol):
    """One end of a channel's way through the network."""

    @property
    def backlog(self) -> int:
        """Bytes that were put and that the network has not taken yet."""
        ...

    def put(self, datagram: Datagram) -> None:
        """Pass it to the peer, perhaps; never blocks. The datagram is the lane's from now on and is not changed any more."""
        ...

    def flying(self, size: int) -> None:
        """Note that this many bytes more (fewer, if negative) are between the two ends."""
        ...

    def listen(self, arrived: Callable[[Sequence[Arrival]], None], room: Callable[[], None]) -> None:
        """Have ``arrived`` called on the event loop with datagrams, and ``room`` when the backlog shrinks or the peer appears."""
        ...

    def close(self) -> None:
        """Let go of everything at once; what is under way may be lost."""
        ...


# Producer to consumer -------------------------------------------------------------------------------------------------------------

GREETING, DATA, PROBE = 1, 2, 3
"""*greeting*: a sender's incarnation introduces itself, and the later one counts; *data*: one segment; *probe*: answer at once,
whatever has come before."""

REQUEST, CHUNK, VOID = 1, 2, 4
"""Flags of data. *request*: acknowledge at once; *chunk*: part of a large frame; *void*: the frame that was here is obsolete."""

_FORWARD = struct.Struct("<BBHIQQQQQQQ")
FORWARD_SIZE = _FORWARD.size
pack_forward_into = _FORWARD.pack_into

HIGHEST = 1 << 62
"""Numbers of frames, segments and bytes beyond this are none: what is counted up from them still fits its field."""


class Forward(NamedTuple):
    """Header of every datagram to the consumer; ``sender`` and ``receiver`` are the incarnations it is meant for."""

    kind: int
    flags: int
    reserved: int
    frames: int
    sender: int
    receiver: int
    transmission: int
    number: int
    first: int
    offset: int
    total: int


def parse_forward(datagram: bytes) -> Forward | None:
    """The header, or None if that is none."""
    if len(datagram) < FORWARD_SIZE or not GREETING <= datagram[0] <= PROBE:
        return None
    header = Forward._make(_FORWARD.unpack_from(datagram))
    return header if max(header[6:]) <= HIGHEST else None


# Consumer to producer -------------------------------------------------------------------------------------------------------------

HELLO, ACK = 8, 9
"""*hello*: an incarnation of the receiver that knows no sender yet introduces itself; *ack*: what has come and what is done."""

PROBED, AHEAD = 1, 2
"""Flags of an ack. *probed*: it answers a probe; *ahead*: frames may be sent beyond the window."""

MAX_RANGES = 64
_BACKWARD = struct.Struct("<BBHIQQQQQ")
_RANGE = struct.Struct("<QQ")


class Backward(NamedTuple):
    """What the consumer's end says.

    Attributes
    ----------
    held_us
        Microseconds between the arrival of ``transmission``, the latest one seen, and this answer.
    received
        Every segment below this number is there.
    processed
        Every frame below this sequence number has been processed.
    ranges
        Segments that are there beyond ``received``, as half-open ranges.
    """

    kind: int
    flags: int
    held_us: int
    sender: int
    receiver: int
    transmission: int
    received: int
    processed: int
    ranges: tuple[tuple[int, int], ...]


def pack_backward(answer: Backward) -> bytes:
    """The datagram that says this."""
    ranges = answer.ranges[:MAX_RANGES]
    _, _, *fields, _ = answer
    head = _BACKWARD.pack(answer.kind, answer.flags, len(ranges), *fields)
    return head + b"".join(_RANGE.pack(*span) for span in ranges)


def parse_backward(datagram: bytes) -> Backward | None:
    """What was said, or None if that is no answer."""
    if len(datagram) < _BACKWARD.size or datagram[0] not in (HELLO, ACK):
        return None
    kind, flags, count, held_us, sender, receiver, transmission, received, processed = _BACKWARD.unpack_from(datagram)
    if count > MAX_RANGES or len(datagram) != _BACKWARD.size + count * _RANGE.size:
        return None
    ranges = tuple(_RANGE.iter_unpack(datagram[_BACKWARD.size :])) if count else ()
    return Backward(kind, flags, held_us, sender, receiver, transmission, received, processed, ranges)
