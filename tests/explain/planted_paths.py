"""Runs whose messages spend a known time at each stage: camera (edge) → gate (fog) → detector (cloud)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from estran.observe.stories import Stories

SERVICES = {"camera-0": "camera", "gate-0": "gate", "detector-0": "detector"}
HOSTS = {"camera-0": ("edge-0", "edge"), "gate-0": ("fog-0", "fog"), "detector-0": ("cloud-0", "cloud")}
WINDOW = (0.0, math.inf)
QUEUE, LINK = "queueing at detector", "transfer fog → cloud"


@dataclass(frozen=True)
class Truth:
    """Seconds: constants, but for queueing at the detector and the second link, which have exponential parts of means a and b."""

    edge: float
    gate: float
    link: float
    work: float
    a: float
    b: float

    def mean(self) -> dict[str, float]:
        return self._stages(self.a, self.b)

    def tail(self) -> dict[str, float]:
        """E[X | X + Y = q] of exponential X and Y: X has the density e^(−λx) on [0, q] then, with λ = 1/a − 1/b."""
        q, a, b = self._quantile(0.01), self.a, self.b
        rate = 1 / a - 1 / b
        x = 1 / rate - q / math.expm1(rate * q)
        return self._stages(x, q - x)

    def _stages(self, x: float, y: float) -> dict[str, float]:
        fixed = {"transfer edge → fog": self.edge, "compute at gate": self.gate, "compute at detector": self.work}
        return {**fixed, QUEUE: x, LINK: self.link + y}

    def _quantile(self, above: float) -> float:
        low, high, a, b = 0.0, 50 * max(self.a, self.b), self.a, self.b
        for _ in range(80):
            q = (low + high) / 2
            more = (a * math.exp(-q / a) - b * math.exp(-q / b)) / (a - b) > above
            low, high = (q, high) if more else (low, q)
        return low

    def stories(self, rng: np.random.Generator, messages: int) -> Stories:
        """Both hops of so many messages."""
        x, y = rng.exponential(self.a, messages), rng.exponential(self.b, messages)
        created = np.arange(messages) * 10.0
        got = created + self.edge
        sent = got + self.gate
        received = sent + self.link + y
        started = received + x
        done = started + self.work
        names = ("camera-0", "camera.out", "detector-0", "gate-0", "gate.out")
        codes = {name: np.full(messages, code) for code, name in enumerate(names)}
        trace = np.arange(messages).astype(np.uint64) + np.uint64(1)
        none, number = np.full(messages, -1), np.arange(messages)
        first = ("camera.out", "camera-0", "gate-0"), (created, created, got, got, sent), none
        second = ("gate.out", "gate-0", "detector-0"), (created, sent, received, started, done), np.zeros(messages, np.int64)
        columns = [
            (trace, *(codes[name] for name in replicas), number, *times, np.full(messages, 100), none, none, answer)
            for replicas, times, answer in (first, second)
        ]
        return Stories(names, *(np.concatenate(both) for both in zip(*columns, strict=True)))


def shares(low: Mapping[str, float], high: Mapping[str, float]) -> dict[str, float]:
    """What the stages contribute to a difference."""
    whole = sum(high.values()) - sum(low.values())
    return {name: (high[name] - low[name]) / whole for name in low}
