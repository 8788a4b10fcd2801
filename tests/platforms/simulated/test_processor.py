"""Processors in virtual time, against what can be calculated by other means."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.platforms.simulated.processor import Cores, QuotaProcessor, SlowProcessor

JOBS = st.lists(st.tuples(st.floats(0, 2), st.floats(1e-4, 1.5)), min_size=1, max_size=25)
"""Gaps between arrivals, and costs, seconds."""


def arrivals(jobs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    now, found = 0.0, []
    for gap, cost in jobs:
        now += gap
        found.append((now, cost))
    return found


@given(JOBS, st.floats(0.05, 4))
def test_one_replica_is_served_in_order_at_its_speed(jobs: list[tuple[float, float]], speed: float) -> None:
    processor = SlowProcessor(Cores(4), speed)
    free = 0.0
    for now, cost in arrivals(jobs):
        free = max(free, now) + cost / speed  # Lindley's recursion
        assert processor.charge(now, cost) == pytest.approx(free)
    assert processor.used == pytest.approx(sum(cost for _, cost in jobs))
    assert processor.worked(free) == pytest.approx(processor.used)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=30), st.integers(1, 3))
def test_replicas_share_the_cores_first_come_first_served(jobs: list[tuple[int, float, float]], count: int) -> None:
    cores = Cores(count)
    replicas = [SlowProcessor(cores, 1.0) for _ in range(4)]
    now, spans = 0.0, []
    core_free, own_free = [0.0] * count, [0.0] * 4
    for who, gap, cost in jobs:
        now += gap
        done = replicas[who].charge(now, cost)
        soonest = min(range(count), key=core_free.__getitem__)
        expected = max(now, own_free[who], core_free[soonest]) + cost
        core_free[soonest] = own_free[who] = expected
        assert done == pytest.approx(expected)
        spans.append((done - cost, done))
    for at, _ in spans:  # never more at once than there are cores
        assert sum(begun <= at + 1e-9 < ended - 1e-9 for begun, ended in spans) <= count


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12))
def test_two_cores_do_not_rest_while_work_waits(costs: list[float]) -> None:
    cores = Cores(2)
    done = [SlowProcessor(cores, 1.0).charge(0.0, cost) for cost in costs]  # each of its own replica, all at once
    assert max(done) <= sum(costs) / 2 + max(costs) / 2 + 1e-9  # Graham's bound for list scheduling
    assert max(done) >= max(sum(costs) / 2, *costs) - 1e-9


def brute_force(jobs: list[tuple[int, int]], quota: int, period: int, phase: int) -> list[int]:
    """When each job is done, by ticks of full speed while the period's quota lasts."""
    finished, left = [], [cost for _, cost in jobs]
    tick, spent = 0, 0
    while len(finished) < len(jobs):
        if (tick - phase) % period == 0:
            spent = 0
        current = len(finished)
        if jobs[current][0] <= tick and spent < quota:
            spent += 1
            left[current] -= 1
            if left[current] == 0:
                finished.append(tick + 1)
        tick += 1
    return finished


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 120)), min_size=1, max_size=8),
    st.integers(2, 9),
    st.integers(0, 9),
)
def test_a_quota_is_used_as_the_kernel_does(jobs: list[tuple[int, int]], quota: int, phase: int) -> None:
    tick, now, timed = 1e-3, 0, []
    for gap, cost in jobs:
        now += gap
        timed.append((now, cost))
    processor = QuotaProcessor(Cores(1), quota * tick, 10 * tick, phase * tick)
    found = [processor.charge(at * tick, cost * tick) for at, cost in timed]
    assert found == pytest.approx([tick * one for one in brute_force(timed, quota, 10, phase)], abs=1e-6)


@given(JOBS, st.floats(0.05, 0.95), st.floats(0, 1))
def test_a_share_of_a_core_gives_no_more_than_its_share(jobs: list[tuple[float, float]], share: float, phase: float) -> None:
    period = 0.1
    processor = QuotaProcessor(Cores(1), share * period, period, phase * period)
    done = [(now, processor.charge(now, cost)) for now, cost in arrivals(jobs)]
    assert all(second >= first - 1e-9 for (_, first), (_, second) in pairwise(done))
    begun, ended = done[0][0], done[-1][1]
    assert processor.used <= (ended - begun) * share + 2 * share * period + 1e-6
    for (now, ended), (_, cost) in zip(done, arrivals(jobs), strict=True):
        assert ended >= now + cost - 1e-9


def test_a_short_job_on_an_idle_device_runs_at_full_speed_and_a_long_one_at_its_share() -> None:
    processor = QuotaProcessor(Cores(1), 0.03, 0.1, 0.0)
    assert processor.charge(0.0, 0.02) == pytest.approx(0.02)
    assert processor.charge(10.0, 3.0) == pytest.approx(10.0 + 9.9 + 0.03)
    assert processor.worked(12.0) == pytest.approx(0.02 + 3.0 - (19.93 - 12) * 0.3)


@given(st.floats(0.001, 0.2))
def test_other_threads_use_up_the_quota_too(aside: float) -> None:
    processor = QuotaProcessor(Cores(1), 0.03, 0.1, 0.0)
    processor.charge_aside(0.0, aside)
    idle = QuotaProcessor(Cores(1), 0.03, 0.1, 0.0)
    assert processor.charge(0.0, 0.025) >= idle.charge(0.0, 0.025)
    assert processor.used == pytest.approx(aside + 0.025)
    slow = SlowProcessor(Cores(1), 0.3)
    slow.charge_aside(0.0, aside)
    assert slow.charge(0.0, 0.03) == pytest.approx(0.1)
