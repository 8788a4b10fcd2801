"""What the two delivery classes promise, over simulated links of every kind."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import TransportError
from estran.platforms.emulated.links.relay_core import stream_wire_size
from estran.runtime.acknowledged import MAX_UNSENT
from estran.runtime.transport import ChannelSpec, Delivered, Receiver, Sender
from estran.spec.model import LinkSpec
from tests.platforms.simulated.lines import UNSHAPED, Hands, Link, play

LINKS = st.builds(
    LinkSpec,
    delay=st.sampled_from([0.0, 0.001, 0.04]),
    jitter=st.sampled_from([0.0, 0.002]),
    rate=st.sampled_from([None, 2e6, 100e6]),
    loss=st.sampled_from([0.0, 0.02]),
)
FRAMES = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.003, 0.05]), st.integers(1, 40_000)), min_size=1, max_size=30)
SLOW = settings(max_examples=50, deadline=None)


async def ends(link: Link, delivery: str, capacity: int = 64) -> tuple[Sender, Receiver]:
    spec = ChannelSpec(f"a/{delivery}", delivery, capacity)  # type: ignore[arg-type]
    return await link.transport().sender(spec), await link.transport().receiver(spec)


def now() -> float:
    return asyncio.get_running_loop().time()


@SLOW
@given(LINKS, FRAMES, st.integers(1, 8), st.floats(0, 0.02))
def test_acknowledged_loses_nothing_and_keeps_order(
    shape: LinkSpec, frames: list[tuple[float, int]], capacity: int, work: float
) -> None:
    async def scene() -> None:
        link = Link(shape)
        sender, receiver = await ends(link, "acknowledged", capacity)
        sent: list[float] = []
        done = 0

        async def produce() -> None:
            for number, (gap, size) in enumerate(frames):
                await asyncio.sleep(gap)
                assert await sender.send([number.to_bytes(4, "big"), bytes(size)]) == number
                assert number - done < capacity  # word of what is done takes its time, but never comes early
                sent.append(now())
            await sender.drain()
            assert done == len(frames)

        async def consume() -> None:
            nonlocal done
            for number, (_, size) in enumerate(frames):
                got = await receiver.receive()
                assert (got.seq, bytes(got.data)) == (number, number.to_bytes(4, "big") + bytes(size))
                assert got.received >= sent[number] + (0 if shape.jitter else shape.delay) - 1e-9
                assert got.received <= now() + 1e-9
                await asyncio.sleep(work)
                receiver.done(got.seq)
                done += 1

        await asyncio.gather(produce(), consume())
        assert link.hands.sent == link.hands.received == len(frames)

    play(scene())


@SLOW
@given(LINKS, FRAMES, st.floats(0, 0.05))
def test_latest_hands_out_ever_newer_frames_and_the_newest_in_the_end(
    shape: LinkSpec, frames: list[tuple[float, int]], work: float
) -> None:
    async def scene() -> None:
        link = Link(shape)
        sender, receiver = await ends(link, "latest")
        seen: list[int] = []

        async def produce() -> None:
            for number, (gap, size) in enumerate(frames):
                await asyncio.sleep(gap)
                before = now()
                await sender.send([bytes(size)])
                assert now() == before, f"frame {number} was held back"
            await sender.drain()

        async def consume() -> None:
            while not seen or seen[-1] < len(frames) - 1:
                got = await receiver.receive()
                assert len(got.data) == frames[got.seq][1]
                seen.append(got.seq)
                receiver.done(got.seq)
                await asyncio.sleep(work)

        await asyncio.gather(produce(), consume())
        assert seen == sorted(set(seen))
        dropped = link.find(ChannelSpec("a/latest", "latest", 64)).channel.stats["dropped"]
        assert len(seen) + dropped == len(frames)

    play(scene())


@pytest.mark.parametrize("capacity", [1, 5, 64])
def test_a_fast_producer_is_held_back_at_capacity(capacity: int) -> None:
    async def scene() -> None:
        sender, receiver = await ends(Link(LinkSpec(delay=0.01)), "acknowledged", capacity)
        taken = 0

        async def produce() -> None:
            nonlocal taken
            while True:
                await sender.send([b"x"])
                taken += 1

        producing = asyncio.ensure_future(produce())
        await asyncio.sleep(1)
        assert taken == capacity
        for _ in range(capacity):
            receiver.done((await receiver.receive()).seq)
        await asyncio.sleep(0.009)
        assert taken == capacity  # word of it is still on its way
        await asyncio.sleep(0.002)
        assert taken == 2 * capacity
        producing.cancel()

    play(scene())


def test_a_fast_producer_is_held_back_by_unsent_bytes() -> None:
    async def scene() -> None:
        sender, _ = await ends(Link(LinkSpec(rate=1e6)), "acknowledged", 10**6)
        taken = 0

        async def produce() -> None:
            nonlocal taken
            while True:
                await sender.send([bytes(10_000)])
                taken += 1

        producing = asyncio.ensure_future(produce())
        await asyncio.sleep(0.001)
        at_first = taken
        assert MAX_UNSENT <= at_first * 10_000 <= MAX_UNSENT + (256 << 10)  # its buffers, and what is under way
        await asyncio.sleep(10)
        carried = 10 * 1e6 / 8
        assert (taken - at_first) * 10_000 == pytest.approx(carried, rel=0.5)
        producing.cancel()

    play(scene())


@pytest.mark.parametrize("link", [LinkSpec(delay=0.01, rate=10e6), LinkSpec(delay=0.04, rate=50e6)], ids=str)
def test_an_acknowledged_stream_fills_its_line(link: LinkSpec) -> None:
    async def scene() -> float:
        sender, receiver = await ends(Link(link), "acknowledged", 1000)

        async def produce() -> None:
            for _ in range(400):
                await sender.send([bytes(50_000)])

        async def consume() -> float:
            for _ in range(400):
                got: Delivered = await receiver.receive()
                receiver.done(got.seq)
            return got.received

        return (await asyncio.gather(produce(), consume()))[1]

    ideal = link.delay + 8 * stream_wire_size(400 * 50_000)[0] / (link.rate or 1)
    assert 0.999 * ideal <= play(scene()) <= 1.02 * ideal + 6 * 2 * link.delay  # its window opens first


def test_latest_supersedes_what_the_line_has_not_taken() -> None:
    async def scene() -> list[int]:
        sender, receiver = await ends(Link(LinkSpec(rate=1e6)), "latest")
        seen: list[int] = []

        async def consume() -> None:
            while True:
                seen.append((await receiver.receive()).seq)

        consuming = asyncio.ensure_future(consume())
        for _ in range(300):  # 50 ms of the line each, ten times as fast
            await sender.send([bytes(6000)])
            await asyncio.sleep(0.005)
        await sender.drain()
        consuming.cancel()
        return seen

    seen = play(scene())
    assert seen[-1] == 299
    assert 20 < len(seen) < 60


def test_what_a_message_takes_beside_the_network_is_added_once() -> None:
    async def scene() -> tuple[float, float]:
        hands = Hands(more=0.003, notice=0.002)
        sender, receiver = await ends(Link(LinkSpec(delay=0.01), hands=hands), "acknowledged")
        await sender.send([b"x"])
        got = await receiver.receive()
        return got.received, now()

    assert play(scene()) == pytest.approx((0.013, 0.015))


def test_a_channel_within_a_host_takes_no_network() -> None:
    async def scene() -> float:
        link = Link(UNSHAPED, local=True)
        sender, receiver = await ends(link, "acknowledged")
        await sender.send([bytes(1 << 20)])
        await receiver.receive()
        assert link.network.counted("near").sent == 0
        return now()

    assert play(scene()) == 0.0


def test_interfaces_count_every_byte_once() -> None:
    async def scene() -> None:
        link = Link(LinkSpec(delay=0.01))
        sender, receiver = await ends(link, "acknowledged")
        for _ in range(10):
            await sender.send([bytes(1000)])
            receiver.done((await receiver.receive()).seq)
            await asyncio.sleep(0.1)
        near, far = link.network.counted("near"), link.network.counted("far")
        assert (near.sent, near.received) == (far.received, far.sent)
        assert 10_000 < near.sent < 13_000
        assert 0 < near.received < 3_000

    play(scene())


def test_closed_ends_refuse_and_a_closed_receiver_may_be_opened_again() -> None:
    async def scene() -> None:
        link = Link(LinkSpec(delay=0.01))
        spec = ChannelSpec("again", "acknowledged", 8)
        sender = await link.transport().sender(spec)
        async with link.transport() as first:
            old = await first.receiver(spec)
            await sender.send([b"one"])
            got = await old.receive()
            old.done(got.seq)
            with pytest.raises(TransportError, match="has not come"):
                old.done(7)
        with pytest.raises(TransportError, match="closed"):
            await old.receive()
        await sender.send([b"two"])
        new = await link.transport().receiver(spec)
        assert bytes((await new.receive()).data) == b"two"

    play(scene())
