"""The delivery protocols under random misfortune, in virtual time: what they promise holds, and they come to an end."""

from __future__ import annotations

import asyncio
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from estran.runtime.memory_transport import MemoryNetwork, MemoryTransport
from estran.runtime.transport import ChannelSpec, Receiver
from tests.runtime import virtual_time

MINUTES = 600.0

networks = st.fixed_dictionaries(
    {
        "delay": st.sampled_from([0.0, 0.001, 0.04, 0.3]),
        "jitter": st.sampled_from([0.0, 0.0, 0.01, 0.2]),
        "loss": st.sampled_from([0.0, 0.01, 0.1, 0.4]),
        "duplication": st.sampled_from([0.0, 0.1, 0.5]),
        "rate": st.sampled_from([None, None, 1e5, 1e7]),
    }
)
sizes = st.lists(st.one_of(st.integers(0, 300), st.sampled_from([59_990, 60_000, 60_001, 150_000])), min_size=1, max_size=60)
cuts = st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.1, 25.0)), max_size=3)
seeds = st.integers(0, 2**32 - 1)
thorough = settings(
    max_examples=40,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)


def body(number: int, size: int) -> bytes:
    return number.to_bytes(4, "little") + bytes(size)


async def trouble(net: MemoryNetwork, cuts: list[tuple[float, float]]) -> None:
    for wait, length in cuts:
        await asyncio.sleep(wait)
        net.cut()
        await asyncio.sleep(length)
        net.restore()


@thorough
@given(networks, sizes, cuts, st.integers(1, 16), st.sampled_from([0.0, 0.0, 0.05]), seeds)
def test_acknowledged_loses_repeats_and_reorders_nothing(
    network: dict[str, float], sizes: list[int], cuts: list[tuple[float, float]], capacity: int, work: float, seed: int
) -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(np.random.default_rng(seed), **network)
        spec = ChannelSpec("stream", "acknowledged", capacity)
        async with net.transport(clock) as producer, net.transport(clock) as consumer:
            sender, receiver = await producer.sender(spec), await consumer.receiver(spec)

            async def produce() -> None:
                for number, size in enumerate(sizes):
                    assert await sender.send([body(number, size)]) == number
                await sender.drain()

            async def consume() -> None:
                for number, size in enumerate(sizes):
                    got = await receiver.receive()
                    assert (got.seq, got.data) == (number, body(number, size))
                    await asyncio.sleep(work)
                    receiver.done(got.seq)

            disturbing = asyncio.ensure_future(trouble(net, cuts))
            async with asyncio.timeout(MINUTES):
                await asyncio.gather(produce(), consume())
            assert receiver.receive_nowait() is None
            disturbing.cancel()

    virtual_time.run(main())


@thorough
@given(
    networks,
    st.lists(st.tuples(st.floats(0, 0.2), st.sampled_from([10, 500, 40_000, 100_000])), min_size=1, max_size=40),
    cuts,
    seeds,
)
def test_latest_rises_and_ends_with_the_newest(
    network: dict[str, float], frames: list[tuple[float, int]], cuts: list[tuple[float, float]], seed: int
) -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(np.random.default_rng(seed), **network)
        spec = ChannelSpec("state", "latest")
        async with net.transport(clock) as producer, net.transport(clock) as consumer:
            sender, receiver = await producer.sender(spec), await consumer.receiver(spec)

            async def produce() -> None:
                for number, (wait, size) in enumerate(frames):
                    await asyncio.sleep(wait)
                    await sender.send([body(number, size)])
                await sender.drain()

            async def consume() -> int:
                seen = -1
                while seen < len(frames) - 1:
                    got = await receiver.receive()
                    assert got.seq > seen
                    assert got.data == body(got.seq, frames[got.seq][1])
                    seen = got.seq
                return seen

            disturbing = asyncio.ensure_future(trouble(net, cuts))
            async with asyncio.timeout(MINUTES):
                await asyncio.gather(produce(), consume())
            disturbing.cancel()

    virtual_time.run(main())


