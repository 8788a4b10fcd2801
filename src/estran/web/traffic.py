"""Messages between replicas, as they come in: how many, how large, how long under way and in the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from estran.web.answers import SLOT, WINDOW
from estran.web.series import BIN, Bins
from estran.web.tables import News

_TRAFFIC: Final = f"""SELECT {SLOT} AS slot, stream, origin, receiver, count(*) AS n, sum(bytes) AS bytes,
  sum(received - sent) AS transfer, sum(started - received) AS waited
  FROM {{messages}} WHERE done >= 0 GROUP BY 1, 2, 3, 4"""  # noqa: S608 our own names
_ANSWERED: Final = SLOT.replace("done", "answer_last")
_EXCHANGES: Final = f"""SELECT {_ANSWERED} AS slot, CASE replica WHEN '' THEN host ELSE replica END AS client, peer, port,
  count(*) AS n, sum(request_bytes + answer_bytes) AS bytes, sum(answer_last - request_first) AS latency, 0.0 AS waited
  FROM {{exchanges}} WHERE side = 'client' AND answer_last >= 0 AND request_first IS NOT NULL GROUP BY 1, 2, 3, 4"""  # noqa: S608 our own names

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

    def rest(self, newest: float) -> tuple[float, float]:
        """Seconds since something was done last, and how many were a second in the kept time before."""
        last = float(self._slots.max()) * BIN + BIN
        number = float(self.between(last - WINDOW, last)[0])
        return max(0.0, newest - last), number / WINDOW

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
    exchanges: dict[Key, Recent] = field(default_factory=dict)
    """Of commands: by port, client and server; what is under way is the whole time from request to answer."""

    def take(self, news: News) -> None:
        """Read new messages."""
        slot, stream, origin, receiver, *sums = news.read(_TRAFFIC)
        values = np.stack(sums, axis=1)
        for i in range(len(slot)):
            key = (str(stream[i]), str(origin[i]), str(receiver[i]))
            self.channels.setdefault(key, Recent()).add(slot[i], values[i])
            self.streams.setdefault(key[0], Bins(1)).add(slot[i : i + 1], values[i : i + 1, :1])
        slot, client, peer, port, *sums = news.read(_EXCHANGES)
        values = np.stack(sums, axis=1)
        for i in range(len(slot)):
            key = (str(int(port[i])), str(client[i]), str(peer[i]))
            self.exchanges.setdefault(key, Recent()).add(slot[i], values[i])

    def flow(self, keys: list[Key], newest: float, *, whole: bool) -> dict[str, float | None]:
        """What flows on some channels, or in exchanges: number and bytes a second, mean seconds under way and in the queue.

        Parameters
        ----------
        whole
            Over the whole run, which is over, instead of the last `WINDOW` seconds.
        """
        known = [recent for key in keys if (recent := self.channels.get(key) or self.exchanges.get(key)) is not None]
        span = max(newest, BIN) if whole else min(WINDOW, max(newest, BIN))
        sums = sum((one.total if whole else one.between(newest - WINDOW, newest + BIN) for one in known), np.zeros(4))
        number, size, transfer, waited = (float(value) for value in sums)
        return {
            "rate": number / span,
            "bytes": size / span,
            "transfer": transfer / number if number else None,
            "wait": waited / number if number else None,
        }

    def silent(self, newest: float) -> dict[Key, float]:
        """Channels on which much came until lately and nothing does now, with the seconds since: ten times as long as usual."""
        found = {}
        for key, recent in self.channels.items():
            since, rate = recent.rest(newest)
            if since >= WINDOW and since * rate >= 10:
                found[key] = since
        return found

    def waits(self, newest: float) -> dict[str, tuple[float, float]]:
        """Mean seconds in the queue of each consumer, in the last `WINDOW` seconds and in those before."""
        found: dict[str, np.ndarray[Any, Any]] = {}
        for (_, _, receiver), recent in self.channels.items():
            parts = [recent.between(newest - WINDOW, newest + BIN), recent.between(newest - 2 * WINDOW, newest - WINDOW)]
            found[receiver] = found.get(receiver, np.zeros((2, 4))) + np.stack(parts)
        return {name: (float(s[0, 3] / max(s[0, 0], 1)), float(s[1, 3] / max(s[1, 0], 1))) for name, s in found.items()}
