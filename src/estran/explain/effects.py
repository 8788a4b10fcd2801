"""Effects of factors on one response: shares of variance, tests, and differences between levels in the response's own unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.diagnostics import Diagnosis, diagnose
from estran.explain.model import Fit, Matrix, Model, Term, build, contrasts, curve, fit
from estran.explain.table import Table
from estran.study.rows import level

PERMUTATIONS: Final = 1999
CURVED: Final = 6
"""A numeric factor with more levels than this is described by a parabola instead of a mean for each level."""
ALPHA: Final = 0.05


@dataclass(frozen=True)
class Level:
    """The mean at one level of a factor, all others averaged over, and the difference from the factor's first level."""

    name: str
    mean: float
    mean_ci95: tuple[float, float]
    difference: float
    difference_ci95: tuple[float, float]


@dataclass(frozen=True)
class Effect:
    """What one term explains.

    Attributes
    ----------
    term
        A factor's name, or ``one × other``.
    share
        Of the total sum of squares (η²); ``omega`` is ω², which allows for what chance alone would explain; ``cohen`` is Cohen's f.
    p, p_holm
        Of the test that the term explains nothing; and adjusted by Holm's method over all terms of the response.
    levels
        Of a main effect.
    """

    term: str
    df: int
    share: float
    omega: float
    cohen: float
    f: float
    p: float
    p_holm: float
    levels: tuple[Level, ...]

    @property
    def found(self) -> bool:
        """Whether it can be told from chance."""
        return self.p_holm < ALPHA

    @property
    def widest(self) -> tuple[Level, Level] | None:
        """The levels with the least and the greatest mean."""
        if not self.levels:
            return None
        return min(self.levels, key=lambda one: one.mean), max(self.levels, key=lambda one: one.mean)


@dataclass(frozen=True)
class Explanation:
    """What factors do to one response.

    Attributes
    ----------
    runs, missing
        Runs that count, and runs of the design that do not: they failed, or did not measure it.
    effects
        From the one that explains most to the one that explains least.
    blocks, residual
        Shares of the total that differences between blocks, and nothing in the model, explain.
    robust, permuted
        Whether intervals allow for unequal variances, and p-values are from permutations; and why.
    detectable
        Smallest difference between two levels of a factor that a study like this finds four times of five, by factor.
    """

    response: str
    unit: str
    runs: int
    missing: int
    mean: float
    effects: tuple[Effect, ...]
    blocks: float
    residual: float
    freedom: int
    robust: bool
    permuted: bool
    aliased: Mapping[str, tuple[str, ...]]
    unfitted: tuple[str, ...]
    detectable: Mapping[str, float]
    diagnosis: Diagnosis


def explain(table: Table, response: str, rng: np.random.Generator) -> Explanation:
    """Fit and judge all effects on a response.

    Parameters
    ----------
    rng
        Source of permutations.

    Raises
    ------
    RequestError
        If there is no such response, it is the same in all runs, or there are too few runs to judge by.
    """
    y, rows = _measured(table, response)
    codes, codings = coded(table, rows)
    model = build(codes, table.blocks[rows], codings)
    fitted = _fitted(model, y, response, table)
    names = {name: [table.levels[name][code] for code in np.unique(table.codes[name][rows])] for name in codes}
    diagnosis = diagnose(fitted, codes, np.flatnonzero(rows) + 1)
    robust, permuted = diagnosis.unequal is not None, diagnosis.unequal is not None or not diagnosis.normal
    total = float(((y - y.mean()) ** 2).sum())
    orders = _orders(table.blocks[rows], rng) if permuted else None
    tests = [_tested(model, term, y, fitted, orders) for term in model.terms]
    adjusted = _holm([p for _, _, p in tests])
    covariance = fitted.covariance(robust=robust)
    effects = [
        _effect(model, term, test, p, total, fitted, covariance, names)
        for term, test, p in zip(model.terms, tests, adjusted, strict=True)
    ]
    base = fit(model.base, y).error
    return Explanation(
        response=response,
        unit=table.units.get(response, ""),
        runs=len(y),
        missing=table.runs - len(y),
        mean=float(y.mean()),
        effects=tuple(sorted(effects, key=lambda effect: -effect.omega)),
        blocks=(total - base) / total,
        residual=fitted.error / total,
        freedom=fitted.freedom,
        robust=robust,
        permuted=permuted,
        aliased=model.aliased,
        unfitted=model.unfitted,
        detectable=_detectable(model, fitted, covariance),
        diagnosis=diagnosis,
    )


