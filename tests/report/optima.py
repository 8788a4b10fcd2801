"""A made-up optimisation: latency against accuracy over a range, a category and a factor that does not always count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from estran.report.optimum.view import Asked, Figure, Made, Optimum, Progress, Role, Seen, Spent
from estran.spec.ranges import Range
from estran.study.factors import Factor

EVIL = "<script>alert(1)</script>"
FACTORS = (
    Factor("placement", ("fog", "edge", "cloud")),
    Factor("publish_every", ("0.1s", "10s"), "1s", Range(0.1, 10.0, "s", 1.0, "duration", log=True, text=True)),
    Factor("pool", (1, 64), 8, Range(1, 64, whole=True), {"placement": ("fog", "cloud")}),
    Factor("send", ("full", "int8")),
)
LATENCY, ACCURACY = Asked("latency_p99", "s", True), Asked("accuracy", "fraction", False)
ENERGY = Asked("energy", "J", None, "energy<=40J")


def optimum(points: int = 60, *, single: bool = False, hostile: bool = False, ladder: bool = True, seed: int = 1) -> Optimum:
    """So many points; what nothing beats is the front."""
    rng = np.random.default_rng(seed)
    seen = [_seen(number, rng) for number in range(points)]
    best = _fronted(seen, single)
    placed = tuple(replace(one, role=_role(one.number, best), beaten=one.number not in best) for one in seen)
    asked = (LATENCY, ENERGY) if single else (LATENCY, ACCURACY, ENERGY)
    steps = tuple((30.0 * i, 1.0 - np.exp(-i / 9)) for i in range(points // 2))
    return Optimum(
        EVIL if hostile else "planted",
        f"studies/planted/{EVIL}" if hostile else "studies/planted/20261128-180000",
        "emulate" if ladder else "simulate",
        42,
        "done",
        FACTORS,
        asked,
        placed,
        tuple(_made(number, hostile) for number in range(points)),
        _spent(points, ladder),
        Progress("hypervolume", "", steps),
        (
            "latency_p99 142 → 61 ms (−57 %, 95 % −49…−64 %) at the same accuracy (−0.1 points, cannot be told from 0).",
            "Point 7 is recommended: of the front, the one that gives up least of each goal.",
        ),
        "recommended.yaml",
        (EVIL,) if hostile else ("2 of 60 trials failed.",),
        "estran optimize experiment.yaml --minimize latency_p99 --maximize accuracy --subject-to 'energy<=40J' --seed 42",
    )


def _seen(number: int, rng: np.random.Generator) -> Seen:
    placement = str(rng.choice(["fog", "edge", "cloud"]))
    levels = {
        "placement": placement,
        "publish_every": FACTORS[1].range.at(float(rng.random())) if FACTORS[1].range else "1s",
        "pool": 8 if placement == "edge" else int(rng.integers(1, 65)),
        "send": str(rng.choice(["full", "int8"])),
    }
    slow = float(rng.gamma(3.0, 0.02) + 0.03)
    right = float(0.93 - 0.2 * np.exp(-slow * 12) - 0.05 * rng.random())
    runs = {"simulate": 1, "emulate": int(rng.integers(0, 4))}
    half = 0.004 / max(1, runs["emulate"])
    return Seen(
        number,
        levels,
        frozenset({"pool"}) if placement == "edge" else frozenset(),
        "rest",
        "emulate" if runs["emulate"] else "simulate",
        {
            "latency_p99": Figure(slow, (slow - half, slow + half)),
            "accuracy": Figure(right, (right - half, right + half)),
            "energy": Figure(30.0 + number % 20),
        },
        runs,
        sum(runs.values()) * 20.0,
        float(rng.random()),
        float(rng.random()),
    )


def _fronted(seen: list[Seen], single: bool) -> list[int]:
    found: list[Seen] = []
    for one in sorted(seen, key=lambda one: one.figures["latency_p99"].mean):
        if not found or (not single and one.figures["accuracy"].mean > found[-1].figures["accuracy"].mean):
            found.append(one)
    return [one.number for one in found]


def _role(number: int, best: list[int]) -> Role:
    if number == best[len(best) // 2]:
        return "best"
    return "default" if number == 0 else "front" if number in best else "rest"


def _made(number: int, hostile: bool) -> Made:
    failed = number % 20 == 9
    return Made(
        number,
        number,
        "emulate" if number % 3 else "simulate",
        "failed" if failed else "done",
        20.0,
        "default" if number == 0 else "explore",
        EVIL if hostile else "expected improvement 0.3 for 20 s",
        {} if failed else {"latency_p99": 0.1, "accuracy": 0.9, "energy": 31.0},
        "detector-0 on fog-0 exited with 3" if failed else "",
    )


def _spent(points: int, ladder: bool) -> tuple[Spent, ...]:
    high = Spent("emulate", points // 3, 1, 0, 20.0 * points / 3, points // 4, "What counts.")
    low = Spent(
        "simulate",
        points,
        2,
        0,
        1.2 * points,
        points,
        "Trusted: it ranks 12 paired points as emulate does (ρ 0.93, 95 % 0.8 to 0.98).",
    )
    return (low, high) if ladder else (Spent("simulate", points, 2, 0, 1.2 * points, points),)
