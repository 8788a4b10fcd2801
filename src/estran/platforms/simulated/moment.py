"""Waiting for a time of the virtual loop, at the price of one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Moment:
    """What a task awaits until a time: a future to asyncio, but one whose timer wakes the task itself.

    An ordinary future is set by its timer, and then has its task called in the loop's next turn: twice the work, for each of a
    simulated run's many waits.
    """

    __slots__ = ("_asyncio_future_blocking", "_call", "_cancelled", "_context", "_due", "_loop", "_turn", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float, turn: bool) -> None:
        self._asyncio_future_blocking = False
        self._turn = turn
        self._loop = loop
        self._when = when
        self._cancelled = False
        self._call: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._due: asyncio.TimerHandle | None = None

    def __await__(self) -> Generator[Moment, None, None]:
        if self._turn or not self.done():
            self._asyncio_future_blocking = True
            yield self
        self.result()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop whose time is waited for."""
        return self._loop

    def add_done_callback(self, call: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Called by the one task that waits."""
        self._call, self._context = call, context
        self._due = self._loop.call_at(self._when, call, self, context=context)

    def remove_done_callback(self, call: Callable[[Any], object]) -> int:
        """Forget who waits."""
        if self._call is None or self._due is None:
            return 0
        self._due.cancel()
        self._call = None
        return 1

    def cancel(self, msg: object = None) -> bool:
        """Wait no more."""
        if self.done() or self._call is None:
            return False
        self._cancelled = True
        if self._due is not None:
            self._due.cancel()
        self._loop.call_soon(self._call, self, context=self._context)
        return True

    def cancelled(self) -> bool:
        """Whether the wait was given up."""
        return self._cancelled

    def done(self) -> bool:
        """Whether the time has come, or the wait was given up."""
        return self._cancelled or self._loop.time() >= self._when

    def result(self) -> None:
        """Nothing; raises `asyncio.CancelledError` if the wait was given up."""
        if self._cancelled:
            raise asyncio.CancelledError

    def exception(self) -> None:
        """None: a time comes or does not."""
        self.result()


def until(loop: asyncio.AbstractEventLoop, when: float) -> Moment:
    """What to await for a time of the loop; one that has come is not waited for."""
    return Moment(loop, when, turn=False)


def turn(loop: asyncio.AbstractEventLoop, when: float) -> Moment:
    """The same, but waits also if it is now: in the order of the ranks of those who wait for the same instant."""
    return Moment(loop, when, turn=True)
