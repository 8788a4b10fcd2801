"""The model of one response: its terms, the coding of numeric factors, what is random, and what residuals say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.diagnostics import Diagnosis, diagnose
from estran.explain.mixed import separable
from estran.explain.model import Fit, Matrix, Model, build, contrasts, curve, fit, independent
from estran.explain.sample import Sample
from estran.explain.shape import Kind, Scale, chosen
from estran.explain.table import Table
from estran.study.rows import level
from estran.study.study import SEARCHED

CURVED: Final = 6
"""A numeric factor with more levels than this may be described by a curve instead of a mean for each level …"""
REPLICATED: Final = 4
"""… unless there are as many runs a level: a curve that data chose is told with too much certainty (see ``docs/explanation``)."""


def groups_of(table: Table, taken: Sample) -> dict[str, NDArray[np.int64]]:
    """Kinds of random effects: none where each run has one value and all ran on one machine; then blocks are fixed."""
    found: dict[str, NDArray[np.int64]] = {}
    if taken.hosts is not None:
        found |= {"hosts": taken.hosts, "runs": np.unique(taken.rows, return_inverse=True)[1].astype(np.int64)}
    if taken.machines is not None:
        found["machines"] = taken.machines
    if not found:
        return {}
    blocks = np.unique(table.blocks[taken.rows], return_inverse=True)[1].astype(np.int64)
    return found | ({"blocks": blocks} if blocks.max() else {})


Modelled = tuple[Model, dict[str, NDArray[np.int64]], Mapping[str, Kind], Fit, Diagnosis]


def modelled(table: Table, taken: Sample, y: Matrix, response: str, groups: Mapping[str, NDArray[np.int64]]) -> Modelled:
    """The model of a (transformed) response, and what residuals say, all groups taken as fixed for that."""
    runs, place = np.unique(taken.rows, return_inverse=True)
    codes, codings = coded(table, taken.rows, lambda levels: _needs_curve(levels, len(runs)))
    first = np.unique(place, return_index=True)[1]
    by_run = {name: code[first] for name, code in codes.items()}
    blocks = np.zeros(len(runs), np.int64) if groups else table.blocks[runs]
    curved = {name: scale for name, scale in scales_of(table, taken).items() if _needs_curve(len(scale.numbers), len(runs))}
    kinds: Mapping[str, Kind] = {}
    if curved:
        means = np.bincount(place, y) / np.bincount(place)
        best = chosen(means, by_run, table.blocks[runs], codings, curved)
        kinds, codings = (
            {name: kind for name, (kind, _) in best.items()},
            codings | {name: coding for name, (_, coding) in best.items()},
        )
    model = build(by_run, blocks, codings, spare(table, len(runs)))
    if not model.terms or len(runs) <= model.matrix().shape[1]:
        raise too_few(table, len(runs), response)
    if len(first) < len(y):
        terms = tuple(replace(term, columns=term.columns[place]) for term in model.terms)
        model = replace(model, base=model.base[place], terms=terms)
    matrix = model.matrix()
    if "machines" in groups and not separable(matrix, groups["machines"]):
        model = replace(model, aliased={**model.aliased, "machines": tuple(term.name for term in model.terms)})
    if groups:
        dummies = [np.eye(int(code.max()) + 1)[code] for code in groups.values()]
        wider = independent(np.column_stack([matrix, *dummies]))
        matrix = wider if wider.shape[1] < len(y) - 1 else matrix
    fitted = fit(matrix, y)
    return model, codes, kinds, fitted, diagnose(fitted, codes, taken.rows + 1)


def scales_of(table: Table, taken: Sample) -> dict[str, Scale]:
    """Numeric factors with three levels or more among these rows."""
    found = {}
    for factor in table.folder.factors():
        kept = np.unique(table.codes[factor.name][taken.rows])
        span = factor.span
        if span is not None and len(kept) > 2:
            numbers = np.array([factor.number(level(table.levels[factor.name][code])) for code in kept])
            if len(np.unique(numbers)) == len(numbers):
                found[factor.name] = Scale(numbers, span[2])
    return found


def coded(
    table: Table, rows: NDArray[np.bool_] | NDArray[np.int64], curved: Callable[[int], bool]
) -> tuple[dict[str, NDArray[np.int64]], dict[str, Matrix]]:
    """Levels that occur in these rows, numbered anew, and their coding; a factor with one level left has no effect to speak of.

    Parameters
    ----------
    curved
        Whether so many levels of a numeric factor are described by a curve.
    """
    codes, codings = {}, {}
    factors = {factor.name: factor for factor in table.folder.factors()}
    for name, code in table.codes.items():
        kept, dense = np.unique(code[rows], return_inverse=True)
        if len(kept) < 2:
            continue
        codes[name] = dense.astype(np.int64)
        factor = factors[name]
        if factor.span is not None and curved(len(kept)):
            codings[name] = curve(np.array([factor.place(level(table.levels[name][number])) for number in kept]))
        else:
            codings[name] = contrasts(len(kept))
    return codes, codings


def spare(table: Table, runs: int) -> int:
    """Degrees of freedom that interactions must leave to judge by: of a search, which repeats little, half of all."""
    return runs // 2 if table.folder.asked.design == SEARCHED else 3


def counting_runs(table: Table, rows: NDArray[np.int64]) -> dict[str, int]:
    """In how many rows each factor with a condition counts."""
    design = table.folder.rows
    return {
        factor.name: sum(factor.active(design[row].levels) for row in rows.tolist())
        for factor in table.folder.factors()
        if factor.when
    }


def too_few(table: Table, runs: int, response: str) -> RequestError:
    """What to raise where runs do not suffice for a model."""
    return RequestError(
        f"{runs} runs that measured {response} are too few for the effects of {len(table.levels)} factors",
        where=str(table.folder.path),
        remedy="make more replicates, or fewer levels",
    )


def _needs_curve(levels: int, runs: int) -> bool:
    return levels > CURVED and runs < REPLICATED * levels
