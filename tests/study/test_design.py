"""Designs of studies: their points, order, seeds and files."""

from __future__ import annotations

import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.spec.model import Variation
from estran.spec.ranges import Range
from estran.study.design import notes, points
from estran.study.factors import Factor, factors_of
from estran.study.rows import arranged, cell, design_text, level, read_design, read_points

ONE_OR_TWO = Variation((1, 2), 1)
TWO = tuple(Factor(name, ("low", "high")) for name in "abcdefg")
MIXED = (Factor("placement", ("edge", "fog", "cloud")), Factor("every", ("0.5s", "2s", "10s")), Factor("hosts", (1, 2, 8)))


RANGES = [MIXED[1], Factor("delay", ("5ms", "0.2s")), Factor("share", (0.1, 0.9))]


def made(kind: str, factors: Any = MIXED, samples: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    return points(kind, factors, samples, np.random.default_rng(seed))


def test_full_is_every_combination_once() -> None:
    found = made("full")
    wanted = product(*(factor.levels for factor in MIXED))
    assert [tuple(point.values()) for point in found] == list(wanted)


def test_one_at_a_time_changes_one() -> None:
    found = made("one-at-a-time")
    assert len(found) == 1 + 3 * 2
    assert all(sum(point[name] != found[0][name] for name in point) == 1 for point in found[1:])


@pytest.mark.parametrize(("count", "runs"), [(3, 4), (4, 8), (5, 16), (6, 16), (7, 16)])
def test_fractions_are_balanced_and_main_effects_are_apart(count: int, runs: int) -> None:
    pytest.importorskip("pyDOE3")
    _assert_orthogonal(made("fraction", TWO[:count]), runs)


def test_plackett_burman_has_the_least_runs() -> None:
    pytest.importorskip("pyDOE3")
    _assert_orthogonal(made("plackett-burman", TWO), 8)


def _assert_orthogonal(found: list[dict[str, Any]], runs: int) -> None:
    signs = np.array([[1 if level == "high" else -1 for level in point.values()] for point in found])
    assert len(signs) == runs
    assert (signs.sum(axis=0) == 0).all()
    assert all(signs[:, i] @ signs[:, j] == 0 for i, j in combinations(range(signs.shape[1]), 2))


def test_a_fraction_of_mixed_levels_has_every_level_equally_often() -> None:
    pytest.importorskip("pyDOE3")
    found = made("fraction")
    assert len(found) == 9
    for factor in MIXED:
        assert {sum(point[factor.name] == level for point in found) for level in factor.levels} == {3}


def test_latin_fills_each_range_evenly() -> None:
    pytest.importorskip("scipy")
    found = made("latin", samples=30)
    seconds = sorted(float(str(point["every"]).removesuffix("s")) for point in found)
    assert all(0.5 + 9.5 * i / 30 <= value <= 0.5 + 9.5 * (i + 1) / 30 for i, value in enumerate(seconds))
    assert {sum(point["placement"] == name for point in found) for name in ("edge", "fog", "cloud")} == {10}
    assert {point["hosts"] for point in found} == set(range(1, 9))


def test_sobol_pairs_points_as_its_estimators_want_them() -> None:
    pytest.importorskip("scipy")
    found = made("sobol", samples=8)
    assert len(found) == 8 * (3 + 2)
    for at in range(0, len(found), 5):
        first, *mixed, second = found[at : at + 5]
        for factor, point in zip(MIXED, mixed, strict=True):
            assert point == first | {factor.name: second[factor.name]}


def test_morris_moves_one_at_a_time() -> None:
    pytest.importorskip("pyDOE3")
    numbers = tuple(Factor(name, (0.0, 1.0)) for name in "abcd")
    found = made("morris", numbers, samples=5)
    assert len(found) == 5 * 5
    for at in range(0, 25, 5):
        steps = [{n for n in "abcd" if found[i][n] != found[i + 1][n]} for i in range(at, at + 4)]
        assert sorted("".join(step) for step in steps) == list("abcd")


@pytest.mark.parametrize(
    ("kind", "factors", "samples", "text"),
    [
        ("fulll", MIXED, None, "choose full, fraction"),
        ("full", MIXED, 3, "as many points as it has"),
        ("fraction", MIXED[:2], None, "choose full"),
        ("latin", MIXED, 0, "make no design"),
        ("sobol", MIXED, 6, "give 8"),
        ("full", tuple(Factor(f"f{i}", tuple(range(10))) for i in range(6)), None, "1,000,000 points"),
    ],
)
def test_designs_that_cannot_be_are_refused(kind: str, factors: Any, samples: int | None, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        made(kind, factors, samples)
    assert text in str(raised.value)


@given(
    st.floats(0, 1, exclude_max=True), st.sampled_from([MIXED[1], Factor("delay", ("5ms", "0.2s")), Factor("share", (0.1, 0.9))])
)
def test_places_and_levels_are_inverse(place: float, factor: Factor) -> None:
    assert factor.place(factor.at(place)) == pytest.approx(place, abs=1e-4)


def test_ranges_keep_the_unit_of_the_first_level() -> None:
    assert Factor("delay", ("5ms", "0.2s")).at(0.5) == "102.5ms"
    assert Factor("rate", ("10mbit", "1gbit")).at(1.0) == "1000mbit"
    assert Factor("learner", ("arow", {"mlp": {}})).at(0.7) == {"mlp": {}}
    assert Factor("hosts", (2, 5)).at(0.99) == 5


EVERY = Factor("every", ("0.1s", "10s"), "1s", Range(0.1, 10.0, "s", 1.0, "duration", log=True, text=True))
POOL = Factor("pool", (1, 64), 8, Range(1, 64, whole=True), {"place": ("fog", "cloud")})
PLACE = Factor("place", ("edge", "fog", "cloud"))


def test_designs_with_few_levels_take_the_ends_of_a_range_and_say_so() -> None:
    assert {point["every"] for point in points("full", [EVERY, PLACE], None, np.random.default_rng(0))} == {"0.1s", "10s"}
    said = notes("full", [EVERY, PLACE])
    assert [note for note in said if "every is a range: full takes its ends, 0.1s and 10s" in note] == said
    assert notes("latin", [EVERY, PLACE]) == []
    drawn = [point["every"] for point in points("latin", [EVERY, PLACE], 200, np.random.default_rng(0))]
    assert len(set(drawn)) == 200
    assert sum(EVERY.number(level) < 1.0 for level in drawn) == pytest.approx(100, abs=1)  # half of the logarithmic scale


@pytest.mark.parametrize("kind", ["full", "one-at-a-time", "latin"])
def test_factors_stay_at_their_default_where_they_do_not_count(kind: str) -> None:
    found = points(kind, [PLACE, POOL], 50 if kind == "latin" else None, np.random.default_rng(0))
    assert all(point["pool"] == 8 for point in found if point["place"] == "edge")
    assert len({repr(point) for point in found}) == len(found)
    assert {1, 64} <= {point["pool"] for point in found if point["place"] != "edge"} or kind == "latin"
    assert any("pool has a condition" in note for note in notes(kind, [PLACE, POOL]))


def test_a_full_design_has_each_point_once() -> None:
    found = points("full", [PLACE, POOL], None, np.random.default_rng(0))
    assert [tuple(point.values()) for point in found] == [("edge", 8), ("fog", 1), ("fog", 64), ("cloud", 1), ("cloud", 64)]
    alone = points("one-at-a-time", [PLACE, POOL], None, np.random.default_rng(0))
    assert [tuple(point.values()) for point in alone] == [("edge", 8), ("fog", 8), ("cloud", 8), ("fog", 1), ("fog", 64)]


@pytest.mark.parametrize("kind", ["fraction", "plackett-burman", "sobol", "morris"])
def test_designs_whose_points_count_everywhere_refuse_conditions(kind: str) -> None:
    with pytest.raises(RequestError, match="needs factors that count everywhere, and pool does not"):
        points(kind, [PLACE, POOL, EVERY], None, np.random.default_rng(0))


def test_factors_are_read_as_they_are_written() -> None:
    for factor in (EVERY, POOL, PLACE):
        assert Factor.read(factor.name, factor.levels, json.loads(json.dumps(factor.details))) == factor


def test_factors_whose_condition_is_fixed_vary_or_do_not() -> None:
    variations = {f.name: Variation(f.levels, f.default, f.range, f.when) for f in (PLACE, POOL, EVERY)}
    assert [f.name for f in factors_of(variations, {"place": "edge"})] == ["every"]
    assert [f.name for f in factors_of(variations, {"place": "fog"})] == ["pool", "every"]


def test_factors_that_cannot_vary_are_named() -> None:
    with pytest.raises(RequestError, match=r"factors.rate: it has one level"):
        factors_of({"rate": Variation((1,), 1)}, {})
    with pytest.raises(RequestError, match="no factor to vary"):
        factors_of({"rate": ONE_OR_TWO}, {"rate": 1})
    assert [factor.name for factor in factors_of({"a": ONE_OR_TWO, "b": ONE_OR_TWO}, {"b": 1})] == ["a"]


def test_blocks_have_every_point_once_in_an_order_of_their_own_and_one_seed() -> None:
    chosen = made("full")
    rows = arranged(chosen, 4, 42, np.random.default_rng(0))
    assert [row.run for row in rows] == list(range(1, 4 * 27 + 1))
    orders = set()
    for block in range(4):
        mine = [row for row in rows if row.block == block + 1]
        assert {row.seed for row in mine} == {42 + block}
        order = [chosen.index(dict(row.levels)) for row in mine]
        assert sorted(order) == list(range(27))
        orders.add(tuple(order))
    assert len(orders) == 4
    assert arranged(chosen, 4, 42, np.random.default_rng(0)) == rows
    assert [dict(row.levels) for row in arranged(chosen, 1, 42, None)] == chosen


LEVELS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(LEVELS)
def test_a_level_survives_its_cell(value: Any) -> None:
    found = level(cell(value))
    assert found == value
    assert type(found) is type(value)


@given(st.lists(LEVELS, min_size=2, max_size=4))
def test_a_design_survives_its_file(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    rows = arranged([{"a": value, "b": "x"} for value in values], 2, 7, np.random.default_rng(1))
    path = tmp_path_factory.mktemp("design") / "design.csv"
    path.write_text(design_text(rows, ["a", "b"]), encoding="utf-8", newline="")
    assert read_design(path) == rows


def test_points_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("hosts,placement\n2,edge\n5,cloud\n", encoding="utf-8")
    assert read_points(path, MIXED) == [
        {"placement": "edge", "every": "0.5s", "hosts": 2},
        {"placement": "cloud", "every": "0.5s", "hosts": 5},
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hostss\n1\n", "mine.csv:1: there is no factor 'hostss'"),
        ("hosts,placement\n1\n", "mine.csv:2: 1 cells under 2 names"),
        ("hosts\n", "no line"),
        ("", "the file is empty"),
        ("hosts,hosts\n1,2\n", "two columns"),
    ],
)
def test_a_file_that_is_no_design_is_refused_at_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError) as raised:
        read_points(path, MIXED)
    assert told in str(raised.value)
    assert "→" in str(raised.value)
