"""What stands behind an explanation: intervals of shares, means where two factors meet, values at each level, residuals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.errors import RequestError
from estran.explain.diagnostics import studentised
from estran.explain.explanation import Explanation
from estran.explain.linear import Fitted, fitted, student
from estran.explain.model import Matrix
from estran.explain.table import Table
from estran.explain.transform import back, forward
from estran.study.rows import level

Interval = tuple[float, float]
DRAWS: Final = 2000
_LARGE: Final = 1e3
"""From here on the root of a noncentral χ² is as good as normal, to 0.2 % of probability."""
_EXACT: Final = 1e-12


@dataclass(frozen=True)
class Cell:
    """The mean where two levels meet, all other factors averaged over."""

    one: str
    other: str
    mean: float
    ci95: Interval


@dataclass(frozen=True)
class Residual:
    """What one run is beside what the model makes of it.

    Attributes
    ----------
    fitted
        What the model makes of it, in the response's unit.
    studentised
        The rest, in its own standard deviations.
    normal
        What a residual of its rank would be if they were normal (Blom's places).
    """

    run: int
    fitted: float
    studentised: float
    normal: float


@dataclass(frozen=True)
class Evidence:
    """Of one explanation.

    Attributes
    ----------
    shares_ci95
        Of each term's share.
    cells
        Of each interaction that was found.
    places, units
        Of each factor with numeric levels, where each level lies, in the unit of the first one; and that.
    values
        Of each factor, the response's values at each level, sorted.
    """

    shares_ci95: Mapping[str, Interval]
    cells: Mapping[str, tuple[Cell, ...]]
    places: Mapping[str, Mapping[str, float]]
    units: Mapping[str, str]
    values: Mapping[str, Mapping[str, tuple[float, ...]]]
    residuals: tuple[Residual, ...]


def evidence(table: Table, explanation: Explanation, rng: np.random.Generator) -> Evidence:
    """Gather what stands behind an explanation of a table's response.

    Parameters
    ----------
    rng
        Source of what intervals of shares are made from.
    """
    made, power = fitted(table, explanation.response, explanation.power), explanation.power
    names = {name: [table.levels[name][code] for code in kept] for name, kept in made.kept.items()}
    terms = {term.name: term for term in made.model.terms}
    found = [effect.term for effect in explanation.effects if effect.found and " × " in effect.term and effect.term in terms]
    blocks = len(np.unique(table.blocks[made.rows]))
    return Evidence(
        {} if explanation.mixed else shares_ci95(explanation, blocks, rng),
        {name: _cells(made, terms[name].factors, names, power, robust=explanation.robust) for name in found},
        {name: known for name in names if (known := _places(table, name, names[name]))},
        {factor.name: factor.span[2] for factor in table.folder.factors() if factor.span is not None},
        {name: _values(table, name, made) for name in names},
        _residuals(made, power),
    )


def shares_ci95(explanation: Explanation, blocks: int, rng: np.random.Generator) -> dict[str, Interval]:
    """95 % interval of the share of the variance that each term truly explains.

    Generalised confidence intervals (Weerahandi, Journal of the American Statistical Association 88, 1993). A residual variance is
    drawn that the residuals would allow (χ²); then for each term, and the blocks, a noncentrality λ with which its sum of squares
    (noncentral χ²) would not be surprising; a term's share is λ over all λ and the number of runs. Percentiles of `DRAWS` such
    shares are the ends. The interval may begin at 0, and lies lower than η², which chance makes too large.

    Parameters
    ----------
    blocks
        How many there are.
    """
    freedom, total = explanation.freedom, explanation.freedom / max(explanation.residual, _EXACT)
    ratio = rng.chisquare(freedom, DRAWS) / freedom  # of the residual variance that was found to the true one
    parts = {effect.term: (effect.share * total, effect.df) for effect in explanation.effects}
    drawn = {term: _noncentralities(ratio * found, df, rng) for term, (found, df) in parts.items()}
    others = _noncentralities(ratio * explanation.blocks * total, blocks - 1, rng) if blocks > 1 else 0.0
    whole = sum(drawn.values()) + others + explanation.runs
    # Where a design is not balanced, what terms explain beyond each other does not add up to the whole.
    uneven = sum(effect.share for effect in explanation.effects) + explanation.blocks + explanation.residual
    ends = {term: np.quantile(uneven * one / whole, [0.025, 0.975]).clip(0.0, 1.0) for term, one in drawn.items()}
    return {term: (float(low), float(high)) for term, (low, high) in ends.items()}


def _noncentralities(found: Matrix, df: int, rng: np.random.Generator) -> Matrix:
    """Of noncentral χ² distributions with ``df`` degrees of freedom, λ at which ``found`` is a drawn quantile; 0 if at none."""
    from scipy.special import chdtr, chndtrinc, ndtri

    p = rng.random(len(found))
    drawn = np.zeros(len(found))
    some = chdtr(df, found) > p
    large = some & (found > _LARGE)
    drawn[large] = (np.sqrt(found[large]) - ndtri(p[large])) ** 2 - (df - 1)
    drawn[some & ~large] = chndtrinc(found[some & ~large], df, p[some & ~large])
    return drawn


def _cells(
    made: Fitted, factors: tuple[str, ...], names: Mapping[str, list[str]], power: float, *, robust: bool
) -> tuple[Cell, ...]:
    model, fit = made.model, made.fit
    terms = {term.name: term for term in model.terms}
    one, other, both = terms[factors[0]], terms[factors[1]], terms[" × ".join(factors)]
    covariance, quantile = fit.covariance(robust=robust), student(fit.freedom)
    cells = []
    for first, left in zip(names[factors[0]], one.contrasts, strict=True):
        for second, right in zip(names[factors[1]], other.contrasts, strict=True):
            weights = np.zeros(len(fit.coefficients))
            weights[0] = 1.0
            weights[model.place(one)], weights[model.place(other)] = left, right
            weights[model.place(both)] = np.outer(left, right).ravel()
            mean, half = float(weights @ fit.coefficients), quantile * math.sqrt(max(0.0, float(weights @ covariance @ weights)))
            low, at, high = (back(value, power)[0] for value in (mean - half, mean, mean + half))
            cells.append(Cell(first, second, at, (low, high)))
    return tuple(cells)


def _places(table: Table, name: str, names: list[str]) -> dict[str, float]:
    """Empty where levels are no numbers."""
    factor = next(factor for factor in table.folder.factors() if factor.name == name)
    if factor.span is None:
        return {}
    try:
        return {text: factor.number(level(text)) for text in names}
    except RequestError:  # a design of one's own may have levels of any kind
        return {}


def _values(table: Table, name: str, made: Fitted) -> dict[str, tuple[float, ...]]:
    code = table.codes[name][made.rows]
    return {table.levels[name][number]: tuple(np.sort(made.y[code == number]).tolist()) for number in np.unique(code)}


def _residuals(made: Fitted, power: float) -> tuple[Residual, ...]:
    from scipy.special import ndtri

    scaled, count = studentised(made.fit), len(made.y)
    ranks = np.empty(count)
    ranks[np.argsort(scaled, kind="stable")] = np.arange(1, count + 1)
    normal = ndtri((ranks - 0.375) / (count + 0.25))
    at = [back(value, power)[0] for value in (forward(made.y, power) - made.fit.residuals).tolist()]
    columns = np.flatnonzero(made.rows) + 1, at, scaled, normal
    return tuple(Residual(int(run), float(at), float(apart), float(place)) for run, at, apart, place in zip(*columns, strict=True))
