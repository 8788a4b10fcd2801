"""Replicas that yield, against a clock that counts ticks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estran.platforms.simulated.gaps import Gaps, RestProcessor, YieldingProcessor
from estran.platforms.simulated.loop import VirtualLoop
from estran.platforms.simulated.processor import Cores, SlowProcessor

TICK = 1e-3


def ticked(first: list[tuple[int, int]], jobs: list[int], cores: int) -> list[float]:
    """When each yielding replica's one job, asked for at the beginning, is done: in each tick they share the free cores."""
    left, done, now = [float(job) for job in jobs], [0.0] * len(jobs), 0
    while any(left):
        free = max(cores - sum(begun <= now < ended for begun, ended in first), 0)
        passed = 0.0
        while passed < 1 and free and any(left):
            asked = [number for number, rest in enumerate(left) if rest]
            rate = min(1.0, free / len(asked))
            part = min(1 - passed, min(left[number] for number in asked) / rate)
            passed += part
            for number in asked:
                left[number] = 0.0 if left[number] <= rate * part + 1e-9 else left[number] - rate * part
                if not left[number]:
                    done[number] = (now + passed) * TICK
        now += 1
    return done


@example([(0, 8), (7, 5), (11, 1)], [4, 6], 2)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_gaps_are_shared_evenly_and_work_that_comes_later_preempts(
    arrivals: list[tuple[int, int]], jobs: list[int], count: int
) -> None:
    cores, gaps = Cores(count), Gaps(count)
    cores.on_taken = gaps.take
    spans: list[tuple[int, int]] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def serve(processor: SlowProcessor, at: int, cost: int) -> None:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(at * TICK)
            done = processor.charge(loop.time(), cost * TICK)
            spans.append((round(done / TICK) - cost, round(done / TICK)))

        async def learn(processor: YieldingProcessor, cost: int) -> float:
            loop = asyncio.get_running_loop()
            await processor.work(loop, cost * TICK)
            return loop.time()

        async def main() -> list[float]:
            serving = [serve(SlowProcessor(cores, 1.0), at, cost) for at, cost in arrivals]
            learning = [learn(YieldingProcessor(gaps, 1.0), cost) for cost in jobs]
            begun = asyncio.get_running_loop().time()
            found = await asyncio.gather(*serving, *learning)
            return [when - begun for when in found[len(serving) :]]

        found = runner.run(main())
    assert found == pytest.approx(ticked(spans, jobs, count), abs=1e-9)


def test_a_replica_that_yields_does_its_work_in_order_and_says_what_it_has_done() -> None:
    gaps = Gaps(1)
    processor = YieldingProcessor(gaps, 0.5)
    assert processor.charge(0.0, 1.0) == pytest.approx(2.0)
    gaps.take(1.0, 1.0, 2.0)
    processor.charge_aside(1.0, 0.25)
    assert processor.worked(1.5) == pytest.approx(0.5)
    assert processor.charge(1.5, 1.0) == pytest.approx(5.5)
    assert processor.worked(9.0) == pytest.approx(processor.used)


def test_the_quota_of_an_emulated_device_follows_what_is_left() -> None:
    others = 0.0
    processor = RestProcessor(Cores(1), 0.5, 0.5, 0.0, lambda now: others, lambda now: processor.worked(now), 1)
    now = 0.0
    for _ in range(200):
        now = processor.charge(now, 0.01)
        others = 0.3 * now
    assert processor.used / now == pytest.approx(0.2, rel=0.05)
