"""What any `Transport` must do, as plain coroutines; each raises AssertionError and says what it saw.

    for check in CHECKS:
        await check(pair)

``pair`` opens two connected transports of the kind in question, the producer's and the consumer's:

    @asynccontextmanager
    async def pair():
        async with MyTransport(...) as producer, MyTransport(...) as consumer:
            yield producer, consumer
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, TypeAlias

from estran.errors import TransportError
from estran.runtime.transport import ChannelSpec, Delivered, Receiver, Sender, Transport

Pair: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[Transport, Transport]]]
Check: TypeAlias = Callable[[Pair], Awaitable[None]]

PATIENCE: Final = 30.0
"""Seconds after which a check takes it that nothing comes any more."""
TRIES: Final = 100
"""Looks at what has come, a tenth of a second apart."""


async def ends(
    producer: Transport, consumer: Transport, delivery: Literal["latest", "acknowledged"], *, key: str = "check", capacity: int = 64
) -> tuple[Sender, Receiver]:
    """Both ends of one channel."""
    channel = ChannelSpec(f"{key}/{delivery}", delivery, capacity)
    return await producer.sender(channel), await consumer.receiver(channel)


async def connected_when_all_consumers_are(pair: Pair) -> None:
    """`Transport.connected` returns when the consumer's end of the last channel that is sent on is open, and no earlier."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        await consumer.connected()
        first, second = (ChannelSpec(f"connected/{name}", "acknowledged", 8) for name in ("first", "second"))
        await producer.sender(first)
        await producer.sender(second)
        await consumer.receiver(first)
        waiting = asyncio.ensure_future(producer.connected())
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done, "the transport said that it was connected while a consumer's end was still to be opened"
        await consumer.receiver(second)
        await waiting


async def order_without_loss(pair: Pair) -> None:
    """Frames of many sizes are received once each, in order, byte for byte."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged")
        frames = [_frame(number, size) for number, size in enumerate((*range(0, 300, 3), 5_000, 59_999, 60_001, 200_000, 7) * 2)]

        async def produce() -> None:
            for number, frame in enumerate(frames):
                seq = await sender.send([frame[: number % 5], memoryview(frame)[number % 5 :]])
                assert seq == number, f"frame {number} was given sequence number {seq}"
            await sender.drain()

        async def consume() -> None:
            for number, frame in enumerate(frames):
                got = await receiver.receive()
                assert got.seq == number, f"frame {number} was expected, {got.seq} came: lost, repeated or out of order"
                assert got.data == frame, f"frame {number} of {len(frame)} bytes came changed, with {len(got.data)} bytes"
                receiver.done(got.seq)

        await _together(produce(), consume())


async def receiver_after_sender(pair: Pair) -> None:
    """Frames sent before the consumer opens its end wait for it."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        channel = ChannelSpec("check/early", "acknowledged", 64)
        sender = await producer.sender(channel)
        for number in range(10):
            await sender.send([bytes([number])])
        await asyncio.sleep(0.2)
        receiver = await consumer.receiver(channel)
        for number in range(10):
            got = await receiver.receive()
            assert bytes(got.data) == bytes([number]), f"frame {number} that was sent early is missing"
            receiver.done(got.seq)
        await sender.drain()
        await sender.ready()


async def backpressure(pair: Pair) -> None:
    """With ``capacity`` frames unprocessed the producer waits, and goes on when some are done."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged", capacity=5)
        blocked = await _filled(sender, receiver, 5)
        receiver.done(0)
        assert await blocked == 5, "the sixth frame got the wrong sequence number"
        await _finish(receiver, 5)
        await sender.drain()


async def a_lifted_limit_holds_nobody_back(pair: Pair) -> None:
    """A consumer that lifts the limit lets its producer go on, however many frames are unprocessed, and can set it again."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged", capacity=5)
        blocked = await _filled(sender, receiver, 5)
        receiver.limit(False)
        assert await blocked == 5, "the sixth frame got the wrong sequence number"
        for number in range(6, 40):
            assert await sender.send([b"x"]) == number
        for number in range(1, 40):
            assert (await receiver.receive()).seq == number, f"frame {number} of those beyond the capacity is missing"
        receiver.limit(True)
        for _ in range(100):  # word of it may be lost, but each frame that comes is answered
            await asyncio.sleep(0.05)
            last = asyncio.ensure_future(sender.send([b"x"]))
            await asyncio.wait({last}, timeout=0.2)
            if not last.done():
                break
        else:
            raise AssertionError("the producer was not held back after the limit had been set again")
        receiver.done(39)

        async def consume() -> None:
            while True:
                receiver.done((await receiver.receive()).seq)

        consuming = asyncio.ensure_future(consume())
        await last
        await sender.drain()
        consuming.cancel()


