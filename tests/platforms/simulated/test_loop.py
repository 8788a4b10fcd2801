"""Virtual time: what happens when, in which order, and what happens when nothing can."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextvars import Context, copy_context
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import EstranError
from estran.platforms.simulated.loop import RANK, STILL, TimeStoodStillError, VirtualLoop
from estran.platforms.simulated.moment import turn
from tests.platforms.simulated.lines import play

ASKED = st.lists(st.tuples(st.integers(-1, 4), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=1, max_size=40)


def context_of(rank: int) -> Context:
    context = copy_context()
    context.run(RANK.set, rank)
    return context


def order_of(asked: list[tuple[int, float, int]]) -> list[tuple[float, int, int]]:
    """What ran, as (time, rank, number), if timers are asked for in this order."""
    ran: list[tuple[float, int, int]] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        for rank, when, number in asked:
            note = (lambda rank, number: ran.append((loop.time(), rank, number)), rank, number)
            loop.call_at(when, *note, context=context_of(rank))
        await asyncio.sleep(3)

    play(scene())
    return ran


@given(ASKED, st.randoms(use_true_random=False))
def test_equal_times_go_by_rank_whoever_asked_first(asked: list[tuple[int, float]], chance: Random) -> None:
    numbered = [(rank, when, number) for number, (rank, when) in enumerate(asked)]
    expected = sorted((when, rank, number) for rank, when, number in numbered)
    assert order_of(numbered) == expected
    # Another interleaving of the replicas, each still asking in its own order.
    ranks = [rank for rank, _, _ in numbered]
    chance.shuffle(ranks)
    queues = {rank: [one for one in numbered if one[0] == rank] for rank in set(ranks)}
    assert order_of([queues[rank].pop(0) for rank in ranks]) == expected


@given(st.permutations(range(6)))
def test_turns_at_one_instant_go_by_rank(started: list[int]) -> None:
    ran: list[int] = []

    async def one(rank: int) -> None:
        loop = asyncio.get_running_loop()
        await turn(loop, loop.time())
        ran.append(rank)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for rank in started:
                group.create_task(one(rank), context=context_of(rank))
        assert asyncio.get_running_loop().time() == 0.0

    play(scene())
    assert ran == sorted(started)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.data())
def test_cancelled_timers_do_not_fire_and_the_others_do(times: list[float], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(0, len(times) - 1)))
    ran: list[float] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        timers = [loop.call_at(when, ran.append, when) for when in times]
        for number in gone:
            timers[number].cancel()
            timers[number].cancel()
        await asyncio.sleep(101)
        assert loop.time() == 101

    play(scene())
    assert ran == sorted(when for number, when in enumerate(times) if number not in gone)


def test_thousands_of_cancelled_timers_leave_the_heap() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        kept = loop.call_at(5.0, lambda: None)
        for _ in range(10_000):
            loop.call_later(1.0, lambda: None).cancel()
        assert len(loop._timers) < 2_500
        await asyncio.sleep(2)
        assert not kept.cancelled()

    play(scene())


def test_time_passes_as_asked_and_costs_nothing() -> None:
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400):
                await asyncio.Event().wait()
        return loop.time()

    begun = time.monotonic()
    assert play(scene()) == 1000 * 3600 + 86_400
    assert time.monotonic() - begun < 60


def test_a_time_that_has_passed_is_now() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1)
        called: list[float] = []
        loop.call_at(0.5, lambda: called.append(loop.time()))
        await asyncio.sleep(0.1)
        assert called == [1.0]

    play(scene())


def test_work_that_takes_no_time_is_found_out_and_named() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.names.update({0: "echo-0", 1: "echo-1", 2: "idle-0"})
        spinning = [loop.create_task(spin(), context=context_of(rank)) for rank in (0, 1)]
        idle = loop.create_task(asyncio.sleep(1), context=context_of(2))
        await asyncio.gather(*spinning, idle)

    with pytest.raises(TimeStoodStillError, match=rf"echo-0 and echo-1 went on for {STILL} turns") as caught:
        play(scene())
    assert "idle-0" not in str(caught.value)


def test_waiting_for_ever_is_found_out_and_named() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.names[0] = "deaf-0"
        await loop.create_task(asyncio.Event().wait(), name="deaf-0", context=context_of(0))

    with pytest.raises(TimeStoodStillError, match="nothing will ever happen any more: deaf-0 wait"):
        play(scene())


def test_who_conducts_is_told_first_and_may_go_on() -> None:
    async def scene() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        told: asyncio.Future[str] = loop.create_future()
        loop.on_still = lambda error: told.set_result(error.what)
        what = await told
        await asyncio.sleep(1)
        return what, loop.time()

    assert play(scene()) == ("nothing will ever happen any more", 1.0)


def test_other_threads_are_refused() -> None:
    async def scene() -> None:
        with pytest.raises(EstranError, match="in a thread of its own"):
            await asyncio.to_thread(time.sleep, 1)

    play(scene())


def test_an_error_in_a_callback_goes_to_the_handler() -> None:
    async def scene() -> list[BaseException]:
        loop, seen = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.1)
        return seen

    (error,) = play(scene())
    assert isinstance(error, ZeroDivisionError)


def test_a_signal_is_handled_and_its_handler_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)

    async def scene() -> list[float]:
        loop, seen = asyncio.get_running_loop(), []
        loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(loop.time()))
        loop.call_later(2, os.kill, os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(5)
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)
        return seen

    assert play(scene()) == [2.0]
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_second_signal_ends_code_that_does_not_return() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
            for _ in range(1000):
                pass
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    with pytest.raises(KeyboardInterrupt):
        play(scene())
