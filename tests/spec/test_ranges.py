from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import SpecErrors
from estran.spec import check_levels, dump, json_schema, load_text
from estran.spec.ranges import Range, RangeError

HEAD = """experiment: ranged
layers: {edge: {hosts: 1, device: raspberry-pi-4}, fog: {hosts: 1, device: jetson-orin-nano}}
services:
  a: {on: "${placement}", command: "a ${every} ${pool}"}
factors:
"""
PLACEMENT = "  placement: [edge, fog]\n"
EVERY = "  every: {from: 0.1s, to: 10s, scale: log, default: 1s}\n"
POOL = "  pool: {from: 1, to: 64, default: 8}\n"

RANGES = st.sampled_from(
    [
        Range.over([1, 64]), Range.over([0.5, 2.5]), Range.over(["5ms", "0.2s"]), Range.over(["1%", "50%"]),
        Range(1, 1000, whole=True, log=True), Range(0.001, 10.0, log=True), Range(0.0, 1.0, step=0.25),
        Range(2, 20, whole=True, step=3), Range(0.1, 10.0, "s", 1.0, "duration", log=True, text=True),
    ]
)  # fmt: skip


@given(RANGES, st.floats(0, 1, exclude_max=True))
def test_places_and_levels_are_inverse(one: Range, place: float) -> None:
    level = one.at(place)
    assert level in one
    assert one.at(min(max(one.place(level), 0.0), 1 - 1e-9)) == level


@given(RANGES, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_levels_rise_with_places(one: Range, first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert one.number(one.at(low)) <= one.number(one.at(high))


@given(RANGES, st.integers(2, 7))
def test_few_levels_go_from_end_to_end(one: Range, count: int) -> None:
    levels = [one.number(level) for level in one.spread(count)]
    assert levels == sorted(levels)
    assert len(levels) <= count
    assert (levels[0], levels[-1]) == pytest.approx((one.low, one.high))


def test_ranges_refuse_what_is_of_another_kind() -> None:
    with pytest.raises(RangeError, match="not of the kind"):
        Range(1.0, 2.0, "s", 1.0, "duration", text=True).number("3mbit")
    assert "20s" not in Range(1.0, 2.0, "s", 1.0, "duration", text=True)
    assert Range.over(["a", "b"]) is None
    assert Range.over([True, False]) is None


def test_a_range_has_its_default_and_its_ends() -> None:
    experiment = load_text(HEAD + PLACEMENT + EVERY + POOL)
    assert experiment.assignment == {"placement": "edge", "every": "1s", "pool": 8}
    assert experiment.factors == {"placement": ("edge", "fog"), "every": ("0.1s", "10s"), "pool": (1, 64)}
    every = experiment.variations["every"].range
    assert every is not None
    assert (every.log, every.whole, every.unit) == (True, False, "s")
    counted = load_text(HEAD + PLACEMENT + EVERY.replace("default: 1s", "levels: 3") + POOL)
    assert counted.factors["every"] == ("0.1s", "1s", "10s")
    assert counted.assignment["every"] == "0.1s"


def test_a_resolved_file_loads_again() -> None:
    text = HEAD + PLACEMENT + EVERY + POOL.replace("default: 8", "when: {placement: fog}")
    experiment = load_text(text, assignment={"placement": "fog", "pool": 3, "every": "0.3s"})
    assert load_text(dump(experiment.document)) == experiment


def test_a_factor_counts_where_its_condition_holds() -> None:
    text = HEAD + PLACEMENT + EVERY + POOL.replace("}", ", when: {placement: [fog]}}")
    assert load_text(text, assignment={"pool": 64, "placement": "fog"}).assignment["pool"] == 64
    with pytest.raises(SpecErrors, match="64 does not count where placement is edge"):
        load_text(text, assignment={"pool": 64})
    assert load_text(text, overrides=["pool=64"]).assignment["pool"] == 64  # who sets it means it


def test_check_tries_levels_where_they_count(tmp_path: Any) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(HEAD + PLACEMENT + EVERY + POOL.replace("}", ", when: {placement: [fog]}}"))
    assert check_levels(file) == ()
    file.write_text(file.read_text().replace("[edge, fog]", "[edge, fog, clud]"))
    (error,) = check_levels(file)
    assert "clud" in error.what


@pytest.mark.parametrize(
    ("factor", "what", "line", "column"),
    [
        ("{from: 1}", "factors.pool.from: has no to:", 8, 10),
        ("{from: 5, to: 1}", "must be greater than from:", 8, 23),
        ("{from: 1s, to: 3mbit}", "is no range of numbers, or of quantities of one kind", 8, 24),
        ("{from: 0, to: 8, scale: log}", "cannot begin at 0", 8, 16),
        ("{from: 1, to: 8, scale: cubic}", "there is no scale 'cubic'", 8, 33),
        ("{from: 1, to: 8, step: 3}", "steps of 3 from 1 do not lead to 8", 8, 32),
        ("{from: 1, to: 8, default: 9}", "9 is no level of this factor", 8, 35),
        ("{from: 1, to: 8, levels: 1}", "of a range is a number, 2 or more", 8, 34),
        ("{form: 1, to: 8}", "unknown key", 8, 10),
        ("{levels: [1, 1]}", "the level 1 occurs twice", 8, 22),
        ("{levels: [1, 2], step: 1}", "is for a range", 8, 26),
        ("{default: 1}", "has neither a range nor a list of levels", 8, 9),
        ("{levels: [1, 2], when: {placment: edge}}", "no such factor", 8, 33),
        ("{levels: [1, 2], when: {placement: [edge, sea]}}", "'sea' is no level of placement", 8, 51),
        ("{levels: [1, 2], when: {pool: 1}}", "hangs on itself: pool → pool", 8, 26),
        ("{levels: [1, 2], when: [edge]}", "must be a map of factors to levels", 8, 32),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(factor: str, what: str, line: int, column: int) -> None:
    with pytest.raises(SpecErrors) as raised:
        load_text(HEAD + PLACEMENT + EVERY + f"  pool: {factor}\n")
    first = next(error for error in raised.value.errors if what in error.what)
    assert (first.where.line, first.where.column) == (line, column), first


def test_the_schema_admits_what_the_reader_does() -> None:
    import jsonschema

    schema = json_schema()["properties"]["factors"]
    whole = {**schema, "$defs": json_schema()["$defs"]}
    good = {
        "a": [1],
        "b": {"from": "0.1s", "to": "1s", "scale": "log"},
        "c": {"levels": ["x", "y"], "default": "y", "when": {"a": 1}},
    }
    jsonschema.validate(good, whole)
    for bad in ({"a": []}, {"b": {"form": 1}}, {"b": {"from": 1, "to": 2, "scale": "cubic"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, whole)


def test_a_file_may_name_the_folder_that_its_paths_start_from(tmp_path: Any) -> None:
    from estran.spec import load

    (tmp_path / "there").mkdir()
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "experiment.yaml"
    file.write_text(HEAD.replace("experiment: ranged", "experiment: ranged\nfolder: ../there") + PLACEMENT + EVERY + POOL)
    experiment = load(file)
    assert experiment.folder == str(tmp_path / "there")
    assert "folder" not in experiment.document
    file.write_text(file.read_text().replace("../there", "../nowhere"))
    with pytest.raises(SpecErrors, match="there is no folder"):
        load(file)
