"""An asyncio event loop in virtual time: when nothing is left to do now, the clock jumps to the next timer.

What happens at the same instant happens in a defined order: by the *rank* of the replica that asked for it, then in the order
in which that replica asked. So a run does not depend on the order in which its replicas were started.
"""

from __future__ import annotations

import asyncio
import heapq
import signal
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from types import FrameType
from typing import Any, Final

from estran.errors import EstranError

RANK: Final[ContextVar[int]] = ContextVar("estran_rank", default=-1)
"""Number of the replica whose code runs, from 0; -1 for the simulator's own."""

STILL: Final = 200_000
"""Turns of the loop without time passing after which it never will."""


LOOK: Final = 100
"""The last of these turns, in which it is looked who is at it."""


class TimeStoodStillError(EstranError):
    """Virtual time has stopped: things cause each other without any taking time, or nothing is left that could happen."""


class Due:
    """A callback that will be run, unless it is cancelled: what asyncio calls a handle, with nothing that a simulation lacks."""

    __slots__ = ("_cancelled", "args", "callback", "context", "loop", "when")

    def __init__(
        self, loop: VirtualLoop, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float
    ) -> None:
        self.loop = loop
        self.callback = callback
        self.args = args
        self.context = context
        self.when = when
        self._cancelled = False

    def cancel(self) -> None:
        """Do not run it."""
        if not self._cancelled:
            self._cancelled = True
            self.loop.cancelled()

    def cancelled(self) -> bool:
        """Whether it will not be run."""
        return self._cancelled


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks and timers of one thread; there is no input or output, and there are no other threads.

    Attributes
    ----------
    names
        Replicas by rank, for messages.
    on_still
        Told that time has stopped, so that whoever conducts can end in good order; the loop raises if it is not told to anybody,
        or if that is of no avail.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[int, str] = {}
        self._now = 0.0
        self._todo: deque[Due] = deque()
        self._timers: list[tuple[float, int, int, Due]] = []
        self._asked = 0
        self._gone = 0
        self._turns = 0
        self._busy: set[int] = set()
        self._handlers: dict[int, Any] = {}
        self.on_still: Callable[[TimeStoodStillError], None] | None = None
        self._frozen: dict[int, list[Due]] = {}

    def freeze(self, rank: int) -> None:
        """Run nothing of a replica, as if its process were stopped, until `thaw`."""
        self._frozen.setdefault(rank, [])

    def thaw(self, rank: int) -> None:
        """Let a replica go on: what was due meanwhile is run now, in its order."""
        self._todo.extend(self._frozen.pop(rank, ()))

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Have this called in this instant, after all that is to be called already."""
        due = Due(self, callback, args, copy_context() if context is None else context, self._now)
        self._todo.append(due)
        return due

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """As `call_soon`: there are no other threads, but signal handlers."""
        return self.call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Have this called at a time; a time that has passed counts as now."""
        if context is None:
            context = copy_context()
        if when < self._now:
            when = self._now
        due = Due(self, callback, args, context, when)
        self._asked = asked = self._asked + 1
        heapq.heappush(self._timers, (when, context.get(RANK, -1), asked, due))
        return due

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """Have this called after so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def cancelled(self) -> None:
        """Count cancelled callbacks: timers among them stay in the heap until their turn, or until half of them are such."""
        self._gone += 1
        if self._gone > 1000 and 2 * self._gone > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[3]._cancelled]
            heapq.heapify(self._timers)
            self._gone = 0

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Have this called when the signal comes; the loop never sleeps, so it does at once.

        If it comes again before the loop has got to that, some code does not return, and is interrupted where it is.
        """
        waiting: list[bool] = []

        def handle() -> None:
            waiting.clear()
            callback(*args)

        def received(number: int, frame: FrameType | None) -> None:
            if waiting:
                raise KeyboardInterrupt
            waiting.append(True)
            self.call_soon(handle, context=Context())

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

    def _run_once(self) -> None:
        """One turn: all that is to be done now or, if nothing is, all that is due next."""
        todo = self._todo
        if not todo and not self._stopping:  # type: ignore[attr-defined] # the base class sets it
            self._jump()
        self._turns += 1
        if self._turns > STILL - LOOK:
            self._look()
        for _ in range(len(todo)):
            due = todo.popleft()
            if due._cancelled:
                continue
            if self._frozen and (held := self._frozen.get(due.context.get(RANK, -1))) is not None:
                held.append(due)
                continue
            try:
                due.context.run(due.callback, *due.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as asyncio's own handles do
                self.call_exception_handler({"message": f"exception in {due.callback}", "exception": error})

    def _jump(self) -> None:
        """Move on to the next timer, and to all others of that instant."""
        timers, todo = self._timers, self._todo
        while timers and timers[0][3]._cancelled:
            heapq.heappop(timers)
        if not timers:
            self._tell(self._nothing_left())
            return
        now = timers[0][0]
        if now > self._now:
            self._now = now
            self._turns = 0
        while timers and timers[0][0] <= now:
            todo.append(heapq.heappop(timers)[3])

    def _tell(self, error: TimeStoodStillError) -> None:
        told, self.on_still = self.on_still, None
        if told is None:
            raise error
        told(error)

    def _nothing_left(self) -> TimeStoodStillError:
        """Who waits for what will never come."""
        waiting = sorted({task.get_name() for task in asyncio.all_tasks(self)} & set(self.names.values()))
        who = f": {_few(waiting)} wait for ever" if waiting else ""
        return TimeStoodStillError(
            f"nothing will ever happen any more{who}",
            where="simulated time",
            remedy="look for what they wait for: nothing but time, streams and computations moves a simulated run",
        )

    def _look(self) -> None:
        """Note who goes on without time passing, and in the end say so."""
        self._busy.update(due.context.get(RANK, -1) for due in self._todo)
        if self._turns > STILL:
            self._turns = 0
            self._tell(self._stood_still())

    def _stood_still(self) -> TimeStoodStillError:
        """Who was at it when time stopped."""
        busy = {self.names[rank] for rank in self._busy if rank in self.names}
        self._busy.clear()
        who = _few(sorted(busy)) or "the simulator"
        return TimeStoodStillError(
            f"time stands still: {who} went on for {STILL} turns without any of it taking time",
            where="simulated time",
            remedy="break the cycle: give its links a delay, its services costs, or its source a rate",
        )

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """The loop never sleeps, so nobody has to wake it."""


def _few(names: list[str]) -> str:
    """Some names in a sentence."""
    return " and ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
