"""What passes when more comes than may: by each policy, over the real protocol, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.runtime.coupling import CoupledSender, Pace
from estran.runtime.launch import ChannelEnd
from estran.runtime.memory_transport import MemoryNetwork
from tests.runtime.virtual_time import VirtualClock, run


class Passed:
    """What a consumer got, and when; what the producer's end says of the rest."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.events: list[dict] = []
        self.sent_for = 0.0

    @property
    def dropped(self) -> int:
        return sum(self.events[-1]["dropped"].values())


def passed(end: ChannelEnd, sends: Sequence[float], work: float, seed: int = 0) -> Passed:
    """Send numbers at some times, if the sender is not held back, to a consumer that takes ``work`` seconds for each."""
    found = Passed()

    async def consume(receiver) -> None:
        while True:
            frame = await receiver.receive()
            found.numbers.append(int.from_bytes(frame.data))
            found.times.append(asyncio.get_running_loop().time())
            await asyncio.sleep(work)
            receiver.done(frame.seq)

    async def main() -> None:
        network, clock = MemoryNetwork(delay=0.001), VirtualClock()
        async with network.transport(clock) as here, network.transport(clock) as there:
            receiver = await there.receiver(end.spec)
            inner = await here.sender(end.spec)
            tell = lambda event, detail: found.events.append(json.loads(detail))  # noqa: E731
            sender = CoupledSender(inner, end, clock, np.random.default_rng(seed), tell)
            consuming = asyncio.create_task(consume(receiver))
            for number, when in enumerate(sends):
                await asyncio.sleep(max(when - clock.now(), 0.0))
                await sender.send([number.to_bytes(4)])
            found.sent_for = clock.now()
            await sender.drain()
            sender.end()
            consuming.cancel()

    run(main())
    return found


def end(**policy) -> ChannelEnd:
    return ChannelEnd("k", "a.b", "b", "c-0", **{"delivery": "acknowledged", **policy})


FAST = [0.01 * k for k in range(100)]


def test_block_holds_the_sender_back_and_drops_nothing() -> None:
    found = passed(end(capacity=4, rate=1e6), FAST, work=0.05)
    assert found.numbers == list(range(100))
    assert found.sent_for > 4.5
    assert found.dropped == 0


def test_drop_newest_keeps_what_came_first() -> None:
    found = passed(end(capacity=4, when_full="drop-newest"), FAST, work=10.0)
    assert found.numbers == [0, 1, 2, 3]
    assert found.sent_for == pytest.approx(0.99)
    assert found.events[-1]["dropped"] == {"full": 96}


def test_drop_oldest_keeps_what_came_last() -> None:
    found = passed(end(capacity=8, when_full="drop-oldest"), FAST, work=10.0)
    assert found.numbers == [0, 1, 2, 3, 96, 97, 98, 99]
    assert found.sent_for == pytest.approx(0.99)
    assert found.events[-1] == {"channel": "k", "offered": 100, "dropped": {"full": 92}, "waiting": 0}


def test_a_rate_that_blocks_spaces_messages_out() -> None:
    found = passed(end(rate=20.0), FAST, work=0.0)
    assert found.numbers == list(range(100))
    assert np.diff(found.times)[2:] == pytest.approx(0.05)


def test_a_rate_that_drops_keeps_the_rate_although_it_does_not_divide_that_of_the_messages() -> None:
    found = passed(end(rate=30.0, when_full="drop-newest"), [0.01 * k for k in range(1000)], work=0.0)
    assert len(found.numbers) == pytest.approx(300, abs=2)
    assert found.events[-1]["dropped"] == {"rate": 1000 - len(found.numbers)}


def test_a_rate_on_a_stream_of_the_newest_sends_the_newest() -> None:
    found = passed(end(delivery="latest", rate=10.0), FAST, work=0.0)
    assert found.numbers[-1] == 99
    assert 10 <= len(found.numbers) <= 13
    assert found.dropped == 100 - len(found.numbers)


def test_a_sample_is_drawn_by_the_seed() -> None:
    one, again, other = (passed(end(sample=0.3), [0.0] * 2000, work=0.0, seed=seed) for seed in (1, 1, 2))
    assert one.numbers == again.numbers != other.numbers
    assert len(one.numbers) == pytest.approx(600, abs=5 * np.sqrt(2000 * 0.3 * 0.7))
    assert one.events[-1]["dropped"] == {"sample": 2000 - len(one.numbers)}


@given(
    st.lists(st.floats(0.0, 0.05), max_size=60),
    st.sampled_from(["block", "drop-newest", "drop-oldest"]),
    st.integers(2, 6),
    st.one_of(st.none(), st.floats(5, 200)),
    st.floats(0.3, 1.0),
    st.floats(0.0, 0.05),
)
@settings(max_examples=60, deadline=None)
def test_all_that_is_offered_is_processed_once_in_order_or_counted(gaps, when_full, capacity, rate, sample, work) -> None:
    found = passed(end(capacity=capacity, when_full=when_full, rate=rate, sample=sample), np.cumsum(gaps).tolist(), work)
    assert found.numbers == sorted(set(found.numbers))
    told = found.events[-1]
    assert (told["offered"], told["waiting"]) == (len(gaps), 0)
    assert len(found.numbers) + found.dropped == len(gaps)
    if when_full == "block":
        assert set(told["dropped"]) <= {"sample"}


@given(st.floats(0.1, 1e4), st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_pace_is_kept_over_any_window(rate, gaps) -> None:
    pace, now, times = Pace(rate), 0.0, []
    for gap in gaps:
        now += gap
        if not pace.wait(now):
            pace.passed(now)
            times.append(now)
    for first, begin in enumerate(times):
        for count, last in enumerate(times[first:], 1):
            assert count <= (last - begin + 1e-6) * rate + 2
