"""The newest figures of a run that is going on, for its stop condition and its progress display.

Each is a figure of a *moving window*, cheap to keep up to date: accuracy of the last 500 answers (from 100 on), latency of the
last 2000 (quantiles from 200 on), throughput of the last 5 seconds. They steer; the responses of the finished run are what counts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from estran.observe.rows import COLUMNS
from estran.spec.model import Until
from estran.spec.references import LIVE_METRICS

ACCURACY_WINDOW: Final = 500
ACCURACY_LEAST: Final = 100
LATENCY_WINDOW: Final = 2000
LATENCY_LEAST: Final = 200
THROUGHPUT_SECONDS: Final = 5.0

UNTIL_NAMES: Final = tuple(LIVE_METRICS)
"""What ``until`` may name besides any metric that a component records (``loss``, or ``loss@trainer`` for one service's)."""

_COUNTERS: Final = ("samples", "cpu_seconds", "energy")
_RELATIONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_M: Final = {column.name: index for index, column in enumerate(COLUMNS["messages"])}


class _Ring:
    """The last values of a series."""

    def __init__(self, size: int) -> None:
        self._values = np.zeros(size)
        self.seen = 0

    def add(self, value: float) -> None:
        self._values[self.seen % len(self._values)] = value
        self.seen += 1

    @property
    def values(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return self._values[: min(self.seen, len(self._values))]


class LiveResponses:
    """Takes rows as they come in and answers for the newest figures.

    Parameters
    ----------
    since
        Seconds of the run's clock: messages created before (the warm-up) and values recorded before do not count.
    """

    def __init__(self, since: float = 0.0) -> None:
        self._since = since
        self._answers = 0
        self._processed: dict[str, int] = {}
        self._hits = _Ring(ACCURACY_WINDOW)
        self._latencies = _Ring(LATENCY_WINDOW)
        self._done = _Ring(20_000)
        self._recorded: dict[str, dict[str, float]] = {}
        self._hosts: dict[str, dict[str, tuple[float, float]]] = {}

    def update(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Take new rows of a table; those of no interest are passed over."""
        if table == "messages":
            for row in rows:
                if row[_M["created"]] >= self._since:
                    self._message(row)
        elif table == "metrics":
            for time, host, replica, metric, value in rows:
                if time >= self._since and value == value:  # NaN is no value
                    self._metric(host, replica, metric, value)

    def _message(self, row: Sequence[Any]) -> None:
        answer, truth = row[_M["answer"]], row[_M["truth"]]
        if answer is None:
            if row[_M["version"]] is None:  # models have versions, what they are learnt from has none
                receiver = row[_M["receiver"]].rpartition("-")[0]
                self._processed[receiver] = self._processed.get(receiver, 0) + 1
            return
        self._answers += 1
        self._latencies.add(row[_M["done"]] - row[_M["created"]])
        self._done.add(row[_M["done"]])
        if truth is not None:
            self._hits.add(float(answer == truth))

    def _metric(self, host: str, replica: str, metric: str, value: float) -> None:
        if replica:
            self._recorded.setdefault(metric, {})[replica] = value
        else:
            first, _ = self._hosts.setdefault(metric, {}).setdefault(host, (value, value))
            self._hosts[metric][host] = (first, value)

    def get(self, name: str) -> float | None:
        """The newest value of a figure, or None while too little is known.

        ``samples`` counts answers or, where nothing answers, what the busiest consumer service processed. ``cpu_seconds`` and
        ``energy`` are sums over hosts since the start, ``memory`` is the sum now. A recorded metric is the mean over replicas of
        their newest values, ``metric@service`` over one service's.
        """
        figure = self._FIGURES.get(name)
        return figure(self) if figure is not None else self._newest(name)

    def met(self, until: Until) -> bool:
        """Whether a stop condition holds. A count that must equal a number has also reached it when it has passed it."""
        value = self.get(until.metric)
        if value is None:
            return False
        relation = ">=" if until.relation == "==" and until.metric in _COUNTERS else until.relation
        return _RELATIONS[relation](value, until.value)

    def figures(self) -> dict[str, float]:
        """All of `UNTIL_NAMES` that are known."""
        found = {name: self.get(name) for name in UNTIL_NAMES}
        return {name: value for name, value in found.items() if value is not None}

    def _accuracy(self) -> float | None:
        return float(self._hits.values.mean()) if self._hits.seen >= ACCURACY_LEAST else None

    def _samples(self) -> float | None:
        count = self._answers or max(self._processed.values(), default=0)
        return float(count) if count else None

    def _latency(self) -> float | None:
        return float(self._latencies.values.mean()) if self._latencies.seen else None

    def _quantile(self, level: float) -> float | None:
        return float(np.quantile(self._latencies.values, level)) if self._latencies.seen >= LATENCY_LEAST else None

    def _throughput(self) -> float | None:
        done = self._done.values
        if not len(done):
            return None
        newest = float(done.max())
        span = min(THROUGHPUT_SECONDS, newest - self._since)
        if len(done) == len(self._done._values):  # faster than the ring holds: over what it holds
            span = min(span, newest - float(done.min()))
        return float((done > newest - span).sum() / span) if span > 0 else None

    def _grown(self, metric: str) -> float | None:
        hosts = self._hosts.get(metric)
        return sum(last - first for first, last in hosts.values()) if hosts else None

    def _memory(self) -> float | None:
        hosts = self._hosts.get("memory")
        return sum(last for _, last in hosts.values()) if hosts else None

    def _newest(self, name: str) -> float | None:
        metric, _, service = name.partition("@")
        replicas = self._recorded.get(metric, {})
        values = [value for replica, value in replicas.items() if not service or replica.rpartition("-")[0] == service]
        return float(np.mean(values)) if values else None

    _FIGURES: Final[Mapping[str, Callable[[LiveResponses], float | None]]] = {
        "accuracy": _accuracy,
        "samples": _samples,
        "latency": _latency,
        "latency_p50": lambda self: self._quantile(0.50),
        "latency_p95": lambda self: self._quantile(0.95),
        "latency_p99": lambda self: self._quantile(0.99),
        "throughput": _throughput,
        "cpu_seconds": lambda self: self._grown("cpu_seconds"),
        "energy": lambda self: self._grown("energy"),
        "memory": _memory,
    }