async def drain_means_processed(pair: Pair) -> None:
    """An acknowledged channel is drained when frames are done, not when they are received."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged")
        await sender.drain()
        await sender.send([b"x"])
        draining = asyncio.ensure_future(sender.drain())
        got = await receiver.receive()
        await asyncio.sleep(0.1)
        assert not draining.done(), "the channel was called drained before its frame was done"
        receiver.done(got.seq)
        await draining


async def large_frames(pair: Pair) -> None:
    """Frames of 4 MB pass unchanged."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged")
        frame = bytes(range(256)) * (1 << 14)

        async def produce() -> None:
            for _ in range(3):
                await sender.send([frame[:100], frame[100:]])
            await sender.drain()

        async def consume() -> None:
            for _ in range(3):
                got = await receiver.receive()
                assert got.data == frame, f"a frame of {len(frame)} bytes came with {len(got.data)} bytes, or changed"
                receiver.done(got.seq)

        await _together(produce(), consume())


async def sent_frames_are_copies(pair: Pair) -> None:
    """What the producer changes after ``send`` has returned does not show at the other end."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        for delivery, size in (("acknowledged", 100), ("acknowledged", 200_000), ("latest", 100), ("latest", 200_000)):
            sender, receiver = await ends(producer, consumer, delivery, key=f"copy-{size}")  # type: ignore[arg-type]
            buffer = bytearray(size)
            await sender.send([memoryview(buffer)])
            buffer[:] = b"\xff" * size
            got = await receiver.receive()
            assert not any(got.data), f"{delivery}: a change after send() reached the consumer ({size} bytes)"
            receiver.done(got.seq)


async def many_channels(pair: Pair) -> None:
    """Channels of both classes do not disturb each other."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        flows = []
        for number in range(20):
            sender, receiver = await ends(producer, consumer, "acknowledged", key=f"many-{number}")
            flows.append(_flow(sender, receiver, 20 + number))
        await _together(*flows)


async def latest_ends_with_the_newest(pair: Pair) -> None:
    """Frames come in increasing order, some may be left out, and the last one always comes."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "latest")
        last = 300

        async def produce() -> None:
            for number in range(last + 1):
                await sender.send([number.to_bytes(4, "little"), bytes(number * 10)])
            await sender.drain()

        async def consume() -> None:
            seen = -1
            while seen < last:
                got = await receiver.receive()
                number = int.from_bytes(got.data[:4], "little")
                assert number == got.seq, f"frame {number} came with sequence number {got.seq}"
                assert number > seen, f"frame {number} came after {seen}"
                assert len(got.data) == 4 + number * 10, f"frame {number} came with {len(got.data)} bytes"
                seen = number
                receiver.done(got.seq)

        await _together(produce(), consume())


async def arrivals_are_notified(pair: Pair) -> None:
    """``notify`` calls at once for frames that are there, later for each that comes, and no more once nobody is to be told."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        deliveries: tuple[Literal["acknowledged", "latest"], ...] = ("acknowledged", "latest")
        for delivery in deliveries:
            sender, receiver = await ends(producer, consumer, delivery, key="notified")
            got: list[int] = []
            told = asyncio.Event()

            def take(receiver: Receiver = receiver, got: list[int] = got, told: asyncio.Event = told) -> None:
                while (frame := receiver.receive_nowait()) is not None:
                    receiver.done(frame.seq)
                    got.append(frame.seq)
                told.set()

            await sender.send([b"early"])
            for _ in range(TRIES):
                await asyncio.sleep(0.1)
                receiver.notify(take)
                if got:
                    break
                receiver.notify(None)
            assert got == [0], f"{delivery}: of a frame that was there, notify() told {got}"
            for number in range(1, 4):
                told.clear()
                await sender.send([bytes([number])])
                await told.wait()
                assert got[-1] == number, f"{delivery}: frame {number} came, and notify() told {got}"
            await sender.drain()
            receiver.notify(None)
            await sender.send([b"unheard"])
            found = None
            for _ in range(TRIES):
                await asyncio.sleep(0.1)
                if (found := receiver.receive_nowait()) is not None:
                    break
            assert got == [0, 1, 2, 3], f"{delivery}: told of {got} though nobody was to be told any more"
            assert found is not None, f"{delivery}: a frame that nobody was told of is gone"


async def arrival_times_are_the_clocks(pair: Pair) -> None:
    """``Delivered.received`` never decreases, also when frames are taken much later than they came."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged", key="times")
        for number in range(20):
            await sender.send([bytes(50 * number)])
        await asyncio.sleep(0.3)
        times = []
        for _ in range(20):
            got = await receiver.receive()
            receiver.done(got.seq)
            times.append(got.received)
        assert times == sorted(times), f"frames came at {times}, in this order"
        await asyncio.sleep(0.2)
        await sender.send([b"later"])
        late = (await receiver.receive()).received
        assert late >= times[-1] + 0.19, f"a frame sent 0.2 s after one of {times[-1]} is said to have come at {late}"


async def an_end_opens_once(pair: Pair) -> None:
    """Opening the same end of a channel twice is refused."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        channel = ChannelSpec("once/check", "latest")
        await producer.sender(channel)
        await consumer.receiver(channel)
        for again in (producer.sender(channel), consumer.receiver(channel)):
            assert isinstance(await _outcome(asyncio.ensure_future(again)), TransportError), "an end was opened twice"


