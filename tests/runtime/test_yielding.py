"""Who computes first on a host, and how a share is moved until messages are in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import numpy as np
import pytest

from estran.runtime.launch import Yielding
from estran.runtime.recorder import Recorder
from estran.runtime.yielding import ALLOWED, GAIN, LEAST, Governed, Governor, LocalBoard, Marked, SharedBoard
from tests.runtime.virtual_time import VirtualClock, run


class Work:
    """A processor in virtual time: a computation takes as many seconds as its function returns."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    async def __call__(self, operation: str, size: int, fn: Callable[..., float], *args, parameters: int = 0) -> float:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(fn())
        self.spans.append((begin, asyncio.get_running_loop().time()))
        return fn()


def governor(order: Yielding, metrics: list | None = None) -> Governor:
    clock = VirtualClock()
    recorder = Recorder(lambda table, rows: (metrics if metrics is not None else []).extend(rows), clock, host="h", replica="t-0")
    made = Governor(order, clock, recorder)
    made.flush = recorder.flush
    return made


@pytest.mark.parametrize(("cores", "first"), [(1, 0.5), (2, 0.0)])
def test_a_computation_that_yields_waits_for_a_core(cores: int, first: float) -> None:
    async def main() -> list[tuple[float, float]]:
        board, work = LocalBoard(), Work()
        served = Marked(Work(), board.place())
        trained = Governed(work, board, governor(Yielding(cores)), VirtualClock())
        serving = asyncio.create_task(served("predict", 1, lambda: 0.5))
        await asyncio.sleep(0)
        await trained("learn", 1, lambda: 0.1)
        await serving
        return work.spans

    assert run(main())[0][0] == pytest.approx(first)


def test_a_failed_computation_leaves_the_board() -> None:
    async def main() -> int:
        board = LocalBoard()
        with pytest.raises(ZeroDivisionError):
            await Marked(Work(), board.place())("predict", 1, lambda: 1 / 0)
        return board.busy()

    assert run(main()) == 0


@pytest.mark.parametrize(("share", "cores"), [(0.25, 1), (0.25, 2), (1.0, 1)])
def test_a_share_is_kept(share: float, cores: int) -> None:
    async def main() -> float:
        work = Work()
        trained = Governed(work, None, governor(Yielding(cores, share)), VirtualClock())
        for _ in range(50):
            await trained("learn", 1, lambda: 0.01)
        return 50 * 0.01 / work.spans[-1][1]

    assert run(main()) == pytest.approx(share * cores, rel=0.02)


def test_the_share_settles_where_messages_are_in_time_and_follows_steps_of_load() -> None:
    """Late with a probability that grows with the share: 4 % at the whole processor, or 1 % at a quarter; then twice that."""
    metrics: list = []

    async def main() -> list[tuple[float, float]]:
        rng, made, means = np.random.default_rng(1), governor(Yielding(1, 1.0, 0.02, ("d-0",)), metrics), []
        for load in (1.0, 2.0, 0.01):
            shares, lates = [], 0
            for number in range(20_000):
                await asyncio.sleep(0.01)
                now = asyncio.get_running_loop().time()
                late = rng.random() < 0.04 * load * made.share
                made.observe([(now - 1e-3, now + (0.03 if late else 0.0))])
                if number > 5_000:
                    shares.append(made.share)
                    lates += late
            means.append((float(np.mean(shares)), lates / len(shares)))
        made.flush()
        return means

    (alone, late), (loaded, late_loaded), (light, _) = run(main())
    assert 0.15 < alone < 0.35
    assert 0.4 < loaded / alone < 0.75
    assert max(late, late_loaded) < 1.5 * ALLOWED
    assert light > 0.95
    assert all(LEAST <= row.value <= 1.0 for row in metrics)


def test_messages_from_before_a_change_do_not_count() -> None:
    async def main() -> float:
        made = governor(Yielding(1, 1.0, 0.02, ("d-0",)))
        await asyncio.sleep(10)
        made.observe([(9.0, 9.5)] * 50)  # a backlog: one decrease, not twenty-five
        return made.share

    assert run(main()) == pytest.approx(1 - GAIN * (1 - ALLOWED))


async def test_forked_processes_share_a_board() -> None:
    board = SharedBoard()
    place = board.place()
    child = os.fork()
    if child == 0:
        place.enter()
        os._exit(0)
    os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
    assert board.busy() == 1
    begin = time.monotonic()
    waiting = asyncio.create_task(board.change())
    place.leave()
    await waiting
    assert board.busy() == 0
    assert time.monotonic() - begin < 1
