"""Ending in good order what is interrupted: by signals in the main thread, elsewhere by whoever waits for the thread."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")
_LISTENERS: ContextVar[list[Callable[[], object]] | None] = ContextVar("listeners", default=None)
_NUMBERS: Final = (signal.SIGTERM, signal.SIGHUP)


def outside_a_loop(make: Callable[[], T]) -> T:
    """Call what runs an event loop of its own, also where one is running already, as in a notebook: there, in a thread.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted, and has ended in good order.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return make()
    listeners: list[Callable[[], object]] = []
    context, future = copy_context(), Future[T]()
    context.run(_LISTENERS.set, listeners)
    thread = threading.Thread(target=context.run, args=(_settle, future, make), name="estran")
    thread.start()
    interrupted = False
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            interrupted = True
            for interrupt in listeners[-1:]:
                interrupt()
    made = future.result()
    if interrupted:  # too late for it to notice
        raise KeyboardInterrupt
    return made


def _settle(future: Future[T], make: Callable[[], T]) -> None:
    try:
        future.set_result(make())
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        future.set_exception(error)


def signals_come() -> bool:
    """Whether signals are heard of here: by the main thread only."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def asked_by_waiter(interrupt: Callable[[], object]) -> Iterator[None]:
    """Have whoever waits for this thread, if anybody does, interrupt by a call, which comes from their thread."""
    listeners = _LISTENERS.get()
    if listeners is None:
        yield
        return
    listeners.append(interrupt)
    try:
        yield
    finally:
        listeners.remove(interrupt)


def carried_out(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end, on a loop of its own.

    A batch system, a service manager and `kill` ask with SIGTERM what a person asks with Ctrl-C. A signal that is ignored from
    outside stays so: a search under `nohup` outlives its terminal.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted by Ctrl-C, SIGTERM, SIGHUP or whoever waits for this thread, once it has ended in good order.
    """
    with asyncio.Runner() as runner:
        done, result = runner.run(_interruptible(work))
    if not done:
        raise KeyboardInterrupt
    return result  # type: ignore[return-value]


async def _interruptible(work: Coroutine[Any, Any, T]) -> tuple[bool, T | None]:
    """Whether it came to its end, and what it returned."""
    task = asyncio.ensure_future(work)
    with cancelled_when_asked(task, _NUMBERS) as asked:
        try:
            return True, await task
        except asyncio.CancelledError:
            if asked():
                return False, None
            raise


@contextmanager
def noted_when_asked() -> Iterator[threading.Event]:
    """Note that a signal or whoever waits for this thread has asked to end, for work without a loop, which looks at times."""
    asked = threading.Event()
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in _heard(signal.SIGINT, *_NUMBERS)}
    try:
        with asked_by_waiter(asked.set):
            yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those that come to this thread, and are not ignored from outside."""
    return [number for number in numbers if signals_come() and signal.getsignal(number) != signal.SIG_IGN]


@contextmanager
def cancelled_when_asked(task: asyncio.Future[T], numbers: Iterable[signal.Signals]) -> Iterator[Callable[[], bool]]:
    """Have a task cancelled, once, when a signal comes or whoever waits for this thread asks; yields what tells whether it was.

    Later ones are ignored meanwhile: they must not cut short the good order. What is ignored from outside stays so.
    """
    loop, asked = asyncio.get_running_loop(), False

    def interrupt() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    heard = _heard(*numbers)
    for number in heard:
        loop.add_signal_handler(number, interrupt)
    try:
        with asked_by_waiter(partial(loop.call_soon_threadsafe, interrupt)):
            yield lambda: asked
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