async def releasing_what_has_not_come_is_refused(pair: Pair) -> None:
    """``done`` of a frame that was never received is a TransportError; of one that was done already, nothing."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged", key="release")
        await sender.send([b"x"])
        got = await receiver.receive()
        receiver.done(got.seq)
        receiver.done(got.seq)
        try:
            receiver.done(got.seq + 5)
        except TransportError:
            return
        raise AssertionError("a frame that has not come was released")


async def latest_never_waits(pair: Pair) -> None:
    """A producer of latest frames is not held back by an absent consumer, which then gets the newest alone."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        channel = ChannelSpec("check/absent", "latest", 2)
        sender = await producer.sender(channel)
        for number in range(100):
            await sender.send([bytes([number])])
        receiver = await consumer.receiver(channel)
        got = await receiver.receive()
        assert bytes(got.data) == bytes([99]), f"the newest frame was 99, but {got.data[0]} came first"
        assert receiver.receive_nowait() is None, "older frames were kept"


async def closing_ends_waiting(pair: Pair) -> None:
    """Whoever waits on a channel gets a TransportError when its transport is closed."""
    async with asyncio.timeout(PATIENCE):
        async with pair() as (producer, consumer):
            sender, receiver = await ends(producer, consumer, "acknowledged", capacity=1)
            idle_sender, idle_receiver = await ends(producer, consumer, "latest")
            await sender.send([b"x"])
            held = await receiver.receive()
            waiting = [
                asyncio.ensure_future(wait)
                for wait in (sender.send([b"y"]), sender.drain(), receiver.receive(), idle_receiver.receive())
            ]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting), "something returned that should have waited"
        for task in waiting:
            assert isinstance(await _outcome(task), TransportError), f"{task} did not end with a TransportError at closing"
        for late in (sender.send([b"z"]), idle_sender.send([b"z"])):
            assert isinstance(await _outcome(asyncio.ensure_future(late)), TransportError), "a closed channel took a frame"
        del held


async def counters(pair: Pair) -> None:
    """``stats`` counts frames and bytes at both ends, under the channel's key."""
    async with asyncio.timeout(PATIENCE), pair() as (producer, consumer):
        sender, receiver = await ends(producer, consumer, "acknowledged", key="count")
        await _flow(sender, receiver, 10)
        for name, transport in (("producer", producer), ("consumer", consumer)):
            stats = transport.stats()["count/acknowledged"]
            assert stats["frames"] == 10, f"the {name} counted {stats['frames']} frames of 10"
            assert stats["bytes"] == 40, f"the {name} counted {stats['bytes']} bytes of 40"


CHECKS: Final[tuple[Check, ...]] = (
    connected_when_all_consumers_are,
    order_without_loss,
    receiver_after_sender,
    backpressure,
    a_lifted_limit_holds_nobody_back,
    drain_means_processed,
    large_frames,
    sent_frames_are_copies,
    many_channels,
    arrivals_are_notified,
    arrival_times_are_the_clocks,
    an_end_opens_once,
    releasing_what_has_not_come_is_refused,
    latest_ends_with_the_newest,
    latest_never_waits,
    closing_ends_waiting,
    counters,
)


def _frame(number: int, size: int) -> bytes:
    return bytes((number + index) % 251 for index in range(min(size, 999))) + bytes(max(size - 999, 0))


async def _flow(sender: Sender, receiver: Receiver, count: int) -> None:
    async def produce() -> None:
        for number in range(count):
            await sender.send([number.to_bytes(4, "little")])
        await sender.drain()

    async def consume() -> None:
        for number in range(count):
            got = await receiver.receive()
            assert int.from_bytes(got.data, "little") == got.seq == number, f"frame {got.seq} came where {number} was expected"
            receiver.done(got.seq)

    await _together(produce(), consume())


async def _filled(sender: Sender, receiver: Receiver, capacity: int) -> asyncio.Future[int]:
    """Fill the window, and take one frame without processing it; the next one's sending, which must wait."""
    for _ in range(capacity):
        await sender.send([b"x"])
    blocked = asyncio.ensure_future(sender.send([b"x"]))
    assert (await receiver.receive()).seq == 0, "the first frame did not come first"
    await asyncio.sleep(0.1)
    assert not blocked.done(), f"a frame was taken while {capacity} were unprocessed and the capacity is {capacity}"
    return blocked


async def _finish(receiver: Receiver, count: int) -> None:
    for _ in range(count):
        got: Delivered = await receiver.receive()
        receiver.done(got.seq)


async def _together(*parts: Awaitable[None]) -> None:
    await asyncio.gather(*parts)


async def _outcome(task: asyncio.Future[Any]) -> object:
    try:
        return await asyncio.wait_for(task, 5)
    except (TransportError, TimeoutError) as error:
        return error
