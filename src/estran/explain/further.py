"""Which further runs would say most: those that failed, those that tell aliases apart, and those that narrow the intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.linear import Fitted, fitted, student
from estran.explain.model import Matrix
from estran.explain.table import Table
from estran.explain.whatif import row
from estran.run.record import write_text
from estran.study.rows import cell, csv_text

MOST_POINTS: Final = 2000
"""Candidates at the most: all combinations of levels, or where these are more the design's own points."""
MOST_TELLING: Final = 16
"""Runs that are suggested to tell aliases apart, at the most."""
_NEW: Final = 1e-7


@dataclass(frozen=True)
class Further:
    """Runs to add.

    Attributes
    ----------
    missing
        Levels of runs of the design that failed or did not measure the response.
    telling
        Runs after which the terms in ``told`` can be told apart; ``untold`` are aliases for which more would be needed.
    narrowing
        Points with the number of further runs at each, best first; none where the model leaves nothing over.
    gains
        Of each factor, half the 95 % interval of its least certain difference between two levels: now, and after ``narrowing``.
    prediction
        The same of the mean at a point, averaged over all candidates.
    """

    response: str
    unit: str
    missing: tuple[Mapping[str, str], ...]
    telling: tuple[Mapping[str, str], ...]
    told: Mapping[str, tuple[str, ...]]
    untold: tuple[str, ...]
    narrowing: tuple[tuple[Mapping[str, str], int], ...]
    gains: Mapping[str, tuple[float, float]]
    prediction: tuple[float, float]

    @property
    def points(self) -> tuple[Mapping[str, str], ...]:
        """All runs, one each: lines of a design."""
        return (*self.missing, *self.telling, *(levels for levels, times in self.narrowing for _ in range(times)))


def suggest(table: Table, response: str, runs: int) -> Further:
    """Choose further runs for one response.

    Runs that narrow are chosen one after the other, each so that the variance of the mean, averaged over all candidates, becomes
    least (I-optimal; Atkinson, Donev, Tobias, *Optimum experimental designs, with SAS*, 2007, chapters 10 and 12). What each would
    change is known beforehand, since it does not depend on what the run will measure.

    Parameters
    ----------
    runs
        How many runs may be spent on narrowing.

    Raises
    ------
    RequestError
        If the response cannot be explained, or no run may be spent.
    """
    if runs < 1:
        raise RequestError(f"{runs} further runs are none", where="--next-runs", remedy="give 1 or more")
    found = fitted(table, response)
    names = list(found.codes)
    points = _candidates(table, found, names)
    matrix = np.array([row(found, _codings(found, names, point)) for point in points])
    telling, told, untold = _telling(found, names, points)
    first = add_rows(found.fit.inverse, matrix[telling])
    certain = _is_certain(found)
    chosen, inverse = narrow(first, matrix, 0 if certain else runs)
    times: dict[int, int] = {}
    for number in chosen:
        times[number] = times.get(number, 0) + 1
    freedom = (found.fit.freedom, found.fit.freedom + len(telling) + len(chosen))
    deviation = 0.0 if certain else float(np.sqrt(found.fit.variance))
    halves = [student(free) * deviation for free in freedom]
    average = [float(np.sqrt(_average(one, matrix))) * half for one, half in zip((found.fit.inverse, inverse), halves, strict=True)]
    return Further(
        response=response,
        unit=table.units.get(response, ""),
        missing=tuple(_levels(table, number) for number in np.flatnonzero(~found.rows).tolist()),
        telling=tuple(_named(table, found, names, points[number]) for number in telling),
        told=told,
        untold=untold,
        narrowing=tuple((_named(table, found, names, points[number]), count) for number, count in times.items()),
        gains=_gains(found, inverse, halves),
        prediction=(average[0], average[1]),
    )


def write_design(path: Path, table: Table, further: Sequence[Further]) -> int:
    """Write all suggested runs as a design for ``estran study FILE --design``; return their number.

    A run that several responses ask for is one run: it measures all of them.

    Raises
    ------
    RequestError
        If nothing is suggested, or the file cannot be written.
    """
    names = list(table.levels)
    wanted: Counter[tuple[str, ...]] = Counter()
    for one in further:
        wanted |= Counter(tuple(levels[name] for name in names) for levels in one.points)
    lines = list(wanted.elements())
    if not lines:
        raise RequestError("no further run would tell more", where="--next", remedy="leave it out, or add levels to the study")
    try:
        write_text(path, csv_text(names, lines))
    except OSError as error:
        raise RequestError(f"cannot write it: {error.strerror}", where=str(path), remedy="give another file for --next") from error
    return len(lines)


def add_rows(inverse: Matrix, rows: Matrix) -> Matrix:
    """(XᵀX)⁻¹ after rows were added to X (Sherman, Morrison 1950): exact, without another inversion."""
    for one in rows:
        pulled = inverse @ one
        inverse = inverse - np.outer(pulled, pulled) / (1 + one @ pulled)
    return inverse


def narrow(inverse: Matrix, candidates: Matrix, runs: int) -> tuple[list[int], Matrix]:
    """Choose rows, one after the other, that lower the average variance over the candidates most; and what (XᵀX)⁻¹ is then."""
    moments = candidates.T @ candidates / len(candidates)
    chosen: list[int] = []
    for _ in range(runs):
        pulled = candidates @ inverse
        gains = np.einsum("ij,jk,ik->i", pulled, moments, pulled) / (1 + np.einsum("ij,ij->i", pulled, candidates))
        best = int(np.flatnonzero(gains >= gains.max() * (1 - 1e-9))[0])  # of equals, the first: not what rounding prefers
        chosen.append(best)
        inverse = add_rows(inverse, candidates[[best]])
    return chosen, inverse


