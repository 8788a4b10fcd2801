"""Curves of numeric factors and transforms: planted ones are recognised, told in words, and their intervals hold the truth."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.explain.effects import explain
from estran.explain.shape import natural_spline
from estran.report.explaining import answer, validity
from tests.explain.planted import table

CURVES = (
    lambda x: 4 * x,
    lambda x: 4 * x**2,
    lambda x: 4 / (1 + np.exp(-12 * (x - 0.4))),
    lambda x: 4 * np.exp(-5 * x),
    lambda x: 0 * x,
)


def test_intervals_along_planted_curves_hold_the_truth() -> None:
    """Over 100 studies of 8 levels: straight, bent, s-shaped, falling then flat, and none."""
    rng = np.random.default_rng(11)
    held = intervals = false = nulls = 0
    for number in range(100):
        levels, curve = tuple(range(8)), CURVES[number % len(CURVES)]
        points: list[dict[str, Any]] = [{"delay": one, "mode": mode} for one in levels for mode in ("a", "b")]
        truth = curve(np.array(levels) / 7)
        y = [10 + truth[p["delay"]] + rng.normal(scale=0.6) for _ in range(4) for p in points]
        found = explain(table({"delay": levels, "mode": ("a", "b")}, points, 4, y), "latency", rng)
        for effect in found.effects:
            null = effect.term != "delay" or not truth.any()
            nulls, false = nulls + null, false + (null and effect.found)
            for place, level in list(enumerate(effect.levels))[1:] if effect.term == "delay" else ():
                held += level.difference_ci95[0] <= truth[place] - truth[0] <= level.difference_ci95[1]
                intervals += 1
    assert held / intervals >= 0.93, f"{held} of {intervals}"
    assert false <= 0.05 * nulls


def test_multiplicative_noise_is_told_as_shares() -> None:
    """Over 60 studies with log-normal noise: a logarithm is fitted in most, and its ratios' intervals hold the truth."""
    rng = np.random.default_rng(12)
    held = intervals = logs = 0
    factors: dict[str, tuple[Any, ...]] = {"a": ("x", "y", "z"), "b": ("u", "v")}
    points = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    factor = {"x": 1.0, "y": 2.0, "z": 8.0, "u": 1.0, "v": 1.0}
    for _ in range(60):
        y = [0.01 * factor[p["a"]] * factor[p["b"]] * np.exp(rng.normal(scale=0.4)) for _ in range(5) for p in points]
        found = explain(table(factors, points, 5, y), "latency", rng)
        logs += found.power == 0
        for effect in found.effects:
            for level in effect.levels[1:] if found.power == 0 else ():
                assert level.ratio_ci95 is not None
                held += level.ratio_ci95[0] <= factor[level.name] <= level.ratio_ci95[1]
                intervals += 1
    assert logs >= 30
    assert held / intervals >= 0.93, f"{held} of {intervals}"


def test_shapes_and_transforms_are_told_in_words() -> None:
    rng = np.random.default_rng(13)
    delays = ("10ms", "20ms", "30ms", "40ms")
    points = [{"delay": one} for one in delays]
    y = [0.1 + 0.3 * float(p["delay"][:-2]) / 1000 + rng.normal(scale=2e-4) for _ in range(6) for p in points]
    said = " ".join(answer(explain(table({"delay": delays}, points, 6, y), "latency", rng))).replace(chr(0x202F), " ")
    assert re.search(r"\(it rises by (3|3\.0\d|2\.9\d) ms per 10ms\)", said)
    every = ("2s", "4s", "10s")
    points = [{"every": one} for one in every]
    y = [0.9 - 0.0137 * float(p["every"][:-1]) + rng.normal(scale=1e-5) for _ in range(6) for p in points]
    found = explain(replace(table({"every": every}, points, 6, y), units={"latency": "fraction"}), "latency", rng)
    assert "(it falls by 1.37 points per s): " in " ".join(answer(found))
    sizes = (1, 10, 100, 1000)
    points = [{"batch": one} for one in sizes]
    y = [1 - 0.1 * np.log10(p["batch"]) + rng.normal(scale=5e-3) for _ in range(6) for p in points]
    said = " ".join(answer(explain(table({"batch": sizes}, points, 6, y), "latency", rng))).replace(chr(0x202F), " ")
    assert "ms per factor of 10)" in said
    y = [{1: 0.9, 10: 0.2, 100: 0.2, 1000: 0.2}[p["batch"]] + rng.normal(scale=5e-3) for _ in range(6) for p in points]
    said = " ".join(answer(explain(table({"batch": sizes}, points, 6, y), "latency", rng)))
    assert "(it falls, then stays flat)" in said
    points = [{"a": one} for one in ("x", "y", "z")]
    y = [{"x": 0.01, "y": 0.04, "z": 0.16}[p["a"]] * np.exp(rng.normal(scale=0.5)) for _ in range(20) for p in points]
    found = explain(table({"a": ("x", "y", "z")}, points, 20, y), "latency", rng)
    assert any("fitted to the logarithm of latency" in sentence for sentence in validity(found))
    assert any("% more than x" in sentence.replace(chr(0x202F), " ") for sentence in answer(found))


def test_a_natural_spline_is_straight_beyond_its_last_knots_and_smooth_between() -> None:
    places = np.linspace(0, 1, 2001)
    basis = natural_spline(places, 5)
    bends = np.diff(basis, 2, axis=0)
    assert np.abs(bends[[0, -1]]).max() < 1e-2 * np.abs(bends).max() + 1e-12
    assert np.abs(np.diff(bends, axis=0)).max() < 0.02 * np.abs(bends).max()
