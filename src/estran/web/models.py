"""Models under way: who published which version when, and when it arrived where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from estran.web.tables import News

MOST_SHOWN: Final = 12

_CARRIED: Final = """SELECT origin, receiver, version,
  min(sent) AS sent, min(received) AS received, min(done) AS done, max(bytes) AS bytes
  FROM {messages} WHERE version IS NOT NULL AND answer IS NULL GROUP BY 1, 2, 3"""
_PUBLISHED: Final = "SELECT time, replica, detail FROM {events} WHERE event = 'published' ORDER BY time"
_SWAPPED: Final = "SELECT time, replica FROM {events} WHERE event = 'swapped' ORDER BY time"


@dataclass
class Models:
    """Versions of all publishers, and their arrivals."""

    published: dict[tuple[str, int], float] = field(default_factory=dict)
    swapped: list[float] = field(default_factory=list)
    arrivals: dict[tuple[str, int], dict[str, tuple[float, float]]] = field(default_factory=lambda: defaultdict(dict))
    """By publisher and version: of each receiver when it arrived, and how long it was under way."""
    sizes: dict[tuple[str, int], int] = field(default_factory=dict)
    publishers: set[str] = field(default_factory=set)
    """Who said so: of other senders' messages, a version is that of the model which passed them on."""
    carried: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last version that arrived, by publisher and receiver."""
    _origins: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def take(self, news: News) -> None:
        """Read new publications and arrivals."""
        for time, replica, detail in zip(*news.read(_PUBLISHED), strict=True):
            number = re.search(r"\d+", str(detail))
            if number:
                self.publishers.add(str(replica))
                self._publish(str(replica), int(number[0]), float(time))
        self.swapped.extend(float(time) for time in news.read(_SWAPPED)[0])
        for origin, receiver, version, sent, received, done, size in zip(*news.read(_CARRIED), strict=True):
            key = (str(origin), int(version))
            self._publish(*key, float(sent))
            self._origins[str(receiver)].add(str(origin))
            self.arrivals[key][str(receiver)] = (float(done), float(received - sent))
            self.sizes[key] = int(size)
            way = (str(origin), str(receiver))
            self.carried[way] = max(self.carried.get(way, -1), int(version))

    def _publish(self, origin: str, version: int, time: float) -> None:
        self.published[origin, version] = min(time, self.published.get((origin, version), time))

    def issued(self, receiver: str, version: int) -> float | None:
        """When a version that a replica answered with was published, or None where that is not known (yet)."""
        origins = self._origins[receiver] & self.publishers
        times = [self.published[origin, version] for origin in origins if (origin, version) in self.published]
        return min(times, default=None)

    def newest(self, receiver: str, senders: Iterable[str] | None = None) -> int | None:
        """The last version that arrived at a replica, from any publisher or from some."""
        wanted = self._origins[receiver] & self.publishers
        if senders is not None:
            wanted &= set(senders)
        return max((self.carried[origin, receiver] for origin in wanted), default=None)

    def plain(self) -> list[dict[str, Any]]:
        """The last versions, the newest first."""
        models = [(key, time) for key, time in self.published.items() if key[0] in self.publishers]
        latest = sorted(models, key=lambda item: item[1], reverse=True)[:MOST_SHOWN]
        return [
            {
                "publisher": origin, "version": version, "published": time, "bytes": self.sizes.get((origin, version)),
                "arrivals": [
                    {"replica": name, "at": at, "travel": travel}
                    for name, (at, travel) in sorted(self.arrivals.get((origin, version), {}).items())
                ],
            }
            for (origin, version), time in latest
        ]  # fmt: skip
