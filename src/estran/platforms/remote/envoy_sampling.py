"""Samples a whole host for an envoy, which learns this module; so it is of Python 3.8 and its standard library."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

MOST = 36000
"""Samples that are kept for a controller that does not ask for them: an hour of ten a second."""

KEPT: list[list[float]] = []
_ENDING = threading.Event()


def begin(envoy: Any, data: bytes, period: float) -> None:
    """Start to sample, every ``period`` seconds, until the envoy leaves or `end` is called; fails where that cannot be done."""
    _ENDING.clear()
    KEPT[:] = [read()]
    threading.Thread(target=sample, args=(period,), daemon=True).start()


def taken(envoy: Any, data: bytes) -> list[list[float]]:
    """Samples since the last time: nanoseconds of the monotonic clock, and then as `METRICS` says."""
    count = len(KEPT)
    found = KEPT[:count]
    del KEPT[:count]
    return found


def end(envoy: Any, data: bytes) -> list[list[float]]:
    """Stop, and hand over the last ones."""
    _ENDING.set()
    KEPT.append(read())
    return taken(envoy, data)


METRICS = ("cpu_seconds", "memory", "rx_bytes", "tx_bytes", "read_bytes", "write_bytes")
"""What a sample holds after its time; all but ``memory`` grow from some beginning on."""


def sample(period: float) -> None:
    """Sample on an absolute schedule; instants that were missed are skipped."""
    due = time.monotonic()
    while not _ENDING.is_set():
        if len(KEPT) < MOST:
            KEPT.append(read())
        due += period * max(1, 1 + int((time.monotonic() - due) / period))
        _ENDING.wait(max(0.0, due - time.monotonic()))


def read() -> list[float]:
    """One sample."""
    now = time.monotonic_ns()
    received, sent = crossed()
    paged = numbers("/proc/vmstat")
    memory = numbers("/proc/meminfo")
    used = memory["MemTotal"] - memory.get("MemAvailable", memory["MemFree"])
    return [now, busy(), used * 1024, received, sent, paged.get("pgpgin", 0) * 1024, paged.get("pgpgout", 0) * 1024]


def busy() -> float:
    """Seconds in which any of the processors was busy, for this machine or for its guests."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupts, soft = map(int, file.readline().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def numbers(path: str) -> dict[str, int]:
    """A file with a name and a number on each line."""
    with open(path) as file:
        return {words[0].rstrip(":"): int(words[1]) for words in map(str.split, file)}


def crossed() -> tuple[int, int]:
    """Bytes received and sent: by network cards, or, where there are none, by all interfaces but loopback."""
    with open("/proc/self/net/dev") as file:
        lines = [line.partition(":") for line in file.readlines()[2:]]
    counted = {name.strip(): fields.split() for name, _, fields in lines}
    cards = [name for name in counted if os.path.exists("/sys/class/net/{}/device".format(name))]
    chosen = cards or [name for name in counted if name != "lo"]
    return sum(int(counted[name][0]) for name in chosen), sum(int(counted[name][8]) for name in chosen)
