"""Trade-offs: the front is that of the definition, ties included, and its certainty is that of the replicates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.errors import RequestError
from estran.explain.pareto import dominates, front, sorted_fronts, usual
from estran.explain.table import Table
from tests.explain.planted import table

COSTS = st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 3))
)


def beats(one: Any, other: Any) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


@given(COSTS)
def test_fronts_are_those_of_the_definition(costs: Any) -> None:
    rows = costs.tolist()
    assert dominates(costs).tolist() == [[beats(one, other) for other in rows] for one in rows]
    left, wanted, number = set(range(len(rows))), [0] * len(rows), 0
    while left:
        number += 1
        best = {i for i in left if not any(beats(rows[j], rows[i]) for j in left)}
        for i in best:
            wanted[i] = number
        left -= best
    assert sorted_fronts(costs).tolist() == wanted


def two(latency: Any, accuracy: Any, replicates: int = 1) -> Table:
    names = tuple(f"p{i}" for i in range(len(latency) // replicates))
    made = table({"place": names}, [{"place": name} for name in names], replicates, latency)
    units = {"latency": "s", "accuracy": "fraction"}
    return replace(made, responses={"latency": made.responses["latency"], "accuracy": np.asarray(accuracy, float)}, units=units)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
def test_directions_count_and_equal_points_are_on_the_front_together(points: list[tuple[int, int]]) -> None:
    latency, accuracy = zip(*points, strict=True)
    found = front(two(latency, accuracy), ["latency", "accuracy"], np.random.default_rng(0))
    costs = [(a, -b) for a, b in points]
    assert [one.on_front for one in found.candidates] == [not any(beats(other, one) for other in costs) for one in costs]
    assert all(one.confidence is None and one.ci95 == (None, None) for one in found.candidates)


def test_certainty_is_that_of_the_replicates() -> None:
    """p0 is best in latency for sure, p1 beaten for sure, p2 and p3 equal but for chance."""
    rng = np.random.default_rng(1)
    latency = np.tile([1.0, 3.0, 2.0, 2.0], 8) + rng.normal(scale=0.1, size=32)
    accuracy = np.tile([0.5, 0.4, 0.9, 0.9], 8) + rng.normal(scale=0.01, size=32)
    made = two(latency, accuracy, 8)
    found = front(made, usual(made)[::-1], rng)
    sure = [one.confidence for one in found.candidates]
    assert (sure[0], sure[1]) == (1.0, 0.0)
    assert all(one is not None and 0.05 < one <= 1.0 for one in sure[2:])
    assert 1.0 < sum(one for one in sure[2:] if one is not None) < 2.0
    ends = found.candidates[0].ci95[0]
    assert ends is not None
    assert ends[0] < 1.0 < ends[1]


def test_what_cannot_be_traded_is_refused() -> None:
    made = two([1, 2], [0.1, 0.2])
    rng = np.random.default_rng(0)
    lone = replace(made, done=np.array([True, False]))
    odd = replace(made, responses={**made.responses, "lag": np.array([1.0, 2.0])})
    cases = ((made, ["latency"], "cannot be traded"), (made, ["latency", "beauty"], "no run measured beauty"))
    for given_table, names, text in (
        *cases,
        (lone, ["latency", "accuracy"], "1 point "),
        (odd, ["latency", "lag"], "is not known"),
    ):
        with pytest.raises(RequestError, match=text) as raised:
            front(given_table, names, rng)
        assert "→" in str(raised.value)
