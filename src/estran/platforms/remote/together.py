"""Doing the same with many hosts at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from estran.errors import cause

Key = TypeVar("Key")
Found = TypeVar("Found")


async def together(work: Mapping[Key, Coroutine[Any, Any, Found]]) -> dict[Key, Found]:
    """Do everything side by side and return what came of each.

    Raises
    ------
    EstranError
        The first of our own errors, when all else has been cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {key: group.create_task(coroutine) for key, coroutine in work.items()}
    except ExceptionGroup as error:
        raise cause(error) from error
    return {key: task.result() for key, task in tasks.items()}


async def first_of(waits: Iterable[Awaitable[Found]]) -> Found:
    """Wait until the first is done, return what came of it, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
