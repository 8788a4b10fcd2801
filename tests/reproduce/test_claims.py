"""Whether claims hold: by intervals of replicates, or of one run; what cannot be told is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from estran.report.claimed import told
from estran.reproduce.claims import Judged, judge
from estran.reproduce.observed import Observation
from estran.spec.claim_parser import parse_claim


def response(value: float, half: float | None = None, unit: str = "s") -> dict[str, Any]:
    return {"value": value, "unit": unit, "n": 100} | ({} if half is None else {"ci95": [value - half, value + half]})


def study(
    value: Callable[[str, int], float], *, levels: Sequence[str] = ("a", "b"), blocks: int = 4, name: str = "x", unit: str = ""
):  # type: ignore[no-untyped-def]
    return [
        Observation({"f": level}, block, {name: response(value(level, block), unit=unit)})
        for block in range(1, blocks + 1)
        for level in levels
    ]


def verdict(text: str, observations: Sequence[Observation]) -> str:
    return judge(parse_claim(text), observations).verdict


values = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


@given(values, st.sampled_from([0.8, 0.9, 0.99]))
def test_the_interval_of_a_measure_is_students(drawn: list[float], confidence: float) -> None:
    found = judge(
        parse_claim(f"x > 0 at {100 * confidence:g}%"),
        [Observation({}, i, {"x": response(v, unit="")}) for i, v in enumerate(drawn)],
    )
    assert found.interval is not None
    half = stats.t.ppf(0.5 + confidence / 2, len(drawn) - 1) * np.std(drawn, ddof=1) / math.sqrt(len(drawn))
    assert found.interval == pytest.approx((np.mean(drawn) - half, np.mean(drawn) + half), abs=1e-6)
    assert (found.blocks, found.runs) == (len(drawn), len(drawn))


@given(values, st.floats(-50, 50), st.floats(0.1, 10))
def test_a_claim_and_its_contrary_are_never_both_confirmed(drawn: list[float], bound: float, scale: float) -> None:
    runs = [Observation({}, i, {"x": response(v * scale, unit="")}) for i, v in enumerate(drawn)]
    told = {verdict(f"x {relation} {bound:.6f}", runs) for relation in (">", "<=")}
    assert told in ({"confirmed", "refuted"}, {"cannot tell"})


@given(values, st.floats(0.01, 20), st.floats(0, 20))
def test_more_tolerance_confirms_no_less(drawn: list[float], tolerance: float, more: float) -> None:
    runs = [Observation({}, i, {"x": response(v, unit="")}) for i, v in enumerate(drawn)]
    narrow, wide = (verdict(f"x within {slack:.9f} of 10", runs) for slack in (tolerance, tolerance + more))
    assert not (narrow == "confirmed" and wide != "confirmed")
    assert not (wide == "refuted" and narrow != "refuted")


def test_what_blocks_have_in_common_cancels_in_a_difference() -> None:
    noise = {1: 5.0, 2: -7.0, 3: 30.0, 4: 0.0}
    runs = study(lambda level, block: noise[block] + (1.0 if level == "a" else 0.0) + 0.001 * block * (level == "a"))
    assert verdict("x(f=a) - x(f=b) within 0.1 of 1", runs) == "confirmed"
    assert verdict("x(f=a) > x(f=b)", runs) == "confirmed"
    assert verdict("x(f=a) < x(f=b)", runs) == "refuted"
    assert verdict("x(f=a) > 0", runs) == "cannot tell"


def test_ratios_have_fiellers_interval_and_no_unit() -> None:
    rng = np.random.default_rng(3)
    runs = study(
        lambda level, block: (2.0 if level == "a" else 1.0) * (1 + 0.01 * rng.normal()), blocks=8, unit="s", name="latency"
    )
    found = judge(parse_claim("latency(f=a) / latency(f=b) within 5% of 2"), runs)
    assert (found.verdict, found.unit) == ("confirmed", "")
    assert verdict("latency(f=b) <= latency(f=a) ± 10%", runs) == "confirmed"
    assert verdict("latency(f=a) <= latency(f=b) ± 10%", runs) == "refuted"
    assert verdict("latency(f=a) within 3s of latency(f=b)", runs) == "confirmed"


def test_other_factors_are_averaged_over_settings_that_every_block_has() -> None:
    runs = [
        Observation({"f": level, "g": other}, block, {"x": response(10.0 * (level == "a") + 100.0 * (other == "q"), unit="")})
        for block in (1, 2)
        for level in "ab"
        for other in "pq"
        if not (block == 2 and level == "a" and other == "q")
    ]  # fmt: skip
    found = judge(parse_claim("x(f=a) - x(f=b) >= 10"), runs)
    assert (found.verdict, found.estimate, found.runs) == ("confirmed", 10.0, 4)


def test_one_run_is_judged_by_its_own_interval() -> None:
    run = [Observation({}, 1, {"latency": response(0.030, 0.002), "accuracy": response(0.9, unit="fraction")})]
    found = judge(parse_claim("latency <= 35ms"), run)
    assert found.verdict == "confirmed"
    assert found.interval == pytest.approx((0.028, 0.032))
    assert verdict("latency <= 31ms", run) == "cannot tell"
    assert verdict("latency <= 25ms", run) == "refuted"
    assert verdict("latency <= 25ms ± 30%", run) == "confirmed"
    assert verdict("accuracy >= 0.8", run) == "cannot tell"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("latency(f=c) < 1s", "there is no run with f=c"),
        ("gradient < 1", "no run measured gradient"),
        ("latensy < 1", "no run measured latensy; did you mean latency?"),
        ("latency(f=a) < latency_p99(f=b)", "no run measured latency_p99"),
        ("y < 3ms", "y was measured in J, not as 3ms"),
    ],
)
def test_why_one_cannot_tell(text: str, reason: str) -> None:
    run = [Observation({"f": level}, 1, {"latency": response(0.03, 0.001), "y": response(3.0, 0.1, "J")}) for level in "ab"]
    found = judge(parse_claim(text), run)
    assert (found.verdict, found.reason) == ("cannot tell", reason)


def test_no_run_tells_nothing() -> None:
    assert judge(parse_claim("latency < 1s"), []) == Judged("latency < 1s", "cannot tell", reason="no run")


def test_intervals_cover_the_truth() -> None:
    """A true claim at the truth's edge is refuted in 2.5 % of cases, and confirmed in as many."""
    rng = np.random.default_rng(5)
    told: Mapping[str, list[int]] = {"confirmed": [], "refuted": []}
    for trial in range(800):
        runs = [Observation({}, i, {"x": response(1 + rng.normal(), unit="")}) for i in range(4)]
        told.get(verdict("x >= 1", runs), []).append(trial)
    assert all(0.01 < len(found) / 800 < 0.045 for found in told.values())


