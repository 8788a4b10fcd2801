"""Explained studies with planted effects, from the plainest to the strangest."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from estran.explain.paths import Change, Paths, Profile
from estran.report.study_data import Study, gather
from tests.explain.planted import table

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
LONG = "a placement with a name that is so long that nobody would ever write it, but somebody will"


def usual() -> Study:
    """Three factors, an interaction, an outlier, failed runs, three responses, stages of messages."""
    places = (LONG, "edge", EVIL)
    factors: dict[str, tuple[Any, ...]] = {"placement_of_the_detector": places, "delay": ("1ms", "10ms", "100ms"), "rate": (1, 5)}
    points = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    rng = np.random.default_rng(3)
    far = np.array([places.index(point["placement_of_the_detector"]) * point["rate"] for point in points * 3])
    y = (10 + far + rng.normal(scale=0.4, size=len(far))) / 1000
    y[7] += 0.02
    made = table(factors, points, 3, y)
    done = np.ones(len(y), bool)
    done[[3, 9, 20, 41]] = False
    more = {"accuracy": 0.9 - 10 * y + rng.normal(scale=0.01, size=len(y)), "energy": 300 + rng.normal(scale=5, size=len(y))}
    units = {"latency": "s", "accuracy": "fraction", "energy": "J"}
    found = gather(replace(made, done=done, responses={**made.responses, **more}, units=units))
    return replace(
        found, paths=_paths(), failures={run: f"service trainer-{run} exited with 1" for run in (4, 10, 21, 42)}, unmade=0
    )


def per_host() -> Study:
    """A response of four hosts, one of which failed to measure it in a run."""
    factors = {"delay": ("1ms", "10ms"), "placement": ("edge", "cloud")}
    points = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    rng = np.random.default_rng(6)
    made = table(factors, points, 3, np.array([10.0 + 5 * (point["delay"] == "10ms") for point in points * 3]))
    hosts = {f"energy@edge-{i}": made.responses["latency"] + rng.normal() + rng.normal(scale=0.3, size=made.runs) for i in range(4)}
    hosts["energy@edge-2"][5] = np.nan
    return gather(replace(made, responses=hosts, units=dict.fromkeys(hosts, "J")), ["energy@edge-*"])


def many() -> Study:
    """Twelve factors in few runs."""
    import pyDOE3

    factors = {f"factor_{i}": ("low", "high") for i in range(12)}
    signs = pyDOE3.pbdesign(12)
    points = [{name: levels[int(sign > 0)] for (name, levels), sign in zip(factors.items(), row, strict=True)} for row in signs]
    rng = np.random.default_rng(4)
    y = [20 + 5 * (point["factor_0"] == "high") + rng.normal() for point in points * 2]
    return gather(table(factors, points, 2, y, "plackett-burman"))


def drawn() -> Study:
    """Two hundred points of two factors, none twice."""
    factors = {"delay": ("1ms", "100ms"), "placement": ("edge", "cloud")}
    rng = np.random.default_rng(5)
    points = [{"delay": f"{1 + i * 0.495:.6g}ms", "placement": ("edge", "cloud")[i % 2]} for i in rng.permutation(200)]
    y = [0.01 + 1e-4 * float(point["delay"][:-2]) * (1 + (point["placement"] == "edge")) + rng.normal() * 1e-3 for point in points]
    return gather(table(factors, points, 1, y, "latin"))


def indexed() -> Study:
    """A design for Sobol's indices."""
    rng = np.random.default_rng(6)
    factors = {"delay": ("1ms", "100ms"), "rate": (1.0, 9.0)}
    base = rng.random((16, 4))
    points = []
    for a0, a1, b0, b1 in base:
        points += [(a0, a1), (b0, a1), (a0, b1), (b0, b1)]
    made = [{"delay": f"{1 + 99 * x:.6g}ms", "rate": float(f"{1 + 8 * y:.6g}")} for x, y in points]
    return gather(table(factors, made, 1, [x + 0.3 * y for x, y in points], "sobol"))


def _paths() -> Paths:
    def profile(level: str, transfer: float) -> Profile:
        mean = {"queueing at detector": 1e-3, "transfer edge → fog": transfer, "compute at detector": 2e-3, EVIL: 1e-4}
        tail = {stage: 2 * seconds for stage, seconds in mean.items()}
        return Profile(level, 10, 1000, sum(mean.values()), sum(tail.values()), mean, tail)

    low, high = profile("1ms", 1e-3), profile("100ms", 0.1)
    shares = {"transfer edge → fog": 1.0}
    ends = {"transfer edge → fog": (0.98, 1.02)}
    change = Change("delay", "1ms", "100ms", 0.099, 0.198, None, None, {}, {}, shares, {}, ends, {})
    return Paths(profile("", 0.05), {"delay": (low, high)}, (change,), ("run 4: its folder is missing",))
