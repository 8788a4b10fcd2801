"""Effects of factors on one response: shares of variance, tests, and differences between levels in the response's own unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.explain.diagnostics import Diagnosis
from estran.explain.explanation import Effect, Explanation, Level
from estran.explain.mixed import MixedFit, fit_mixed
from estran.explain.model import Estimate, Fit, Matrix, Model, Term, fit
from estran.explain.modelled import CURVED, counting_runs, groups_of, modelled, scales_of
from estran.explain.sample import sample
from estran.explain.shape import Kind, Scale, described
from estran.explain.table import Table
from estran.explain.transform import back, forward, power_of
from estran.observe.intervals import possible

PERMUTATIONS: Final = 1999


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
    taken = sample(table, response)
    groups = groups_of(table, taken)
    power, (model, codes, kinds, fitted, diagnosis) = 1.0, modelled(table, taken, taken.y, response, groups)
    if (diagnosis.unequal is not None or not diagnosis.normal) and table.units.get(response) != "fraction":
        tried = power_of(fitted.matrix, taken.y)
        other = modelled(table, taken, forward(taken.y, tried), response, groups)
        if tried != 1 and other[-1].unequal is None and other[-1].normal:
            power, (model, codes, kinds, fitted, diagnosis) = tried, other
    y = forward(taken.y, power)
    groups = {name: code for name, code in groups.items() if name not in model.aliased}
    names = {name: [table.levels[name][code] for code in np.unique(table.codes[name][taken.rows])] for name in codes}
    unit = table.units.get(response, table.units.get(response.replace("*", "0"), ""))
    scope = _Scope(model, names, power, unit)
    runs = len(np.unique(taken.rows))
    common: dict[str, Any] = {
        "response": response,
        "unit": unit,
        "runs": runs,
        "missing": table.runs - runs,
        "mean": float(taken.y.mean()),
        "aliased": model.aliased,
        "unfitted": model.unfitted,
        "diagnosis": diagnosis,
        "power": power,
        "counting": counting_runs(table, np.unique(taken.rows)),
    }
    found = (
        _by_mixed(scope, y, codes, groups) if groups else _by_squares(scope, y, table.blocks[taken.rows], fitted, diagnosis, rng)
    )
    effects = _shaped(found.pop("effects"), scope, y, codes, kinds, scales_of(table, taken), found.pop("judge"))
    kept = {
        name: int(code.max()) + 1
        for name, code in groups.items()
        if name in ("hosts", "machines", "blocks") and name not in model.aliased
    }
    return Explanation(**common, **found, groups=kept, effects=tuple(sorted(effects, key=lambda effect: -effect.omega)))


@dataclass(frozen=True)
class _Scope:
    """What levels are told by."""

    model: Model
    names: Mapping[str, list[str]]
    power: float
    unit: str


def _by_squares(
    scope: _Scope, y: Matrix, blocks: NDArray[np.int64], fitted: Fit, diagnosis: Diagnosis, rng: np.random.Generator
) -> dict[str, Any]:
    """Effects by least squares, with blocks as fixed effects."""
    model = scope.model
    robust, permuted = diagnosis.unequal is not None, diagnosis.unequal is not None or not diagnosis.normal
    total = float(((y - y.mean()) ** 2).sum())
    orders = _orders(blocks, rng) if permuted else None
    tests = [_tested(model, term, y, fitted, orders) for term in model.terms]
    adjusted = _holm([p for _, _, p in tests])
    judge = _Squares(fitted, fitted.covariance(robust=robust))
    effects = [_effect(scope, term, test, p, total, judge) for term, test, p in zip(model.terms, tests, adjusted, strict=True)]
    return {
        "effects": effects,
        "judge": judge,
        "blocks": (total - fit(model.base, y).error) / total,
        "residual": fitted.error / total,
        "freedom": fitted.freedom,
        "robust": robust,
        "permuted": permuted,
        "detectable": _detectable(scope, judge),
    }


def _by_mixed(
    scope: _Scope, y: Matrix, codes: Mapping[str, NDArray[np.int64]], groups: Mapping[str, NDArray[np.int64]]
) -> dict[str, Any]:
    """Effects by a mixed model. Shares are of the sum of all variances: those of what terms add to the rows, and the components."""
    model = scope.model
    kinds = dict(groups)
    if "hosts" in groups:
        for term in model.terms:
            if len(term.factors) == 1 and len(term.contrasts) <= CURVED:
                code = codes[term.name]
                kinds[f"hosts × {term.name}"] = groups["hosts"] * (int(code.max()) + 1) + code
    matrix = model.matrix()
    judge = fit_mixed(matrix, y, kinds)
    added = {term.name: float((term.columns @ judge.coefficients[model.place(term)]).var()) for term in model.terms}
    total = float((matrix @ judge.coefficients).var()) + sum(judge.components.values()) + judge.error
    tests = [judge.test(model.place(term)) for term in model.terms]
    effects = []
    for term, test, p in zip(model.terms, tests, _holm([test.p for test in tests]), strict=True):
        place, share = model.place(term), added[term.name] / total
        noise = float(
            np.trace(np.cov(term.columns.T, bias=True).reshape((term.columns.shape[1],) * 2) @ judge.covariance[place, place])
        )
        omega = max(0.0, added[term.name] - noise) / total
        cohen = math.sqrt(added[term.name] / judge.error) if judge.error > 0 else math.inf
        levels = _levels(scope, term, judge) if len(term.factors) == 1 else ()
        effects.append(Effect(term.name, term.columns.shape[1], share, omega, cohen, test.f, test.p, p, levels))
    return {
        "effects": effects,
        "judge": judge,
        "blocks": judge.components.get("blocks", 0.0) / total,
        "residual": judge.error / total,
        "freedom": len(y) - matrix.shape[1],
        "robust": False,
        "permuted": False,
        "detectable": _detectable(scope, judge),
        "random": {name: value / total for name, value in judge.components.items() if name != "blocks"},
    }


@dataclass(frozen=True)
class _Squares:
    """Estimates of a least-squares fit."""

    fitted: Fit
    covariance: Matrix

    @property
    def coefficients(self) -> Matrix:
        """Of all columns."""
        return self.fitted.coefficients

    def estimate(self, weights: Matrix) -> Estimate:
        """A combination of coefficients."""
        variance = max(0.0, float(weights @ self.covariance @ weights))
        return Estimate(float(weights @ self.fitted.coefficients), math.sqrt(variance), self.fitted.freedom)


_Judge = _Squares | MixedFit


def _shaped(
    effects: list[Effect],
    scope: _Scope,
    y: Matrix,
    codes: Mapping[str, NDArray[np.int64]],
    kinds: Mapping[str, Kind],
    scales: Mapping[str, Scale],
    judge: _Judge,
) -> list[Effect]:
    """Main effects of numeric factors with their shape."""
    found = []
    for effect in effects:
        if effect.levels and effect.term in scales:
            term = next(term for term in scope.model.terms if term.name == effect.term)
            means = (judge.coefficients[0] + term.contrasts @ judge.coefficients[scope.model.place(term)]).tolist()
            others = scope.model.matrix(without=effect.term)
            shape = described(y, codes[effect.term], others, scales[effect.term], means, kinds.get(effect.term))
            effect = replace(effect, shape=shape)
        found.append(effect)
    return found


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


def _effect(scope: _Scope, term: Term, test: tuple[float, float, float], p_holm: float, total: float, judge: _Squares) -> Effect:
    squares, f, p = test
    df, variance, error = term.columns.shape[1], judge.fitted.variance, judge.fitted.error
    return Effect(
        term=term.name,
        df=df,
        share=squares / total,
        omega=max(0.0, (squares - df * variance) / (total + variance)),
        cohen=math.sqrt(squares / error) if error > 0 else math.inf,
        f=f,
        p=p,
        p_holm=p_holm,
        levels=_levels(scope, term, judge) if len(term.factors) == 1 else (),
    )


def _levels(scope: _Scope, term: Term, judge: _Judge) -> tuple[Level, ...]:
    found, power = [], scope.power
    first = _weights(scope.model, term, term.contrasts[0], intercept=1.0, judge=judge)
    base, base_slope = back(judge.estimate(first).value, power)
    for name, contrast in zip(scope.names[term.factors[0]], term.contrasts, strict=True):
        weights = _weights(scope.model, term, contrast, intercept=1.0, judge=judge)
        mean = judge.estimate(weights)
        ends = mean.interval()
        if power == 1:
            apart = judge.estimate(weights - first)
            found.append(Level(name, mean.value, possible(ends, mean.value, scope.unit), apart.value, apart.interval()))
            continue
        here, slope = back(mean.value, power)
        ends = (back(ends[0], power)[0], back(ends[1], power)[0])
        # Differences and ratios of what is transformed back have the spread that their slopes give them (delta method).
        apart = replace(judge.estimate(slope * weights - base_slope * first), value=here - base)
        ratio = judge.estimate(slope / here * weights - base_slope / base * first)
        low, high = replace(ratio, value=math.log(here / base)).interval()
        found.append(Level(name, here, ends, here - base, apart.interval(), here / base, (math.exp(low), math.exp(high))))
    return tuple(found)


def _weights(model: Model, term: Term, contrast: Matrix, *, intercept: float, judge: _Judge) -> Matrix:
    weights = np.zeros(len(judge.coefficients))
    weights[0], weights[model.place(term)] = intercept, contrast
    return weights


def _detectable(scope: _Scope, judge: _Judge) -> dict[str, float]:
    """Two-sided test at 5 %, power 80 %: (t₀.₉₇₅ + t₀.₈) standard errors of the least certain difference from the first level."""
    from scipy.stats import t

    found, power = {}, scope.power
    for term in scope.model.terms:
        if len(term.factors) == 1:
            apart = [_weights(scope.model, term, row - term.contrasts[0], intercept=0.0, judge=judge) for row in term.contrasts[1:]]
            worst = max((judge.estimate(weights) for weights in apart), key=lambda one: one.error)
            least = float(t.ppf(0.975, worst.freedom) + t.ppf(0.8, worst.freedom)) * worst.error
            if power != 1:
                middle, slope = back(float(judge.coefficients[0]), power)
                least = math.expm1(min(700.0, slope / middle * least))
            found[term.name] = least
    return found
