"""Ending in good order what is interrupted: by signals in the main thread, elsewhere by whoever waits for the thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

T = TypeVar("T")
_LISTENERS: ContextVar[list[Callable[[], object]] | None] = ContextVar("listeners", default=None)


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
