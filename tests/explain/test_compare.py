"""Comparisons of runs and of studies: verdicts, pairs, and conclusions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.errors import RequestError
from estran.explain.compare import _of_pairs, _of_runs, compare, verdict
from estran.report.compared import apart
from estran.study.folder import Asked, Folder, Outcome
from estran.study.rows import Row

POINTS = [{"place": place, "every": every} for place in ("edge", "cloud") for every in ("1s", "2s")]


def study(path: Path, values: Any, *, name: str = "latency", unit: str = "s", points: list[dict[str, str]] = POINTS) -> Path:
    """A study with one response; ``values`` has shape (blocks, points)."""
    rows = [Row(b * len(points) + p + 1, b + 1, p + 1, 1 + b, points[p]) for b in range(len(values)) for p in range(len(points))]
    factors = {name: tuple(dict.fromkeys(point[name] for point in points)) for name in points[0]}
    asked = Asked("planted", "x.yaml", "", "simulate", None, (), "full", None, len(values), 1, 1, factors)
    folder = Folder.make(path, asked, rows)
    flat = np.asarray(values, dtype=float).ravel()
    done = {
        row.run: Outcome("done", path / "runs" / str(row.run), 1, {name: {"value": float(flat[i]), "unit": unit}})
        for i, row in enumerate(rows)
        if np.isfinite(flat[i])
    }
    folder.write_table(done)
    return path


@pytest.mark.parametrize(
    ("name", "absolute", "equivalence", "wanted"),
    [
        ("latency", (0.001, 0.002), 0.9, "worse"),
        ("latency_p99", (-0.002, -0.001), 0.9, "better"),
        ("accuracy", (0.1, 0.2), 0.9, "better"),
        ("throughput@fog", (-3.0, -1.0), 0.9, "worse"),
        ("utilisation", (0.1, 0.2), 0.9, "higher"),
        ("latency", (0.0001, 0.0002), 0.04, "equivalent"),
        ("latency", (-0.002, 0.002), 0.06, "cannot tell"),
        ("latency", None, None, "cannot tell"),
        ("loss", (0.0, 0.0), None, "equivalent"),
    ],
)
def test_verdicts(name: str, absolute: Any, equivalence: float | None, wanted: str) -> None:
    assert verdict(name, absolute, equivalence) == wanted


def test_equivalence_is_that_of_two_one_sided_tests(tmp_path: Path) -> None:
    """Against scipy's one-sided t tests of B − (1 ± margin) A; at the margin 5 % are called equivalent."""
    from scipy.stats import ttest_1samp

    rng = np.random.default_rng(8)
    left = 1 + rng.normal(scale=0.02, size=(5, 4))
    right = left * 1.01 + rng.normal(scale=0.06, size=(5, 4))
    (one,) = compare(study(tmp_path / "a", left), study(tmp_path / "b", right)).differences
    sides = [
        ttest_1samp((right - share * left).ravel(), 0, alternative=how).pvalue for share, how in ((0.95, "greater"), (1.05, "less"))
    ]
    assert one.equivalence == pytest.approx(max(sides))
    called = 0
    for _ in range(2000):
        a = 1 + rng.normal(scale=0.02, size=12)
        b = 1.05 + rng.normal(scale=0.02, size=12)
        called += _of_pairs("latency", "s", a, b, 0.05).verdict == "equivalent"
    assert 0.035 < called / 2000 < 0.065


def test_what_cannot_be_told_says_how_much_more_would() -> None:
    """With as many more pairs as said, four of five studies tell."""
    rng = np.random.default_rng(9)
    a = np.full(8, 1.0)
    noise = rng.normal(size=8)
    found = _of_pairs("latency", "s", a, a + 0.1 * (noise - noise.mean()) / noise.std(ddof=1), 0.05)
    assert found.verdict == "cannot tell"
    assert found.needed is not None
    more = round(8 * found.needed)
    told = 0
    for _ in range(500):
        told += _of_pairs("latency", "s", np.ones(more), 1 + 0.1 * rng.normal(size=more), 0.05).verdict == "equivalent"
    # Normal quantiles, and power for one of the two sides: less than 80 % where the true difference is 0.
    assert 0.5 < told / 500 < 0.9


