"""What happens to services, and what components record: states, restarts, errors, divergence, metrics of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from estran.web.series import Bins
from estran.web.tables import News

_EVENTS: Final = """SELECT time, host, replica, event, detail FROM {events}
  WHERE event IN ('started', 'ready', 'ended', 'restarted', 'error', 'diverged', 'refused', 'drift', 'rolled-back',
  'fault-begun', 'fault-over') ORDER BY time"""
_RECORDED: Final = """SELECT metric, CAST(time * 4 AS BIGINT) / 4.0 AS slot, replica,
  sum(CASE WHEN abs(value) < 1e300 THEN 1 ELSE 0 END) AS n, sum(CASE WHEN abs(value) < 1e300 THEN value ELSE 0 END) AS total,
  sum(CASE WHEN abs(value) < 1e300 THEN 0 ELSE 1 END) AS wrong
  FROM {metrics} WHERE replica <> '' AND metric <> 'process_cpu' AND time >= 0 GROUP BY 1, 2, 3"""
MOST_EVENTS: Final = 200
STATES: Final = {"started": "starting", "ready": "running", "restarted": "restarting", "ended": "ended"}


@dataclass
class Replica:
    """How a replica fares; ``detail`` is of its last event."""

    state: str = "planned"
    restarts: int = 0
    errors: int = 0
    detail: str = ""


@dataclass
class Happenings:
    """States of replicas, notable events, and what components recorded."""

    replicas: dict[str, Replica] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Notable ones, the newest last."""
    recorded: dict[str, Bins] = field(default_factory=dict)
    """By metric: number of values and their sum in each bin of time."""
    wrong: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a replica last recorded a metric that was no finite number."""

    def take(self, news: News) -> None:
        """Read what is new."""
        for time, host, replica, event, detail in zip(*news.read(_EVENTS), strict=True):
            self._event(float(time), str(host), str(replica), str(event), str(detail))
        del self.events[:-MOST_EVENTS]
        metric, slot, replica, n, total, wrong = news.read(_RECORDED)
        for i in range(len(slot)):
            bins = self.recorded.setdefault(str(metric[i]), Bins(2))
            bins.add(slot[i : i + 1], np.array([[n[i], total[i]]]))
            if wrong[i]:
                self.wrong[str(metric[i]), str(replica[i])] = float(slot[i])

    def _event(self, time: float, host: str, replica: str, event: str, detail: str) -> None:
        if not replica:  # of the run as a whole: what it breaks on purpose
            self.events.append({"time": time, "host": host, "replica": replica, "event": event, "detail": detail})
            return
        known = self.replicas.setdefault(replica, Replica())
        known.state = STATES.get(event, known.state)
        known.restarts += event == "restarted"
        known.errors += event == "error"
        known.detail = detail if event in STATES else known.detail
        if event not in ("started", "ready", "ended"):
            self.events.append({"time": time, "host": host, "replica": replica, "event": event, "detail": detail})