@dataclass(frozen=True)
class Fitted:
    """The linear model of one response with all that was fitted: what predictions and choices of further runs begin from.

    Attributes
    ----------
    rows
        Which rows of the table count.
    kept
        Of each factor in the model, the numbers of its levels that occur in these rows, in the order of its coding.
    codes, codings
        Level of each row, as a place in ``kept``; and what each of these levels has in the factor's columns.
    diagnosis
        Of the residuals.
    """

    model: Model
    fit: Fit
    rows: NDArray[np.bool_]
    kept: Mapping[str, NDArray[np.int64]]
    codes: Mapping[str, NDArray[np.int64]]
    codings: Mapping[str, Matrix]
    diagnosis: Diagnosis


def fitted(table: Table, response: str) -> Fitted:
    """Fit a response as `explain` does.

    Raises
    ------
    RequestError
        As `explain`.
    """
    y, rows = _measured(table, response)
    codes, codings = coded(table, rows)
    model = build(codes, table.blocks[rows], codings)
    found = _fitted(model, y, response, table)
    kept = {name: np.unique(table.codes[name][rows]) for name in codes}
    return Fitted(model, found, rows, kept, codes, codings, diagnose(found, codes, np.flatnonzero(rows) + 1))


def _measured(table: Table, response: str) -> tuple[Matrix, NDArray[np.bool_]]:
    if response not in table.responses:
        known = ", ".join(sorted(table.responses))
        raise RequestError(f"no run measured {response!r}", where="--response", remedy=f"choose one of {known}")
    values = table.responses[response]
    rows = table.done & np.isfinite(values)
    if not rows.any():
        raise RequestError(f"no finished run measured {response}", where="--response", remedy="see why: estran show RUN")
    y = values[rows]
    if not table.varies(response):
        raise RequestError(
            f"{response} is {y[0]:.6g} in all {len(y)} runs: nothing changes it", where="--response", remedy="choose another"
        )
    return y, rows


def coded(table: Table, rows: NDArray[np.bool_]) -> tuple[dict[str, NDArray[np.int64]], dict[str, Matrix]]:
    """Levels that occur in these rows, numbered anew, and their coding; a factor with one level left has no effect to speak of."""
    codes, codings = {}, {}
    factors = {factor.name: factor for factor in table.folder.factors()}
    for name, code in table.codes.items():
        kept, dense = np.unique(code[rows], return_inverse=True)
        if len(kept) < 2:
            continue
        codes[name] = dense.astype(np.int64)
        factor = factors[name]
        if len(kept) > CURVED and factor.span is not None:
            codings[name] = curve(np.array([factor.place(level(table.levels[name][number])) for number in kept]))
        else:
            codings[name] = contrasts(len(kept))
    return codes, codings


def _fitted(model: Model, y: Matrix, response: str, table: Table) -> Fit:
    matrix = model.matrix()
    if not model.terms or len(y) <= matrix.shape[1]:
        raise RequestError(
            f"{len(y)} runs that measured {response} are too few for the effects of {len(table.levels)} factors",
            where=str(table.folder.path),
            remedy="make more replicates, or fewer levels",
        )
    return fit(matrix, y)


