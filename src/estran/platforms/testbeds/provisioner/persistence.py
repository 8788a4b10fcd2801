"""Requests that testbeds' APIs do not answer, or not now, are repeated with growing pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from .channel import Channel
from .failures import explain, transient

T = TypeVar("T")

ANSWER = 60.0
"""Seconds that an API has for an answer; EnOSlib's clients would wait for ever."""
LONGEST_PAUSE = 30.0


class Persistence:
    """Repeats what can be repeated: requests that ask, and requests that first look whether they were fulfilled.

    Parameters
    ----------
    patience
        Seconds for which one action is repeated.
    first_pause
        Seconds before the first repetition; each pause is twice the one before.
    """

    def __init__(self, channel: Channel, patience: float, first_pause: float = 1.0) -> None:
        self._channel = channel
        self._patience = patience
        self._first_pause = first_pause

    def __call__(self, action: Callable[[], T], doing: str) -> T:
        """Do it until it succeeds, fails for good, or patience ends."""
        began, pause = time.monotonic(), self._first_pause
        while True:
            try:
                return action()
            except Exception as error:
                if not transient(error) or time.monotonic() - began + pause > self._patience:
                    raise
                self._channel.say("retry", doing=doing, why=explain(error).details["what"], after=pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def limit_waiting(seconds: float = ANSWER) -> None:
    """Let no HTTP request of this process wait longer than this for its answer, whichever client makes it."""
    from requests.adapters import HTTPAdapter

    adapter: Any = HTTPAdapter
    send = adapter.send

    def limited(self: Any, request: Any, stream: bool = False, timeout: Any = None, **others: Any) -> Any:
        return send(self, request, stream=stream, timeout=timeout or seconds, **others)

    adapter.send = limited
