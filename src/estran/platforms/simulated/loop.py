"""An asyncio event loop in virtual time: when nothing is left to do now, the clock jumps to the next timer.

What happens at the same instant happens in a defined order: by the *rank* of the replica that asked for it, then in the order
in which that replica asked. So a run does not depend on the order in which its replicas were started.
"""

from __future__ import annotations

import asyncio
import heapq
import signal
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar
from types import FrameType
from typing import Any, Final

from estran.errors import EstranError

RANK: Final[ContextVar[int]] = ContextVar("estran_rank", default=-1)
"""Number of the replica whose code runs, from 0; -1 for the simulator's own."""

STILL: Final = 200_000
"""Turns of the loop without time passing after which it never will."""


class TimeStoodStillError(EstranError):
    """Virtual time has stopped: things cause each other without any taking time, or nothing is left that could happen."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks and timers of one thread; there is no input or output, and there are no other threads.

    Attributes
    ----------
    names
        Replicas by rank, for messages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[int, str] = {}
        self._now = 0.0
        self._timers: list[tuple[float, int, int, asyncio.TimerHandle]] = []
        self._asked = 0
        self._cancelled = 0
        self._turns = 0
        self._handlers: dict[int, Any] = {}

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have this called at a time; a time that has passed counts as now."""
        rank = RANK.get() if context is None else context.get(RANK, -1)
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined] # so that it tells `_timer_handle_cancelled`
        self._asked += 1
        heapq.heappush(self._timers, (max(when, self._now), rank, self._asked, timer))
        return timer

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Have this called when the signal comes; the loop never sleeps, so it does at once."""

        def received(number: int, frame: FrameType | None) -> None:
            self.call_soon(callback, *args)

        self._handlers[sig] = signal.signal(sig, received)

    def remove_signal_handler(self, sig: int) -> bool:
        """Let the signal do again what it did before."""
        former = self._handlers.pop(sig, None)
        if former is not None:
            signal.signal(sig, former)
        return former is not None

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Refused: what happens in another thread has no place in virtual time."""
        raise EstranError(
            f"{getattr(func, '__qualname__', func)} cannot run in a thread of its own in simulated time",
            where=self.names.get(RANK.get()),
            remedy="await self.compute(function, …) instead",
        )

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap until its turn, or until half of them are such."""
        self._cancelled += 1
        if self._cancelled > 1000 and 2 * self._cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[3].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """One turn: all that is ready or, if nothing is, all that is due next."""
        ready = self._ready  # type: ignore[attr-defined] # `call_soon` of the base class fills it
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            self._jump(ready)
        self._turns += 1
        if self._turns > STILL:
            raise self._stood_still()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _jump(self, ready: Any) -> None:
        timers = self._timers
        while timers and timers[0][3]._cancelled:
            heapq.heappop(timers)
            self._cancelled -= 1
        if not timers:
            raise TimeStoodStillError(
                "nothing will ever happen any more", where="simulated time", remedy="this is a defect of a component or of Estran"
            )
        now = timers[0][0]
        if now > self._now:
            self._now = now
            self._turns = 0
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[3]
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)

    def _stood_still(self) -> TimeStoodStillError:
        """Who was at it when time stopped."""
        self._turns = 0
        busy = []
        for handle in self._ready:  # type: ignore[attr-defined]
            with suppress(LookupError):
                busy.append(self.names[handle._context[RANK]])
        who = " and ".join(sorted(set(busy))[:4]) or "the simulator"
        return TimeStoodStillError(
            f"time stands still: {who} went on for {STILL} turns without any of it taking time",
            where="simulated time",
            remedy="break the cycle: give its links a delay, its services costs, or its source a rate",
        )

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """The loop never sleeps, so nobody has to wake it."""
