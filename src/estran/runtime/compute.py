"""The seam to the processor: computations are charged to the device, really or by a model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, TypeVar

from estran.runtime.recorder import Recorder

R = TypeVar("R")

INLINE_BELOW = 0.5e-3
"""Seconds: an operation that has been shorter than this runs on the event loop, since a thread switch would cost as much."""


class Compute(Protocol):
    """Runs a computation at the device's expense and records what it took."""

    async def __call__(self, operation: str, size: int, fn: Callable[..., R], *args: Any, parameters: int = 0) -> R:
        """Return ``fn(*args)``; ``size`` is the number of items it works on, ``parameters`` that of the model's numbers."""
        ...


class RealCompute(AbstractContextManager["RealCompute"]):
    """Runs computations one at a time on this host's processor.

    Long ones run on the one thread that this object owns, so that streams go on while they last; short ones run in place.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._expected: dict[str, float] = {}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, operation: str, size: int, fn: Callable[..., R], *args: Any, parameters: int = 0) -> R:
        per_item = self._expected.get(operation)
        if per_item is not None and per_item * max(size, 1) < INLINE_BELOW:
            result, wall, cpu = _timed(fn, args)
        else:
            result, wall, cpu = await asyncio.get_running_loop().run_in_executor(self._thread, _timed, fn, args)
        fresh = wall / max(size, 1)
        self._expected[operation] = fresh if per_item is None else 0.8 * per_item + 0.2 * fresh
        self._recorder.operation(operation, size, wall, cpu)
        return result


class _Elsewhere(threading.local):
    seconds = 0.0


_elsewhere = _Elsewhere()


def spent_elsewhere(seconds: float) -> None:
    """Charge processor time that another process spent for the computation that this thread is in."""
    _elsewhere.seconds += seconds


def _timed(fn: Callable[..., R], args: tuple[Any, ...]) -> tuple[R, float, float]:
    _elsewhere.seconds = 0.0
    wall, cpu = time.perf_counter(), time.thread_time()
    result = fn(*args)
    return result, time.perf_counter() - wall, time.thread_time() - cpu + _elsewhere.seconds