@thorough
@given(networks, st.integers(20, 150), st.integers(1, 16), st.lists(st.floats(0.01, 2.0), min_size=1, max_size=4), seeds)
def test_a_restarted_receiver_loses_nothing_and_repeats_a_window_at_most(
    network: dict[str, float], count: int, capacity: int, kills: list[float], seed: int
) -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(np.random.default_rng(seed), **network)
        spec = ChannelSpec("stream", "acknowledged", capacity)
        lives: list[list[int]] = []

        async def live(receiver: Receiver) -> None:
            processed: list[int] = []
            lives.append(processed)
            while True:
                got = await receiver.receive()
                assert got.data == body(got.seq, got.seq % 90)
                await asyncio.sleep(0.01)
                processed.append(got.seq)
                receiver.done(got.seq)

        async def restart() -> None:
            for wait in [*kills, MINUTES]:
                transport = net.transport(clock)
                life = asyncio.ensure_future(live(await transport.receiver(spec)))
                await asyncio.sleep(wait)
                life.cancel()
                transport.kill()

        async with net.transport(clock) as producer:
            sender = await producer.sender(spec)
            restarting = asyncio.ensure_future(restart())
            async with asyncio.timeout(MINUTES):
                for number in range(count):
                    await sender.send([body(number, number % 90)])
                await sender.drain()
            restarting.cancel()
        assert set().union(*lives) == set(range(count)), "lost"
        for processed in lives:
            assert processed == sorted(set(processed)), "reordered or repeated within one life"
        before = -1
        for processed in lives:
            assert sum(number <= before for number in processed) <= capacity, "repeated more than a window"
            before = max([before, *processed])

    virtual_time.run(main())


@thorough
@given(networks, st.lists(st.integers(1, 40), min_size=2, max_size=4), st.floats(0.0, 1.0), seeds)
def test_a_restarted_sender_begins_anew(network: dict[str, float], counts: list[int], pause: float, seed: int) -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(np.random.default_rng(seed), **network)
        spec = ChannelSpec("stream", "acknowledged", 8)
        got: list[tuple[int, int]] = []

        async def consume(receiver: Receiver) -> None:
            while True:
                frame = await receiver.receive()
                got.append((frame.data[0], frame.seq))
                await asyncio.sleep(0.005)
                receiver.done(frame.seq)

        async with net.transport(clock) as consumer, asyncio.timeout(MINUTES):
            consuming = asyncio.ensure_future(consume(await consumer.receiver(spec)))
            for life, count in enumerate(counts):
                producer: MemoryTransport = net.transport(clock)
                sender = await producer.sender(spec)
                for _ in range(count):
                    await sender.send([bytes([life])])
                if life == len(counts) - 1:
                    await sender.drain()
                else:
                    await asyncio.sleep(pause)
                producer.kill()
            consuming.cancel()
        assert got == sorted(got), "a former life came after a later one"
        assert len(got) == len(set(got)), "repeated"
        for life in range(len(counts)):
            mine = [seq for owner, seq in got if owner == life]
            assert mine == list(range(len(mine))), "a hole"
        assert sum(owner == len(counts) - 1 for owner, _ in got) == counts[-1], "the last life lost frames"

    virtual_time.run(main())


def test_a_restarted_receiver_gets_the_newest_state_again() -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(delay=0.01)
        spec = ChannelSpec("state", "latest")
        async with net.transport(clock) as producer, asyncio.timeout(5):
            sender = await producer.sender(spec)
            await sender.send([b"old"])
            await sender.send([b"new"])
            for _ in range(3):
                async with net.transport(clock) as consumer:
                    receiver = await consumer.receiver(spec)
                    assert bytes((await receiver.receive()).data) == b"new"

    virtual_time.run(main())


