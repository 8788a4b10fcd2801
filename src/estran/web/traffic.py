"""Messages between replicas, as they come in: how many, how large, how long under way and in the queue."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from estran.web.answers import SLOT, WINDOW
from estran.web.series import BIN, Bins
from estran.web.tables import News

_TRAFFIC: Final = f"""SELECT {SLOT} AS slot, stream, origin, receiver, count(*) AS n, sum(bytes) AS bytes,
  sum(received - sent) AS transfer, sum(started - received) AS waited
  FROM {{messages}} WHERE done >= 0 GROUP BY 1, 2, 3, 4"""  # noqa: S608 our own names
_DROPPED: Final = "SELECT time, replica, detail FROM {events} WHERE event = 'channel' ORDER BY time"

_KEPT: Final = 64
"""Slots of a channel that are kept: 16 seconds."""

Key = tuple[str, str, str]
"""Stream, producer and consumer."""


class Recent:
    """Sums of one channel over its newest slots, and over all."""

    def __init__(self) -> None:
        self.total = np.zeros(4)
        self._sums = np.zeros((_KEPT, 4))
        self._slots = np.full(_KEPT, -1, dtype=np.int64)

    def add(self, slot: float, values: np.ndarray[Any, Any]) -> None:
        """Add sums of a slot."""
        self.total += values
        number = int(slot / BIN)
        place = number % _KEPT
        if self._slots[place] > number:
            return  # older than what is kept
        if self._slots[place] != number:
            self._slots[place], self._sums[place] = number, 0.0
        self._sums[place] += values

    def between(self, start: float, end: float) -> np.ndarray[Any, Any]:
        """Sums of what was done between two times, as far as they are kept."""
        inside = (self._slots >= start / BIN) & (self._slots < end / BIN)
        return np.asarray(self._sums[inside].sum(axis=0))


@dataclass
class Traffic:
    """What flows on every channel, and per stream over time."""

    channels: dict[Key, Recent] = field(default_factory=dict)
    streams: dict[str, Bins] = field(default_factory=dict)
    """Messages of each stream by bins of time."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Messages left out so far, by channel."""

    def take(self, news: News) -> None:
        """Read new messages."""
        slot, stream, origin, receiver, *sums = news.read(_TRAFFIC)
        values = np.stack(sums, axis=1)
        for i in range(len(slot)):
            key = (str(stream[i]), str(origin[i]), str(receiver[i]))
            self.channels.setdefault(key, Recent()).add(slot[i], values[i])
            self.streams.setdefault(key[0], Bins(1)).add(slot[i : i + 1], values[i : i + 1, :1])
        for _, _, detail in zip(*news.read(_DROPPED), strict=True):
            told = json.loads(str(detail))
            self.dropped[str(told.get("channel"))] = int(told.get("dropped") or 0)

    def flow(self, keys: list[Key], newest: float, *, whole: bool) -> dict[str, float | None]:
        """What flows on some channels together: messages and bytes a second, mean seconds under way and in the queue.

        Parameters
        ----------
        whole
            Over the whole run, which is over, instead of the last `WINDOW` seconds.
        """
        known = [self.channels[key] for key in keys if key in self.channels]
        span = max(newest, BIN) if whole else min(WINDOW, max(newest, BIN))
        sums = sum((one.total if whole else one.between(newest - WINDOW, newest + BIN) for one in known), np.zeros(4))
        number, size, transfer, waited = (float(value) for value in sums)
        return {
            "rate": number / span,
            "bytes": size / span,
            "transfer": transfer / number if number else None,
            "wait": waited / number if number else None,
        }

    def waits(self, newest: float) -> dict[str, tuple[float, float]]:
        """Mean seconds in the queue of each consumer, in the last `WINDOW` seconds and in those before."""
        found: dict[str, np.ndarray[Any, Any]] = {}
        for (_, _, receiver), recent in self.channels.items():
            parts = [recent.between(newest - WINDOW, newest + BIN), recent.between(newest - 2 * WINDOW, newest - WINDOW)]
            found[receiver] = found.get(receiver, np.zeros((2, 4))) + np.stack(parts)
        return {name: (float(s[0, 3] / max(s[0, 0], 1)), float(s[1, 3] / max(s[1, 0], 1))) for name, s in found.items()}
