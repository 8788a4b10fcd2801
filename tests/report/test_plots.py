"""Axes and marks: round ticks, everything inside the picture, nothing that is no number."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.report.plots import Plot, levels, nice, numbers, slots

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(3, 8))
def test_ticks_are_few_round_and_inside(low: float, spread: float, most: int) -> None:
    high = low + spread
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    ticks = nice(low, high, most)
    assert 1 <= len(ticks) <= most
    room = 1e-6 * (high - low) + 1e-12 * max(abs(low), abs(high))
    assert all(low - room <= tick <= high + room for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(st.lists(FINITE, min_size=1, max_size=20), st.sampled_from(["s", "fraction", "", "B"]))
def test_marks_lie_inside_whatever_the_values(values: list[float], unit: str) -> None:
    axis = numbers(values, "response", unit)
    plot = Plot(numbers([0.0, 1.0], "x", ""), axis)
    for value in values:
        plot.dot(0.5, value, "layer-0", "a mark")
    drawn = plot.svg("said")
    assert not re.search(r"nan|inf", drawn)
    assert all(0.0 <= axis.share(value) <= 1.0 for value in values)
    assert axis.ticks


def test_levels_stand_where_their_numbers_are() -> None:
    axis = levels([1.0, 2.0, 10.0], ["1ms", "2ms", "10ms"], "delay")
    assert not axis.log
    one, two, ten = (axis.share(place) for place in (1.0, 2.0, 10.0))
    assert (ten - one) / (two - one) == pytest.approx(9.0)
    wide = levels([1.0, 100.0, 10000.0], ["1", "100", "10000"], "rate")
    assert wide.log
    one, middle, most = (wide.share(place) for place in (1.0, 100.0, 10000.0))
    assert middle - one == pytest.approx(most - middle)
    assert [name for _, name in wide.ticks] == ["1", "100", "10000"]


def test_names_that_would_overlap_are_left_out() -> None:
    near = levels([1.0, 1.001, 2.0], ["1ms", "1.001ms", "2ms"], "delay")
    assert [name for _, name in near.ticks] == ["1ms", "2ms"]
    many = slots([f"a level with a long name {i}" for i in range(60)], "learner")
    assert 3 <= len(many.ticks) <= 20
    assert all(len(name) <= 20 for _, name in many.ticks)
    assert levels([5.0], ["5ms"], "delay").share(5.0) == pytest.approx(0.5)