@pytest.mark.parametrize("delivery", ["acknowledged", "latest"])
def test_who_sends_learns_of_a_receiver_that_knows_less(delivery: Literal["acknowledged", "latest"]) -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(delay=0.01)
        spec = ChannelSpec("stream", delivery)
        renewed: list[float] = []
        async with net.transport(clock) as producer, asyncio.timeout(MINUTES):
            sender = await producer.sender(spec)
            sender.on_renewal(lambda: renewed.append(clock.now()))
            first = net.transport(clock)
            receiver = await first.receiver(spec)
            for _ in range(2):
                await sender.send([b"x"])
                receiver.done((await receiver.receive()).seq)
                await sender.drain()
            assert renewed == [], "nothing was missed yet"
            first.kill()
            async with net.transport(clock) as second:
                await second.receiver(spec)
                await asyncio.sleep(5.0)
                assert len(renewed) == 1

    virtual_time.run(main())


def test_a_receiver_that_has_everything_again_is_no_news() -> None:
    """What nobody had processed is repeated, all of it."""

    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork()
        spec = ChannelSpec("stream", "acknowledged")
        renewed: list[float] = []
        async with net.transport(clock) as producer, asyncio.timeout(MINUTES):
            sender = await producer.sender(spec)
            sender.on_renewal(lambda: renewed.append(clock.now()))
            for _ in range(3):
                await sender.send([b"x"])
            first = net.transport(clock)
            await (await first.receiver(spec)).receive()
            first.kill()
            async with net.transport(clock) as second:
                receiver = await second.receiver(spec)
                assert [(await receiver.receive()).seq for _ in range(3)] == [0, 1, 2]
                assert renewed == []

    virtual_time.run(main())


def test_the_first_message_follows_a_restored_link_within_a_second() -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(delay=0.02)
        spec = ChannelSpec("stream", "acknowledged", 16)
        async with net.transport(clock) as producer, net.transport(clock) as consumer:
            sender, receiver = await producer.sender(spec), await consumer.receiver(spec)
            await sender.ready()
            for outage in (0.5, 5.0, 20.0, 300.0):
                net.cut()
                await sender.send([b"x"])
                await asyncio.sleep(outage)
                net.restore()
                restored = clock.now()
                got = await receiver.receive()
                receiver.done(got.seq)
                assert clock.now() - restored <= 0.6
                await sender.drain()

    virtual_time.run(main())


def test_latest_fills_a_long_link_without_queueing_on_it() -> None:
    """1 MB/s and 200 ms there and back: one frame of 1 kB per round trip would be 5 per second."""

    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(delay=0.1, rate=1e6)
        spec = ChannelSpec("state", "latest")
        ages = []
        async with net.transport(clock) as producer, net.transport(clock) as consumer:
            sender, receiver = await producer.sender(spec), await consumer.receiver(spec)

            async def produce() -> None:
                while True:
                    await sender.send([int(clock.now() * 1e6).to_bytes(8, "little"), bytes(1000)])
                    await asyncio.sleep(0.0005)

            producing = asyncio.ensure_future(produce())
            while clock.now() < 8:
                got = await receiver.receive()
                ages.append(clock.now() - int.from_bytes(got.data[:8], "little") * 1e-6)
            producing.cancel()
            assert producer.stats()["state"]["dropped"] > 0
        assert len(ages) / 8 > 600, f"{len(ages) / 8:.0f} frames per second of about 930 that fit"
        assert float(np.median(ages)) < 0.35, f"the median frame was {np.median(ages):.2f} s old after 0.1 s of link"

    virtual_time.run(main())


def test_a_slow_link_is_not_flooded_with_copies() -> None:
    async def main() -> None:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(delay=0.01, rate=20_000)
        spec = ChannelSpec("stream", "acknowledged", 64)
        async with net.transport(clock) as producer, net.transport(clock) as consumer:
            sender, receiver = await producer.sender(spec), await consumer.receiver(spec)

            async def consume() -> None:
                for _ in range(5):
                    receiver.done((await receiver.receive()).seq)

            consuming = asyncio.ensure_future(consume())
            for _ in range(5):
                await sender.send([bytes(100_000)])
            await sender.drain()
            await consuming
            assert clock.now() < 27, "500 kB at 20 kB/s take 25 s"
            assert producer.stats()["stream"]["retransmitted"] == 0

    virtual_time.run(main())