def _orders(blocks: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Orders of rows that were drawn, each within its block, shape (`PERMUTATIONS`, rows)."""
    order = np.tile(np.arange(len(blocks)), (PERMUTATIONS, 1))
    for block in np.unique(blocks):
        places = np.flatnonzero(blocks == block)
        order[:, places] = rng.permuted(order[:, places], axis=1)
    return order


def _tested(model: Model, term: Term, y: Matrix, fitted: Fit, orders: NDArray[np.int64] | None) -> tuple[float, float, float]:
    """Sum of squares of a term, F, and p: from the F distribution, or by permuting what the other terms leave over.

    Freedman and Lane, *A nonstochastic interpretation of reported significance levels*, Journal of Business and Economic
    Statistics 1, 1983; permuted within blocks.
    """
    from scipy.stats import f as f_distribution

    others, df = model.matrix(without=term.name), term.columns.shape[1]
    left_over = fit(others, y).residuals
    # The last columns are what the term adds to all others; what those fit does not change what it explains.
    basis = np.linalg.qr(np.column_stack([others, term.columns]))[0]
    squares = float(((left_over @ basis[:, -df:]) ** 2).sum())
    found = squares / df / fitted.variance if fitted.variance > 0 else math.inf
    if orders is None:
        return squares, found, float(f_distribution.sf(found, df, fitted.freedom))
    projected = (left_over[orders] @ basis) ** 2
    explained = projected[:, -df:].sum(axis=1)
    unexplained = np.maximum(left_over @ left_over - projected.sum(axis=1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(explained / df / (unexplained / fitted.freedom), nan=0.0, posinf=math.inf)
    as_extreme = int((ratios >= found * (1 - 1e-9)).sum())
    return squares, found, (as_extreme + 1) / (PERMUTATIONS + 1)


def _holm(p: Sequence[float]) -> list[float]:
    """Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6, 1979."""
    order = np.argsort(p)
    adjusted, worst = np.empty(len(p)), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = worst
    return [float(value) for value in adjusted]


def _effect(
    model: Model,
    term: Term,
    test: tuple[float, float, float],
    p_holm: float,
    total: float,
    fitted: Fit,
    covariance: Matrix,
    names: Mapping[str, list[str]],
) -> Effect:
    squares, f, p = test
    df, variance = term.columns.shape[1], fitted.variance
    return Effect(
        term=term.name,
        df=df,
        share=squares / total,
        omega=max(0.0, (squares - df * variance) / (total + variance)),
        cohen=math.sqrt(squares / fitted.error) if fitted.error > 0 else math.inf,
        f=f,
        p=p,
        p_holm=p_holm,
        levels=_levels(model, term, fitted, covariance, names[term.factors[0]]) if len(term.factors) == 1 else (),
    )


def _levels(model: Model, term: Term, fitted: Fit, covariance: Matrix, names: list[str]) -> tuple[Level, ...]:
    place, quantile = model.place(term), student(fitted.freedom)
    found = []
    for name, contrast in zip(names, term.contrasts, strict=True):
        mean, half = _estimate(fitted, covariance, quantile, place, contrast, intercept=1.0)
        apart, spread = _estimate(fitted, covariance, quantile, place, contrast - term.contrasts[0], intercept=0.0)
        found.append(Level(name, mean, (mean - half, mean + half), apart, (apart - spread, apart + spread)))
    return tuple(found)


def _estimate(
    fitted: Fit, covariance: Matrix, quantile: float, place: slice, contrast: Matrix, *, intercept: float
) -> tuple[float, float]:
    """A combination of coefficients, and half the width of its interval."""
    weights = np.zeros(len(fitted.coefficients))
    weights[0], weights[place] = intercept, contrast
    return float(weights @ fitted.coefficients), quantile * math.sqrt(max(0.0, float(weights @ covariance @ weights)))


def _detectable(model: Model, fitted: Fit, covariance: Matrix) -> dict[str, float]:
    """Two-sided test at 5 %, power 80 %: (t₀.₉₇₅ + t₀.₈) standard errors of the least certain difference from the first level."""
    from scipy.stats import t

    factor = student(fitted.freedom) + float(t.ppf(0.8, fitted.freedom))
    found = {}
    for term in model.terms:
        if len(term.factors) == 1:
            place = model.place(term)
            apart = term.contrasts[1:] - term.contrasts[0]
            variances = np.einsum("ij,jk,ik->i", apart, covariance[place, place], apart)
            found[term.name] = factor * math.sqrt(max(0.0, float(variances.max())))
    return found


def student(freedom: int) -> float:
    """Half the width of a 95 % interval in standard errors, with so many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def plain(explanation: Any) -> dict[str, Any]:
    """An explanation, indices or a comparison, as JSON; what is not finite is null."""
    from dataclasses import asdict

    return {"schema": 1, **_finite(asdict(explanation))}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
