"""How other threads wake the event loop."""

from __future__ import annotations

import asyncio
import io
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Bell:
    """Has callbacks run on the event loop that is running when it is made.

    What ``call_soon_threadsafe`` does, cheaper: one write to a pipe per wake-up, however many ring meanwhile,
    one read to answer, and the callbacks run in the same turn of the loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._todo: deque[Callable[[], None]] = deque()
        self._rung = False
        out, into = os.pipe()
        self._out, self._into = io.FileIO(out, "r"), io.FileIO(into, "w")
        self._loop.add_reader(out, self._answer)

    def ring(self, callback: Callable[[], None]) -> None:
        """Have this called soon; from any thread."""
        self._todo.append(callback)
        # Whoever clears the flag looks at the list afterwards, so nothing that is on it goes unseen.
        if not self._rung:
            self._rung = True
            # After `close` nobody is there to be told.
            with suppress(ValueError):
                self._into.write(b"!")

    def close(self) -> None:
        """Wake nobody any more; who rings from now on is not heard."""
        self._loop.remove_reader(self._out)
        self._out.close()
        self._into.close()

    def _answer(self) -> None:
        self._out.read(1)
        self._rung = False
        while self._todo:
            self._todo.popleft()()