def _is_certain(found: Fitted) -> bool:
    """Whether the model leaves over what rounding leaves only, so that no further run can narrow anything."""
    largest = float(np.abs(found.fit.matrix @ found.fit.coefficients).max())
    return float(np.sqrt(found.fit.variance)) <= 1e-9 * largest


def _average(inverse: Matrix, matrix: Matrix) -> float:
    return float(np.einsum("ij,jk,ik->i", matrix, inverse, matrix).mean())


def _candidates(table: Table, found: Fitted, names: list[str]) -> NDArray[np.int64]:
    """Points that can be run, as places of their levels in `Fitted.kept`, shape (points, factors)."""
    sizes = [len(kept) for kept in found.kept.values()]
    if np.prod(np.array(sizes, dtype=np.float64)) <= MOST_POINTS:
        possible = [point for point in product(*map(range, sizes)) if _can_be(table, _named(table, found, names, np.array(point)))]
        if possible:
            return np.array(possible)
    return np.asarray(np.unique(np.column_stack(list(found.codes.values())), axis=0)[:MOST_POINTS])


def _codings(found: Fitted, names: list[str], point: NDArray[np.int64]) -> dict[str, Matrix]:
    return {name: found.codings[name][code] for name, code in zip(names, point, strict=True)}


def _telling(
    found: Fitted, names: list[str], points: NDArray[np.int64]
) -> tuple[list[int], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Rows that are new to a model with the aliased terms in it, until all of them can be told, or too many would be needed."""
    if not found.model.aliased:
        return [], {}, ()
    terms = [*((name,) for name in names), *combinations(names, 2)]
    fitted_or_aliased = {*found.model.aliased, *(term.name for term in found.model.terms)}
    wanted = [term for term in terms if " × ".join(term) in fitted_or_aliased]
    places = np.column_stack(list(found.codes.values()))
    measured, possible = _columns(found, names, wanted, places), _columns(found, names, wanted, points)
    basis = _span(measured)
    chosen: list[int] = []
    while len(chosen) < MOST_TELLING:
        left = possible - possible @ basis @ basis.T
        sizes = np.linalg.norm(left, axis=1)
        best = int(np.flatnonzero(sizes >= sizes.max() * (1 - 1e-9))[0])
        if sizes[best] <= _NEW * np.linalg.norm(possible[best]):
            break
        chosen.append(best)
        basis = np.column_stack([basis, left[best] / sizes[best]])
    untold = tuple(name for name in found.model.aliased if not _known(found, names, wanted, name, basis))
    told = {name: twins for name, twins in found.model.aliased.items() if name not in untold}
    return (chosen if told else []), told, untold


def _known(found: Fitted, names: list[str], wanted: list[tuple[str, ...]], name: str, basis: Matrix) -> bool:
    """Whether the coefficients of a term are estimable: their unit vectors lie in the span of the rows."""
    start = 1
    for term in wanted:
        width = int(np.prod([found.codings[one].shape[1] for one in term]))
        if " × ".join(term) == name:
            units = np.eye(len(basis))[start : start + width]
            return bool(np.abs(units - units @ basis @ basis.T).max() < _NEW)
        start += width
    return False


def _columns(found: Fitted, names: list[str], terms: Sequence[tuple[str, ...]], points: NDArray[np.int64]) -> Matrix:
    """The mean and the columns of these terms at points, shape (points, …)."""
    codings = {name: found.codings[name][points[:, i]] for i, name in enumerate(names)}
    parts = [np.ones((len(points), 1))]
    for term in terms:
        columns = codings[term[0]]
        for name in term[1:]:
            columns = np.einsum("ri,rj->rij", columns, codings[name]).reshape(len(points), -1)
        parts.append(columns)
    return np.column_stack(parts)


def _span(rows: Matrix) -> Matrix:
    """An orthonormal basis of what rows span, shape (columns, rank)."""
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(directions[sizes > sizes.max() * 1e-9].T)


def _gains(found: Fitted, inverse: Matrix, halves: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Half intervals of the least certain difference between two levels of each factor, before and after."""
    gains = {}
    for term in found.model.terms:
        if len(term.factors) == 1:
            place = found.model.place(term)
            apart = np.array([one - other for one, other in combinations(term.contrasts, 2)])
            widths = [
                float(np.sqrt(np.einsum("ij,jk,ik->i", apart, one[place, place], apart).max())) * half
                for one, half in zip((found.fit.inverse, inverse), halves, strict=True)
            ]
            gains[term.name] = (widths[0], widths[1])
    return gains


def _levels(table: Table, number: int) -> dict[str, str]:
    return {name: table.levels[name][table.codes[name][number]] for name in table.levels}


def _can_be(table: Table, levels: Mapping[str, str]) -> bool:
    """Whether every factor that does not count at a point is at its default there, as designs must have it."""
    return all(
        levels[factor.name] == cell(factor.default)
        or all(levels[name] in map(cell, allowed) for name, allowed in factor.when.items() if name in levels)
        for factor in table.folder.factors()
    )


def _named(table: Table, found: Fitted, names: list[str], point: NDArray[np.int64]) -> dict[str, str]:
    """Levels by name; of factors that are not in the model, the first."""
    known = {name: table.levels[name][found.kept[name][code]] for name, code in zip(names, point, strict=True)}
    return {name: known.get(name, levels[0]) for name, levels in table.levels.items()}
