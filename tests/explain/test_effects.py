"""Effects: planted ones are found with their size, others are not; and what cannot be told is said."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.errors import RequestError
from estran.explain.effects import explain
from estran.explain.explanation import plain
from estran.explain.further import suggest
from estran.report.explaining import answer, validity
from tests.explain.planted import Planted, table

STUDIES = 200


def test_planted_effects_are_found_with_their_size_and_order() -> None:
    """Over 200 studies: intervals hold the truth in 93 % at least, order is right in 98 %, false discoveries are 5 % at most."""
    rng = np.random.default_rng(2026)
    held = intervals = ordered = false = discoveries = 0
    for _ in range(STUDIES):
        planted = Planted(rng)
        found = explain(planted.table, "latency", rng)
        for effect in found.effects:
            if effect.levels:
                truth = planted.effects[effect.term]
                for number, level in enumerate(effect.levels[1:], 1):
                    low, high = level.difference_ci95
                    held += low <= truth[number] - truth[0] <= high
                    intervals += 1
            discoveries += effect.found
            false += effect.found and effect.term in planted.nulls
        names = [effect.term for effect in found.effects if effect.levels and effect.term in planted.ranking]
        ordered += names == planted.ranking
    assert held / intervals >= 0.93, f"{held} of {intervals} intervals hold the truth"
    assert ordered / STUDIES >= 0.98, f"{ordered} of {STUDIES} rankings are right"
    assert false / discoveries <= 0.05, f"{false} of {discoveries} discoveries are false"


def full(factors: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]


TWO = {"place": ("edge", "fog", "cloud"), "every": ("1s", "2s")}


def test_intervals_of_shares_over_few_replicates_are_of_shares() -> None:
    points = [{"a": 1}, {"a": 2}]
    planted = table({"a": (1, 2)}, points, 2, [0.99, 0.01, 0.95, 0.03])
    for unit, beyond in (("fraction", False), ("s", True)):
        found = explain(replace(planted, units={"latency": unit}), "latency", np.random.default_rng(1))
        low, high = (level.mean_ci95 for level in (found.effects[0].levels[1], found.effects[0].levels[0]))
        assert (low[0] < 0, high[1] > 1) == (beyond, beyond)


def test_shares_and_tests_are_those_of_a_textbook_analysis_of_variance() -> None:
    """Against scipy's one-way ANOVA, which has the same F where there is one factor and one block."""
    from scipy.stats import f_oneway

    rng = np.random.default_rng(1)
    y = rng.normal(size=18) + np.tile([0.0, 0.5, 2.0], 6)
    found = explain(table({"place": ("a", "b", "c")}, [{"place": p} for _ in range(6) for p in "abc"], 1, y), "latency", rng)
    (effect,) = found.effects
    wanted = f_oneway(*(y[i::3] for i in range(3)))
    assert (effect.f, effect.p) == pytest.approx((wanted.statistic, wanted.pvalue))
    groups = np.array([y[i::3].mean() for i in range(3)])
    assert [level.mean for level in effect.levels] == pytest.approx(groups)
    assert effect.share == pytest.approx(6 * ((groups - y.mean()) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert effect.share + found.residual == pytest.approx(1)


def test_an_answer_says_what_an_outage_costs() -> None:
    """A fault's duration is a factor like others; 0 s is no fault."""
    rng = np.random.default_rng(5)
    factors: dict[str, tuple[Any, ...]] = {"outage": ("0s", "2s", "10s")}
    points = full(factors)
    cost = {"0s": 0.0, "2s": 0.3, "10s": 2.0}
    y = [0.01 + cost[p["outage"]] + rng.normal(scale=2e-3) for _ in range(5) for p in points]
    said = " ".join(answer(explain(table(factors, points, 5, y), "latency", rng))).replace(chr(0x202F), " ")
    assert "outage explains more than 99 % of how latency varies" in said
    assert "10s has 2 s more than 0s (95 % CI" in said


def test_an_answer_says_what_drives_and_what_does_not() -> None:
    rng = np.random.default_rng(3)
    points = full(TWO)
    shift = {"edge": 0.001, "fog": 0.006, "cloud": 0.046}
    y = [shift[p["place"]] + rng.normal(scale=2e-4) for _ in range(5) for p in points]
    found = explain(table(TWO, points, 5, y), "latency", rng)
    said = " ".join(answer(found)).replace(chr(0x202F), " ")
    assert "place explains more than 99 % of how latency varies: cloud has 45.1 ms more than edge" in said
    assert re.search(r"every: no effect found; a difference of 2\d\d µs would have been", said)
    assert plain(found)["effects"][0]["levels"][2]["name"] == "cloud"


def test_aliases_and_missing_runs_are_said() -> None:
    rng = np.random.default_rng(4)
    factors = dict.fromkeys("abc", (0, 1))
    half = [p for p in full(factors) if (p["a"] + p["b"] + p["c"]) % 2 == 0]
    given = table(factors, half, 4, [p["a"] + rng.normal(scale=0.1) for _ in range(4) for p in half])
    given.done[2] = False
    given.responses["latency"][5] = np.nan
    found = explain(given, "latency", rng)
    assert (found.runs, found.missing) == (14, 2)
    said = " ".join(validity(found))
    assert "2 runs of the design do not count" in said
    assert "The effect of a × b cannot be told from that of c in this design." in said
    assert [effect.term for effect in found.effects] == [
        "a",
        *sorted(("b", "c"), key=lambda n: [e.term for e in found.effects].index(n)),
    ]


def test_outliers_drift_and_unequal_spread_are_seen() -> None:
    rng = np.random.default_rng(5)
    points = full({"a": (0, 1), "b": (0, 1, 2)})
    factors: dict[str, tuple[Any, ...]] = {"a": (0, 1), "b": (0, 1, 2)}
    calm = rng.normal(size=60)
    assert not any(
        "Outliers" in one or "drifted" in one or "Spread" in one
        for one in validity(explain(table(factors, points, 10, calm), "latency", rng))
    )
    odd = calm.copy()
    odd[17] += 9
    assert explain(table(factors, points, 10, odd), "latency", rng).diagnosis.outliers == (18,)
    wide = calm * np.where(np.array([p["a"] for p in points * 10]), 8, 1)
    assert explain(table(factors, points, 10, wide), "latency", rng).diagnosis.unequal == "a"
    order = [{"a": 0}, {"a": 1}]
    drifting = rng.normal(size=60) + np.where(np.arange(60) < 30, 0, 3)
    found = explain(table({"a": (0, 1)}, order * 30, 1, drifting), "latency", rng).diagnosis.drift
    assert found is not None
    assert 26 <= found[0] <= 34
    assert found[1] == pytest.approx(3, abs=1)


def test_a_numeric_range_is_described_by_a_curve() -> None:
    rng = np.random.default_rng(6)
    delays = tuple(f"{ms}ms" for ms in range(10, 110, 5))
    points = [{"delay": delay} for delay in delays]
    y = [float(delay[:-2]) ** 2 / 1e4 + rng.normal(scale=0.01) for _ in range(2) for delay in delays]
    found = explain(table({"delay": delays}, points, 2, y), "latency", rng)
    assert found.effects[0].df == 2
    assert found.effects[0].share > 0.98
    assert found.effects[0].levels[-1].mean == pytest.approx(1.1025, abs=0.05)


@pytest.mark.parametrize(
    ("values", "replicates", "text"),
    [([1.0] * 6, 1, "is 1 in all 6 runs"), ([1.0, 2, 3, 4, 5, 6], 1, "too few"), ([np.nan] * 6, 1, "no finished run measured")],
)
def test_what_cannot_be_explained_is_refused(values: list[float], replicates: int, text: str) -> None:
    factors: dict[str, tuple[Any, ...]] = {"a": (0, 1, 2), "b": (0, 1)} if text != "too few" else {"a": tuple("abcdef")}
    points = full(factors)
    with pytest.raises(RequestError) as raised:
        explain(table(factors, points, replicates, values), "latency", np.random.default_rng(0))
    assert text in str(raised.value)
    assert "→" in str(raised.value)


def test_responses_without_any_noise_are_explained_without_a_nan() -> None:
    points = full(TWO)
    y = [float(p["place"] == "cloud") for _ in range(3) for p in points]
    found = explain(table(TWO, points, 3, y), "latency", np.random.default_rng(0))
    assert found.effects[0].term == "place"
    assert found.effects[0].found
    assert not any("nan" in sentence for sentence in (*answer(found), *validity(found)))


def test_further_runs_are_such_that_a_design_may_have_them() -> None:
    factors = {"place": ("edge", "fog"), "pool": (1, 4)}
    points = [{"place": "edge", "pool": 1}, {"place": "fog", "pool": 1}, {"place": "fog", "pool": 4}]
    values = np.random.default_rng(3).normal(size=9) + np.tile([0.0, 5.0, 7.0], 3)
    details = {"pool": {"default": 1, "range": None, "when": {"place": ["fog"]}}}
    found = suggest(table(factors, points, 3, values, details=details), "latency", 40)
    assert len(found.points) == 40
    assert {(one["place"], one["pool"]) for one in found.points} <= {("edge", "1"), ("fog", "1"), ("fog", "4")}


def test_a_factor_that_counts_in_some_runs_is_compared_by_these() -> None:
    """A pool counts in the fog only; there more threads cost 2 s each, whatever the place costs."""
    factors = {"place": ("edge", "fog"), "pool": (1, 4)}
    points = [{"place": "edge", "pool": 1}, {"place": "fog", "pool": 1}, {"place": "fog", "pool": 4}]
    rng = np.random.default_rng(3)
    values = np.array([5.0 * (p["place"] == "fog") + 2.0 * (p["pool"] == 4) for p in points * 6]) + rng.normal(0, 0.1, 18)
    details = {"pool": {"default": 1, "range": None, "when": {"place": ["fog"]}}}
    found = explain(table(factors, points, 6, values, details=details), "latency", np.random.default_rng(0))
    assert found.counting == {"pool": 12}
    pool = next(effect for effect in found.effects if effect.term == "pool")
    assert pool.levels[1].difference == pytest.approx(2.0, abs=0.2)
    said = " ".join(validity(found))
    assert "pool counts in 12 of 18 runs, and is at its default in the others" in said
