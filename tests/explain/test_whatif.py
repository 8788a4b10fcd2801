"""What-ifs and further runs: predictions cover the truth, and gains are those of refitting."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.errors import RequestError
from estran.explain.effects import explain
from estran.explain.further import add_rows, narrow, suggest, write_design
from estran.explain.linear import fitted
from estran.explain.table import Table
from estran.explain.whatif import parse_settings, predict
from estran.report.beyond import advised
from estran.study.rows import arranged, read_points
from tests.explain.planted import table

FACTORS: dict[str, tuple[Any, ...]] = {"place": ("edge", "fog", "cloud"), "delay": ("10ms", "40ms", "100ms")}


def full(factors: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]


def truth(place: str, delay: float) -> float:
    return {"edge": 1.0, "fog": 2.0, "cloud": 5.0}[place] + delay / 20 + (delay / 50) ** 2


def study(rng: np.random.Generator, replicates: int = 4, noise: float = 0.2) -> Table:
    points = full(FACTORS)
    blocks = np.repeat(rng.normal(scale=0.3, size=replicates), len(points))
    y = [truth(p["place"], float(p["delay"][:-2])) + rng.normal(scale=noise) for _ in range(replicates) for p in points]
    return table(FACTORS, points, replicates, np.array(y) + blocks - blocks.mean())


def test_a_measured_level_is_predicted_as_it_is_explained() -> None:
    rng = np.random.default_rng(0)
    made = study(rng)
    levels = next(effect for effect in explain(made, "latency", rng).effects if effect.term == "place").levels
    for level in levels:
        found = predict(made, "latency", {"place": level.name})
        assert (found.mean, found.change) == pytest.approx((level.mean, level.difference))
        assert found.mean_ci95 == pytest.approx(level.mean_ci95)
        assert found.change_ci95 == pytest.approx(level.difference_ci95)


def test_predictions_between_levels_cover_the_truth_and_single_runs() -> None:
    rng = np.random.default_rng(1)
    means = runs = 0
    for _ in range(200):
        found = predict(study(rng), "latency", {"place": "fog", "delay": "60ms"})
        assert found.between == ("delay",)
        means += found.mean_ci95[0] <= truth("fog", 60) <= found.mean_ci95[1]
        run = truth("fog", 60) + rng.normal(scale=0.2) + rng.normal(scale=0.3)
        runs += found.run_pi95[0] <= run <= found.run_pi95[1]
    assert means >= 184, f"{means} of 200 intervals hold the mean"
    assert runs >= 176, f"{runs} of 200 intervals hold the run"  # the blocks' variance is known from four of them only


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["moon=1"], "there is no factor 'moon'"),
        (["place=moon"], "no run had place=moon"),
        (["delay=200ms"], "lies outside what was measured"),
        (["delay=blue"], "'blue' is no level of delay"),
        (["delay=3mbit"], "is no level of delay|lies outside"),
        (["place"], "sets no factor"),
        (["place=fog", "place=edge"], "set twice"),
    ],
)
def test_settings_that_cannot_be_are_refused(texts: list[str], words: str) -> None:
    with pytest.raises(RequestError, match=words) as raised:
        predict(study(np.random.default_rng(2)), "latency", parse_settings(texts))
    assert "→" in str(raised.value)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_gains_are_those_of_refitting_with_the_rows(seed: int, runs: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.column_stack([np.ones(12), rng.normal(size=(12, 3))])
    candidates = np.column_stack([np.ones(7), rng.normal(size=(7, 3))])
    inverse = np.linalg.inv(matrix.T @ matrix)
    chosen, after = narrow(inverse, candidates, runs)
    whole = np.vstack([matrix, candidates[chosen]])
    refitted = np.linalg.inv(whole.T @ whole)
    assert after == pytest.approx(refitted, rel=1e-6, abs=1e-10)

    def average(one: Any) -> float:
        return float(np.einsum("ij,jk,ik->i", candidates, one, candidates).mean())

    best = narrow(inverse, candidates, 1)[0][0]
    each = [average(add_rows(inverse, candidates[[i]])) for i in range(7)]
    assert each[best] == pytest.approx(min(each))
    assert average(after) < average(inverse)


def test_suggested_runs_have_the_gain_that_is_told(tmp_path: Path) -> None:
    """Where points are missing they are told, and chosen; the file is a design."""
    made = study(np.random.default_rng(3))
    cloudy = (made.codes["place"] == 2) & (made.codes["delay"] == 2) & (made.blocks > 1)
    made.done[cloudy] = False
    found = suggest(made, "latency", 3)
    assert found.missing == ({"place": "cloud", "delay": "100ms"},) * 3
    assert found.narrowing == (({"place": "cloud", "delay": "100ms"}, 3),)
    assert found.prediction[1] < found.prediction[0]
    assert all(after < before for before, after in found.gains.values())
    model = fitted(made, "latency").model
    assert model.matrix().shape[0] == 33
    file = tmp_path / "next.csv"
    assert write_design(file, made, [found, found]) == 6  # what two responses ask for is run once
    assert read_points(file, made.folder.factors()) == [{"place": "cloud", "delay": "100ms"}] * 6
    with file.open(encoding="utf-8") as text:
        assert next(csv.reader(text)) == ["place", "delay"]


def test_runs_that_break_aliases_break_them() -> None:
    rng = np.random.default_rng(4)
    factors: dict[str, tuple[Any, ...]] = dict.fromkeys("abc", (0, 1))
    half = [p for p in full(factors) if (p["a"] + p["b"] + p["c"]) % 2 == 0]
    y = [p["a"] + rng.normal(scale=0.1) for _ in range(4) for p in half]
    found = suggest(table(factors, half, 4, y), "latency", 2)
    assert set(found.told) == {"a × b", "a × c", "b × c"}
    assert (len(found.telling), found.untold) == (3, ())
    assert any("To tell a × b from c" in sentence for sentence in advised(found))
    points = [*half * 4, *({name: int(text) for name, text in point.items()} for point in found.telling)]
    again = table(factors, points, 1, [p["a"] + rng.normal(scale=0.1) for p in points])
    assert fitted(again, "latency").model.aliased == {}


def test_nothing_is_narrowed_where_nothing_is_left_over() -> None:
    points = full(FACTORS)
    found = suggest(table(FACTORS, points, 2, [truth(p["place"], float(p["delay"][:-2])) for p in points * 2]), "latency", 2)
    assert found.narrowing == ()
    assert "more of them would narrow nothing" in " ".join(advised(found))
    with pytest.raises(RequestError, match="no further run would tell more"):
        write_design(Path("never-written.csv"), table(FACTORS, points, 1, [0.0] * 9), [found])
    with pytest.raises(RequestError, match="0 further runs"):
        suggest(study(np.random.default_rng(5)), "latency", 0)


def test_lines_of_a_design_that_are_alike_have_seeds_of_their_own() -> None:
    points: list[dict[str, Any]] = [{"a": 0}, {"a": 1}, {"a": 0}]
    rows = arranged(points, 2, 7, None, apart=True)
    assert [(row.block, row.seed) for row in rows] == [(1, 7), (1, 7), (2, 8), (3, 9), (3, 9), (4, 10)]
    assert [(row.block, row.seed) for row in arranged(points, 2, 7, None)] == [(1, 7)] * 3 + [(2, 8)] * 3
