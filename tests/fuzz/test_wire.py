"""Hostile peers of streams: whatever datagrams come, nothing is raised, nothing blocks, and memory stays bounded. See `hostile`."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import TransportError
from estran.runtime import inbound, wire
from estran.runtime.acknowledged import AcknowledgedReceiver, AcknowledgedSender
from estran.runtime.lane import (
    ACK,
    CHUNK,
    DATA,
    FORWARD_SIZE,
    GREETING,
    HELLO,
    HIGHEST,
    PROBE,
    Arrival,
    Backward,
    Datagram,
    pack_backward,
    pack_forward_into,
)
from estran.runtime.latest import LatestReceiver, LatestSender
from estran.runtime.message import Story
from estran.runtime.transport import ChannelSpec
from tests.runtime import virtual_time

from .hostile import bounded, examples, mutated_bytes

NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 7, 100, 2**16, 2**31, 2**32 - 1, HIGHEST - 1, HIGHEST, HIGHEST + 1, 2**63, 2**64 - 1]
) | st.integers(0, 12)
PEER, OWN = 1000, 2000


class HostileLane:
    """A lane whose other end is the test."""

    backlog = 0

    def __init__(self) -> None:
        self.said: list[bytes] = []

    def put(self, datagram: Datagram) -> None:
        self.said.append(bytes(datagram))

    def flying(self, size: int) -> None: ...

    def listen(self, arrived: Callable[[Sequence[Arrival]], None], room: Callable[[], None]) -> None:
        self.arrived, self.room = arrived, room

    def close(self) -> None: ...

    def hear(self, *datagrams: bytes) -> None:
        self.arrived([(datagram, 0.0) for datagram in datagrams])


def forward(
    kind: int,
    flags: int = 0,
    frames: int = 1,
    sender: int = PEER,
    receiver: int = OWN,
    transmission: int = 1,
    number: int = 0,
    first: int = 0,
    offset: int = 0,
    total: int = 0,
    body: bytes = b"",
) -> bytes:
    packet = bytearray(FORWARD_SIZE)
    pack_forward_into(packet, 0, kind, flags, 0, frames, sender, receiver, transmission, number, first, offset, total)
    return bytes(packet) + body


def data(number: int, first: int, body: bytes = b"12345678") -> bytes:
    return forward(DATA, number=number, first=first, transmission=number + 1, body=body + struct.pack("<I", len(body)))


FORWARDS = st.builds(
    forward,
    kind=st.sampled_from([GREETING, DATA, DATA, DATA, PROBE, 0, 77]),
    flags=st.integers(0, 7),
    frames=NUMBERS.map(lambda n: n % 2**32),
    sender=st.sampled_from([PEER, PEER, 0, PEER + 1, 2**64 - 1]),
    receiver=st.sampled_from([OWN, OWN, 0, 2**64 - 1]),
    transmission=NUMBERS,
    number=NUMBERS,
    first=NUMBERS,
    offset=NUMBERS,
    total=NUMBERS,
    body=st.sampled_from([b"", b"\0" * 4, b"1234" + struct.pack("<I", 4), b"x" * 1000, b"\0" * 4000]),
).flatmap(lambda whole: st.one_of(st.just(whole), st.just(whole), mutated_bytes(whole)))
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5).map(tuple)
BACKWARDS = st.builds(
    lambda kind, flags, held, sender, receiver, transmission, received, processed, ranges: pack_backward(
        Backward(kind, flags, held, sender, receiver, transmission, received, processed, ranges)
    ),
    st.sampled_from([ACK, ACK, ACK, HELLO]),
    st.integers(0, 3),
    NUMBERS.map(lambda n: n % 2**32),
    st.sampled_from([OWN, OWN, 0, 2**64 - 1]),
    st.sampled_from([PEER, PEER, PEER + 1, 0, 2**64 - 1]),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    RANGES,
).flatmap(lambda whole: st.one_of(st.just(whole), st.just(whole), mutated_bytes(whole)))


def run(main: Callable[[], Any]) -> None:
    """On a virtual clock; what a callback raises is raised."""
    raised: list[Any] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        await main()

    with bounded():
        virtual_time.run(watched())
        assert not raised, raised[0]


@examples(60)
@given(
    kind=st.sampled_from([AcknowledgedReceiver, LatestReceiver]),
    datagrams=st.lists(FORWARDS, max_size=12),
    capacity=st.integers(1, 4),
)
def test_a_receiver_hears_anything(kind: Any, datagrams: list[bytes], capacity: int) -> None:
    async def main() -> None:
        lane = HostileLane()
        receiver = kind(lane, ChannelSpec("a", "acknowledged", capacity), virtual_time.VirtualClock(), OWN)
        lane.hear(forward(GREETING, receiver=0))
        for datagram in datagrams:
            lane.hear(datagram)
            await asyncio.sleep(0.02)
            if (frame := receiver.receive_nowait()) is not None:
                receiver.done(frame.seq)
        assert len(lane.said) <= 4 * len(datagrams) + 10
        receiver.close()

    run(main)


@examples(60)
@given(kind=st.sampled_from([AcknowledgedSender, LatestSender]), datagrams=st.lists(BACKWARDS, max_size=12))
def test_a_sender_hears_anything(kind: Any, datagrams: list[bytes]) -> None:
    async def main() -> None:
        lane = HostileLane()
        sender = kind(lane, ChannelSpec("a", "acknowledged", 8), virtual_time.VirtualClock(), OWN)
        lane.hear(pack_backward(Backward(HELLO, 0, 0, OWN, PEER, 0, 0, 0, ())))
        for datagram in datagrams:
            if kind is LatestSender or sender.has_room(100):
                await sender.send([b"x" * 100])
            lane.hear(datagram)
            await asyncio.sleep(0.02)
        assert sum(map(len, lane.said)) < 1 << 20
        sender.close()

    run(main)


def test_what_is_sent_beyond_the_window_is_not_kept() -> None:
    async def main() -> None:
        lane, capacity = HostileLane(), 8
        receiver = AcknowledgedReceiver(lane, ChannelSpec("a", "acknowledged", capacity), virtual_time.VirtualClock(), OWN)
        lane.hear(forward(GREETING, receiver=0))
        for number in range(1000):
            lane.hear(data(number, number))
        assert receiver.counters()["frames"] == 2 * capacity
        assert receiver.counters()["refused"] > 0
        taken = 0
        while (frame := receiver.receive_nowait()) is not None:
            receiver.done(frame.seq)
            taken += 1
            lane.hear(*(data(number, number) for number in range(1000)))  # it comes again, and is taken as there is room
            if taken > 500:
                break
        assert taken > 500
        receiver.close()

    run(main)


def test_incarnations_without_end_are_not_kept() -> None:
    async def main() -> None:
        lane, capacity = HostileLane(), 8
        receiver = AcknowledgedReceiver(lane, ChannelSpec("a", "acknowledged", capacity), virtual_time.VirtualClock(), OWN)
        for life in range(1000):
            lane.hear(forward(GREETING, receiver=0, sender=PEER + life))
            lane.hear(
                *(forward(DATA, sender=PEER + life, number=n, first=n, body=b"x" + struct.pack("<I", 1)) for n in range(capacity))
            )
        assert receiver.counters()["frames"] <= 20 * 2 * capacity
        receiver.close()

    run(main)


def test_segments_ahead_of_their_turn_are_kept_up_to_a_limit() -> None:
    async def main() -> None:
        lane = HostileLane()
        receiver = AcknowledgedReceiver(lane, ChannelSpec("a", "acknowledged", 8), virtual_time.VirtualClock(), OWN)
        lane.hear(forward(GREETING, receiver=0))
        for number in range(1, 200):
            lane.hear(forward(DATA, number=number, body=bytes(1 << 20)))
        assert receiver._inbound._ahead_bytes <= inbound._MAX_AHEAD_BYTES
        receiver.close()

    run(main)


def test_a_frame_without_end_is_not_put_together() -> None:
    async def main() -> None:
        lane = HostileLane()
        receiver = AcknowledgedReceiver(lane, ChannelSpec("a", "acknowledged", 8), virtual_time.VirtualClock(), OWN)
        lane.hear(forward(GREETING, receiver=0))
        for number in range(1000):
            lane.hear(
                forward(
                    DATA, CHUNK, number=number, offset=0 if number == 0 else 4, total=HIGHEST, body=b"1234" if number == 0 else b""
                )
            )
        assert len(receiver._inbound._assembly._pieces) <= 1
        receiver.close()

    run(main)


def test_acknowledgements_of_the_future_change_nothing() -> None:
    async def main() -> None:
        lane = HostileLane()
        sender = AcknowledgedSender(lane, ChannelSpec("a", "acknowledged", 4), virtual_time.VirtualClock(), OWN)
        lane.hear(pack_backward(Backward(HELLO, 0, 0, OWN, PEER, 0, 0, 0, ())))
        for _ in range(4):
            await sender.send([b"x"])
        await asyncio.sleep(0.01)
        lane.hear(pack_backward(Backward(ACK, 0, 0, OWN, PEER, 1, 2**63, 2**63, ((0, 2**64 - 1),) * 60)))
        assert sender._outbound.processed == 4
        assert not sender._outbound._kept
        for _ in range(4):
            assert sender.has_room(1)
            await sender.send([b"x"])
        assert not sender.has_room(1)  # the window is what it was
        sender.close()

    run(main)


def test_a_receiver_that_never_has_the_first_does_not_make_the_sender_keep_all() -> None:
    async def main() -> None:
        lane = HostileLane()
        sender = AcknowledgedSender(lane, ChannelSpec("a", "acknowledged", 4), virtual_time.VirtualClock(), OWN)
        lane.hear(pack_backward(Backward(HELLO, 0, 0, OWN, PEER, 0, 0, 0, ())))
        for number in range(1, 500):
            await sender.send([b"x" * 1000])
            await asyncio.sleep(0.001)
            lane.hear(pack_backward(Backward(ACK, 0, 0, OWN, PEER, number, 0, number, ((1, number),))))
        assert len(sender._outbound._kept) <= 4
        sender.close()

    run(main)


@dataclass
class Payload:
    x: np.ndarray[Any, Any]
    name: str
    parts: list[dict[str, float]]


FRAME = b"".join(
    bytes(part)
    for part in wire.encode(
        Payload(np.arange(2000.0).reshape(20, 100), "n", [{"a": 1.0}]), Story("trace", 1.0, "stream", "origin", 3, 1.5, version=2)
    )
)


def test_an_array_of_very_many_extents_is_refused_at_once() -> None:
    array = msgspec.msgpack.Ext(wire._ARRAY, msgspec.msgpack.encode(("<f8", 0, [2**62] * 150_000)))
    story = ("trace", 1.0, "stream", "origin", 3, 1.5, None)
    header = msgspec.msgpack.encode((story, {"x": array, "name": "n", "parts": []}))
    frame = wire._PREFIX.pack(wire.MAGIC, len(header)) + header
    with bounded(seconds=2), pytest.raises(TransportError, match="impossible shape"):
        wire.decode(memoryview(frame), Payload)


@examples(120)
@given(frame=mutated_bytes(FRAME))
def test_damaged_frames(frame: bytes) -> None:
    with bounded(memory=64 << 20):
        try:
            wire.decode(memoryview(frame), Payload)
        except TransportError:
            return
