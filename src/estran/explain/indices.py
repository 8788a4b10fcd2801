"""Sobol's indices and Morris's elementary effects, from studies with designs that were drawn for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.model import Matrix
from estran.explain.table import Table

RESAMPLES: Final = 2000
"""Of the bootstrap that intervals are from."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Index:
    """What one factor does over its whole range, whatever the others are.

    Attributes
    ----------
    first, first_ci95
        Of ``sobol``: share of the variance that the factor explains by itself. Of ``morris``: μ, the mean change of the response
        from one end of the factor's range to the other, in the response's unit.
    total, total_ci95
        Of ``sobol``: that share with all interactions. Of ``morris``: μ*, the mean of the changes' sizes.
    spread
        Of ``morris``: σ, the standard deviation of the changes: how far the factor's effect depends on the others, or is curved.
    ordered
        Whether the factor has a range. Where its levels have no order, changes of ``morris`` are those from one level to another.
    """

    factor: str
    first: float
    first_ci95: Interval
    total: float
    total_ci95: Interval
    spread: float | None
    ordered: bool = True


@dataclass(frozen=True)
class Indices:
    """All factors' indices for one response, from the largest total to the least.

    Attributes
    ----------
    kind
        ``sobol`` or ``morris``.
    samples, lost
        Base points or trajectories that count, and those that do not because one of their runs failed.
    """

    response: str
    unit: str
    kind: str
    samples: int
    lost: int
    mean: float
    indices: tuple[Index, ...]


def explain_by_indices(table: Table, response: str, rng: np.random.Generator) -> Indices:
    """Estimate the indices that the study's design was drawn for.

    Sobol: the estimators of Jansen, *Analysis of variance designs for model output*, Computer Physics Communications 117, 1999, as
    Saltelli et al. recommend, Computer Physics Communications 181, 2010, table 2. Morris: *Factorial sampling plans for preliminary
    computational experiments*, Technometrics 33, 1991; μ* of Campolongo, Cariboni, Saltelli, Environmental Modelling & Software
    22, 2007. Replicates of a point are averaged. Intervals are percentiles of a bootstrap over base points or trajectories.

    Raises
    ------
    RequestError
        If no run measured the response, it never changes, or fewer than two base points or trajectories are complete.
    """
    names, kind = list(table.codes), table.folder.asked.design
    size = len(names) + (2 if kind == "sobol" else 1)
    values = _by_point(table, response).reshape(-1, size)
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    if whole.sum() < 2:
        what = f"{int(whole.sum())} of {len(whole)} samples are complete for {response}"
        raise RequestError(what, where=str(table.folder.path), remedy="two are the least: estran resume, or give --samples")
    kept = values[whole]
    if not table.varies(response) or np.ptp(kept) == 0:
        raise RequestError(f"{response} never changes", where="--response", remedy="choose another")
    steps = None if kind == "sobol" else _steps(table, names, size)[whole]
    ordered = {factor.name: factor.ordered is not None for factor in table.folder.factors()}
    estimate = _sobol if steps is None else _morris(steps)
    return Indices(
        response=response,
        unit=table.units.get(response, ""),
        kind=kind,
        samples=len(kept),
        lost=int((~whole).sum()),
        mean=float(kept.mean()),
        indices=_indices({name: ordered[name] for name in names}, kept, estimate, rng),
    )


Estimate = Callable[[Matrix, NDArray[np.int64]], tuple[Matrix, Matrix, Matrix | None]]
"""First, total and spread of each factor, shape (factors,), from values, shape (samples, points), and which samples to take."""


def _indices(names: Mapping[str, bool], values: Matrix, estimate: Estimate, rng: np.random.Generator) -> tuple[Index, ...]:
    """``names``: of each factor whether its levels have an order."""
    first, total, spread = estimate(values, np.arange(len(values)))
    drawn = [estimate(values, rng.integers(len(values), size=len(values)))[:2] for _ in range(RESAMPLES)]
    ends = np.nanpercentile(np.array(drawn), [2.5, 97.5], axis=0)
    found = [
        Index(
            name,
            float(first[i]),
            (float(ends[0, 0, i]), float(ends[1, 0, i])),
            float(total[i]),
            (float(ends[0, 1, i]), float(ends[1, 1, i])),
            None if spread is None else float(spread[i]),
            ordered,
        )
        for i, (name, ordered) in enumerate(names.items())
    ]
    return tuple(sorted(found, key=lambda index: -index.total))


def _sobol(values: Matrix, chosen: NDArray[np.int64]) -> tuple[Matrix, Matrix, Matrix | None]:
    """Columns of ``values``: f(A), then f(A with coordinate i of B) for each i, then f(B)."""
    taken = values[chosen]
    a, mixed, b = taken[:, :1], taken[:, 1:-1], taken[:, -1:]
    variance = np.concatenate([a, b]).var()
    if variance == 0:
        return np.full(mixed.shape[1], np.nan), np.full(mixed.shape[1], np.nan), None
    first = 1 - ((b - mixed) ** 2).mean(axis=0) / (2 * variance)
    return first, ((a - mixed) ** 2).mean(axis=0) / (2 * variance), None


def _morris(steps: Matrix) -> Estimate:
    """``steps``: how far each factor went at each step, shape (samples, points − 1, factors); one factor a step."""

    def estimate(values: Matrix, chosen: NDArray[np.int64]) -> tuple[Matrix, Matrix, Matrix | None]:
        moved, changes = steps[chosen], np.diff(values[chosen], axis=1)
        changes[np.abs(changes) < 1e-12 * np.abs(values).max()] = 0.0  # rounding
        factor = np.abs(moved).argmax(axis=2)
        slopes = changes / np.take_along_axis(moved, factor[..., None], axis=2)[..., 0]
        ordered = np.take_along_axis(slopes, factor.argsort(axis=1), axis=1)
        return ordered.mean(axis=0), np.abs(ordered).mean(axis=0), ordered.std(axis=0, ddof=1)

    return estimate


def _steps(table: Table, names: list[str], size: int) -> Matrix:
    """Moves in the unit interval, as the design made them: two thirds up or down; 1 between levels that are no part of a range."""
    factors = {factor.name: factor for factor in table.folder.factors()}
    levels: Mapping[int, Mapping[str, Any]] = {row.point: row.levels for row in table.folder.rows}
    places = np.array([[factors[name].place(levels[point][name]) for name in names] for point in sorted(levels)])
    moved = np.diff(places.reshape(-1, size, len(names)), axis=1)
    reach = np.array([1.0 if factors[name].ordered is None else 2 / 3 for name in names])
    return np.asarray(np.where(np.abs(moved) > 1e-9, np.sign(moved) * reach, 0.0))


def _by_point(table: Table, response: str) -> Matrix:
    """Mean of a response over the replicates of each point; NaN where one is missing."""
    if response not in table.responses:
        known = ", ".join(sorted(table.responses))
        raise RequestError(f"no run measured {response!r}", where="--response", remedy=f"choose one of {known}")
    values = np.where(table.done, table.responses[response], np.nan)
    count = int(table.points.max())
    sums = np.bincount(table.points - 1, values, count)
    return np.asarray(sums / np.bincount(table.points - 1, minlength=count))
