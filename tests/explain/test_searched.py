"""The table of a search, condensed: a row a point, groups of levels, and effects that data bear."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.explain.effects import explain
from estran.explain.searched import condensed
from estran.explain.table import Table
from estran.study.study import SEARCHED

from .planted import table


def searched(rng: np.random.Generator, points: int, replicates: int = 1) -> tuple[Table, list[dict[str, Any]]]:
    """Points that gather where a pool is near 2 and another near 50; what they take has its least there."""
    made = [
        {
            "few": int(np.clip(rng.geometric(0.3), 1, 12)),
            "many": int(np.clip(rng.normal(45, 15), 4, 64)),
            "kind": str(rng.choice(["a", "b"])),
        }
        for _ in range(points)
    ]
    took = [6 + 2 * abs(np.log(point["few"] / 2)) + (0.8 if point["kind"] == "b" else 0.0) for point in made]
    values = [value + 0.01 * rng.normal() for _ in range(replicates) for value in took]
    factors = {name: tuple(sorted({point[name] for point in made})) for name in ("few", "many", "kind")}
    return table(factors, made, replicates, values, SEARCHED), made


def test_what_has_an_effect_is_found_and_what_has_none_is_not() -> None:
    found = explain(condensed(searched(np.random.default_rng(3), 60, 2)[0]), "latency", np.random.default_rng(0))
    effects = {effect.term: effect for effect in found.effects if " × " not in effect.term}
    assert effects["few"].found
    assert effects["kind"].found
    assert not effects["many"].found


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(14, 60), st.integers(1, 3))
def test_means_at_levels_are_no_further_out_than_the_data_allow(seed: int, points: int, replicates: int) -> None:
    """A model with a level for every pool of a search puts means hundreds of times outside of what was measured."""
    given_table, _ = searched(np.random.default_rng(seed), points, replicates)
    found = explain(condensed(given_table), "latency", np.random.default_rng(0))
    low, high = given_table.responses["latency"].min(), given_table.responses["latency"].max()
    for effect in found.effects:
        for one in effect.levels:
            assert low - (high - low) <= one.mean <= high + (high - low)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(8, 40), st.integers(1, 3))
def test_a_row_is_a_point_and_groups_ascend(seed: int, points: int, replicates: int) -> None:
    given_table, made = searched(np.random.default_rng(seed), points, replicates)
    found = condensed(given_table)
    assert found.runs == points
    means = given_table.responses["latency"].reshape(replicates, points).mean(axis=0)
    assert found.responses["latency"] == pytest.approx(means)
    for name in ("few", "many"):
        groups = [[made[i][name] for i in np.flatnonzero(found.codes[name] == code)] for code in range(len(found.levels[name]))]
        assert all(max(one) < min(other) for one, other in pairwise(groups))
        assert [title.split(" … ")[0] for title in found.levels[name]] == [str(min(one)) for one in groups]


def test_a_point_that_failed_is_not_done_and_one_failed_run_does_not_count() -> None:
    given_table, _ = searched(np.random.default_rng(1), 20, 2)
    done = given_table.done.copy()
    done[[3, 5, 25]] = False  # one run of the fourth point, both of the sixth
    values = given_table.responses["latency"]
    lost = Table(**{**{name: getattr(given_table, name) for name in given_table.__dataclass_fields__}, "done": done})
    found = condensed(lost)
    assert not found.done[5]
    assert found.done.sum() == 19
    assert found.responses["latency"][3] == values[23]
