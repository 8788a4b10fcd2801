"""What answers a run gives, as they come in: how many, how right, how late, and by models how old."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from estran.observe.live import ACCURACY_LEAST, ACCURACY_WINDOW
from estran.web.models import Models
from estran.web.series import Bins, Floats, Latencies, trailing
from estran.web.tables import News

WINDOW: Final = 5.0
"""Seconds that the newest figures are of."""

SLOT: Final = "(CAST(done * 1000000 AS BIGINT) - CAST(done * 1000000 AS BIGINT) % 250000) / 1000000.0 + 0.125"
"""The middle of the quarter of a second in which a message was done: rows are grouped by it where they lie."""

_ANSWERS: Final = f"""SELECT {SLOT} AS slot, receiver, version, count(*) AS n,
  sum(CASE WHEN answer = truth THEN 1 ELSE 0 END) AS hits, count(truth) AS judged, sum(done) AS done
  FROM {{messages}} WHERE answer IS NOT NULL AND done >= 0 GROUP BY 1, 2, 3"""  # noqa: S608 our own names
_LATENCIES: Final = "SELECT done, done - created AS latency FROM {messages} WHERE answer IS NOT NULL AND done >= 0"
_EXCHANGES: Final = """SELECT answer_last, answer_last - request_first AS latency FROM {exchanges}
  WHERE side = 'client' AND answer_last IS NOT NULL AND request_first IS NOT NULL"""

N, HITS, JUDGED = range(3)


@dataclass
class Answers:
    """Answers of all predictors, and exchanges of commands."""

    models: Models
    counts: Bins = field(default_factory=lambda: Bins(3))
    latencies: Latencies = field(default_factory=Latencies)
    exchanged: Latencies = field(default_factory=Latencies)
    exchanges: Bins = field(default_factory=lambda: Bins(1))
    ages: Bins = field(default_factory=lambda: Bins(2))
    """Answers whose model's publication is known, and the sum of its ages."""
    serving: dict[str, int] = field(default_factory=dict)
    """The version that each replica answered with last."""
    _early: dict[tuple[str, int], list[tuple[float, float, float]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, news: News) -> None:
        """Read new answers; the models' news must have been read before."""
        slot, receiver, version, n, hits, judged, done = news.read(_ANSWERS)
        self.counts.add(slot, np.stack([n, hits, judged], axis=1))
        self.latencies.add(*news.read(_LATENCIES))
        times, spans = news.read(_EXCHANGES)
        self.exchanged.add(times, spans)
        self.exchanges.add(times, np.ones((len(times), 1)))
        for i in np.argsort(slot):
            if np.isfinite(version[i]):
                self._early[str(receiver[i]), int(version[i])].append((slot[i], n[i], done[i]))
                self.serving[str(receiver[i])] = int(version[i])
        self._grow_old()

    def _grow_old(self) -> None:
        """Ages of the models that answered, as far as it is known when they were published."""
        for key in list(self._early):
            issued = self.models.issued(*key)
            if issued is not None:
                rows = np.array(self._early.pop(key))
                ages = np.stack([rows[:, 1], rows[:, 2] - rows[:, 1] * issued], axis=1)
                known = ages[:, 1] >= 0  # as clocks go, an answer may seem to come before its model
                self.ages.add(rows[known, 0], ages[known])

    def figures(self, newest: float) -> dict[str, float]:
        """The newest figures, of the last `WINDOW` seconds (accuracy: of the last 500 answers); those not known are left out."""
        sums, aged = self.counts.last(WINDOW, newest), self.ages.last(WINDOW, newest)
        figures: dict[str, float | None] = {}
        if samples := float(self.counts.sums[:, N].sum()):
            figures["samples"] = samples
            figures["throughput"] = float(sums[N]) / min(WINDOW, max(newest, self.counts.width))
        if self.counts.sums[:, JUDGED].sum() >= ACCURACY_LEAST:
            figures["accuracy"] = float(self.accuracy()[-1])
        names = ("latency_p50", "latency_p95", "latency_p99")
        figures |= dict(zip(names, self.latencies.last(WINDOW, newest, LEVELS), strict=True))
        exchanged = ("exchange_latency_p50", "exchange_latency_p95", "exchange_latency_p99")
        figures |= dict(zip(exchanged, self.exchanged.last(WINDOW, newest, LEVELS), strict=True))
        figures["staleness"] = float(aged[1] / aged[0]) if aged[0] else None
        return {name: value for name, value in figures.items() if value is not None and np.isfinite(value)}

    def accuracy(self) -> Floats:
        """Accuracy at each bin, of the last 500 answers whose truth is known."""
        return trailing(self.counts.sums[:, JUDGED], self.counts.sums[:, HITS], ACCURACY_WINDOW)


LEVELS: Final = [0.50, 0.95, 0.99]