def test_studies_are_compared_in_pairs_and_by_what_they_conclude(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(scale=0.01, size=(5, 1)) + np.array([0.1, 0.1, 0.3, 0.3])
    a = study(tmp_path / "a", common + rng.normal(scale=1e-3, size=(5, 4)))
    b = study(tmp_path / "b", 1.2 * common + rng.normal(scale=1e-3, size=(5, 4)))
    found = compare(a, b)
    (one,) = found.differences
    assert (one.verdict, one.pairs, found.unmatched) == ("worse", 20, (0, 0))
    assert one.relative == pytest.approx(0.2, abs=0.01)
    assert one.relative_ci95 is not None
    assert one.relative_ci95[0] < 0.2 < one.relative_ci95[1]
    (conclusion,) = found.conclusions
    assert conclusion.agree
    assert next(iter(conclusion.a)) == "place"
    c = study(tmp_path / "c", common[:, [0, 2, 0, 2]] + rng.normal(scale=1e-3, size=(5, 4)))
    (conclusion,) = compare(a, c).conclusions
    assert not conclusion.agree
    assert next(iter(conclusion.b)) == "every"


def test_runs_without_a_partner_are_counted_and_failed_ones_left_out(tmp_path: Path) -> None:
    values = np.arange(8.0).reshape(2, 4) + 10
    a = study(tmp_path / "a", values)
    values[1, 2] = np.nan
    b = study(tmp_path / "b", np.vstack([values, values]))
    found = compare(a, b)
    assert (found.differences[0].pairs, found.unmatched) == (7, (0, 8))
    assert found.differences[0].verdict == "equivalent"


def run(path: Path, **responses: Any) -> Path:
    path.mkdir()
    record = {"schema": 1, "id": "x", "experiment": "x", "status": "done"}
    (path / "run.json").write_text(json.dumps(record))
    (path / "responses.json").write_text(json.dumps(responses))
    return path


def test_two_runs_are_compared_by_their_own_intervals(tmp_path: Path) -> None:
    a = run(
        tmp_path / "a",
        accuracy={"value": 0.8, "unit": "fraction", "n": 9, "ci95": [0.79, 0.81]},
        loss={"value": 0, "unit": "fraction", "n": 400, "ci95": [0, 0.01]},
        dropped={"value": 0, "unit": "messages"},
        peak={"value": 7, "unit": "B"},
    )
    b = run(
        tmp_path / "b",
        accuracy={"value": 0.9, "unit": "fraction", "n": 9, "ci95": [0.88, 0.92]},
        loss={"value": 0, "unit": "fraction", "n": 400, "ci95": [0, 0.01]},
        dropped={"value": 0, "unit": "messages"},
        peak={"value": 8, "unit": "B"},
    )
    accuracy, *nothing, peak = compare(a, b).differences
    assert accuracy.verdict == "better"
    assert accuracy.absolute_ci95 == pytest.approx((0.1 - 0.0005**0.5, 0.1 + 0.0005**0.5))
    assert [one.verdict for one in nothing] == ["equivalent", "equivalent"]
    assert peak.verdict == "cannot tell"


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", accuracy={"value": 1, "unit": "fraction"}), run(tmp_path / "b")
    s = study(tmp_path / "s", np.ones((2, 4)) + np.arange(4))
    t = study(tmp_path / "t", np.ones((2, 1)), points=[{"place": "moon", "every": "9s"}])
    for pair, text in (((a, s), "is a run"), ((a, b), "no response"), ((s, t), "no point in common"), ((a, tmp_path), "neither")):
        with pytest.raises(RequestError) as raised:
            compare(*pair)
        assert text in str(raised.value)
        assert "→" in str(raised.value)
    with pytest.raises(RequestError, match="tolerates nothing"):
        compare(a, a, margin=0)
    with pytest.raises(RequestError, match="not measured on both sides: beauty"):
        compare(a, a, responses=("beauty",))


def test_intervals_say_their_unit_once() -> None:
    found = [
        _of_runs("x", *({"value": v, "unit": unit, "ci95": [v - 0.1, v + 0.1]} for v in (0.0, 0.5)), 0.05)
        for unit in ("fraction", "s")
    ]
    assert [apart(one).replace("\u202f", " ") for one in found] == [
        "+50 points (+35.9 to +64.1 points)",
        "+500 ms (+359 to +641 ms)",
    ]
