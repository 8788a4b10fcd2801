"""Waiting until what was reserved begins: never for what has ended, nor longer than was asked for. EnOSlib would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .channel import Channel
from .failures import Failure

LONGEST_PAUSE = 30.0


class Look(NamedTuple):
    """What a testbed says of a reservation; ``start`` is when it has begun or will, in seconds since 1970, if that is known."""

    name: str
    state: str
    running: bool
    waiting: bool
    start: float | None
    said: str = ""


def await_running(look: Callable[[], list[Look]], request: dict[str, Any], channel: Channel) -> None:
    """Look again and again until all run.

    Raises
    ------
    Failure
        If one has ended, or there is none; if one will begin later than the request allows.
    """
    latest, pause = time.time() + request["delay"] + request["wait"], request.get("first_pause", 1.0)
    while True:
        looks = look()
        if not looks:
            raise Failure("job-ended", "the reservation was killed, or ended, before it was used", "run it again")
        waiting = [one for one in looks if not one.running]
        if not waiting:
            return
        for one in waiting:
            _judge(one, latest, channel)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _judge(one: Look, latest: float, channel: Channel) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.start)) if one.start else "an unknown time"
    if not one.waiting:
        raise Failure("job-ended", f"{one.name} is in state {one.state!r}{one.said}", "run it again")
    if max(one.start or 0, time.time()) > latest:
        remedy = "ask for other nodes, for a later start, or to wait longer (wait:)"
        raise Failure("too-late", f"{one.name} would begin at {when}", remedy, starts_at=one.start)
    channel.progress(f"{one.name} is {one.state}, to begin at {when}")