def test_the_difference_of_two_shares_is_told_in_points_with_a_minus_sign() -> None:
    drawn = {("a", 1): 0.80, ("a", 2): 0.82, ("b", 1): 0.85, ("b", 2): 0.86}
    runs = study(lambda level, block: drawn[level, block], blocks=2, name="accuracy", unit="fraction")
    found = judge(parse_claim("accuracy(f=a) - accuracy(f=b) < 0"), runs)
    assert found.difference
    assert found.unit == "fraction"
    assert told(found).replace(chr(0x202F), " ").startswith("−4.5 points (−10.9 to 1.85 points) · 4 runs")
    alike = judge(parse_claim("accuracy(f=a) < accuracy(f=b)"), runs)
    assert "points" in told(alike)
    assert "points" not in told(judge(parse_claim("accuracy(f=a) / accuracy(f=b) < 1"), runs))
    assert "points" not in told(judge(parse_claim("accuracy(f=a) > 0.5"), runs))


def test_the_interval_of_a_share_over_few_replicates_is_one_of_shares() -> None:
    drawn = {1: 0.97, 2: 0.99}
    found = judge(parse_claim("accuracy > 0.5"), study(lambda _, block: drawn[block], blocks=2, name="accuracy", unit="fraction"))
    assert found.interval is not None
    assert found.interval == (pytest.approx(0.98 - 12.7062 * 0.01), 1.0)
    other = judge(parse_claim("x > 0.5"), study(lambda _, block: drawn[block], blocks=2))
    assert other.interval == pytest.approx((0.98 - 12.7062 * 0.01, 0.98 + 12.7062 * 0.01))


def test_an_area_of_lost_accuracy_is_in_seconds() -> None:
    assert str(parse_claim("accuracy_area_wan <= 2s")) == "accuracy_area_wan <= 2s"
