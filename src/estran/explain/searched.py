"""The table of a search, made fit for effects: a row for each point, and few groups of levels.

A search goes where it is good: levels are uneven and many, and few points are repeated. A model with a mean for each level, or a
curve through them, would follow single points, and take replicates of one point for evidence about others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.explain.table import Table
from estran.study.factors import Factor
from estran.study.folder import Folder
from estran.study.rows import level

GROUPS: Final = (4, 3, 2)
"""Into so many groups numeric levels are put: the most for which there are points enough."""
_EACH: Final = 2.5
"""Points for each number that the model has."""

Codes = NDArray[np.int64]


def condensed(table: Table) -> Table:
    """One row for each point, the mean of its finished runs; numeric factors in groups of about as many points each.

    All seeds that a point was run with count the same, so there are no blocks.
    """
    numbers, place = np.unique(table.points, return_inverse=True)
    first = np.unique(place, return_index=True)[1]
    factors = {factor.name: factor for factor in table.folder.factors()}
    count = _groups(list(factors.values()), table, first)
    grouped = {name: _grouped(table, factors[name], codes[first], count) for name, codes in table.codes.items()}
    levels = {name: names for name, (names, _) in grouped.items()}
    details = {
        name: {"default": levels[name][0], "range": None, "when": factor.when} for name, factor in factors.items() if factor.when
    }
    asked = replace(table.folder.asked, factors=levels, details=details)
    return Table(
        folder=Folder(table.folder.path, asked, tuple(table.folder.rows[row] for row in first.tolist())),
        levels=levels,
        codes={name: codes for name, (_, codes) in grouped.items()},
        blocks=np.ones(len(numbers), dtype=np.int64),
        points=numbers,
        done=np.bincount(place, table.done) > 0,
        responses={name: _means(values, place, table.done) for name, values in table.responses.items()},
        units=table.units,
        machines=tuple(table.machines[row] for row in first.tolist()) if table.machines else (),
    )


def _means(values: NDArray[np.float64], place: NDArray[np.int64], done: NDArray[np.bool_]) -> NDArray[np.float64]:
    known = done & np.isfinite(values)
    runs = np.bincount(place, known)
    sums = np.bincount(place, np.where(known, values, 0.0))
    return np.where(runs > 0, sums / np.maximum(runs, 1), np.nan)


def _groups(factors: list[Factor], table: Table, first: Codes) -> int:
    def numbers(most: int) -> int:
        found = (len(np.unique(table.codes[factor.name][first])) for factor in factors)
        return 1 + sum((min(levels, most) if factor.ordered else levels) - 1 for factor, levels in zip(factors, found, strict=True))

    return next((count for count in GROUPS if _EACH * numbers(count) <= len(first)), GROUPS[-1])


def _grouped(table: Table, factor: Factor, codes: Codes, count: int) -> tuple[tuple[str, ...], Codes]:
    """Names of groups, and the group of each point; levels without order, and few ones, stay as they are."""
    kept = np.unique(codes)
    names = table.levels[factor.name]
    if factor.ordered is None or len(kept) <= count:
        return names, codes
    sizes = {int(code): factor.number(level(names[code])) for code in kept}
    ascending = sorted(sizes, key=lambda code: sizes[code])
    group = _evenly(ascending, np.array([np.count_nonzero(codes == code) for code in ascending]), count)
    members = [[code for code in ascending if group[code] == number] for number in range(max(group.values()) + 1)]
    titles = tuple(names[part[0]] if len(part) == 1 else f"{names[part[0]]} … {names[part[-1]]}" for part in members)
    return titles, np.array([group[int(code)] for code in codes], dtype=np.int64)


def _evenly(levels: list[int], weights: NDArray[np.int64], count: int) -> Mapping[int, int]:
    """The group of each level, by where the middle of its points lies among all points; groups without levels are left out."""
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    groups = np.minimum((middle * count).astype(np.int64), count - 1)
    dense = np.unique(groups, return_inverse=True)[1]
    return dict(zip(levels, dense.tolist(), strict=True))
