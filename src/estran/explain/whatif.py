"""What a response would be at levels that one asks for: from the fitted model, with intervals; and what lies outside is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estran.errors import RequestError
from estran.explain.linear import Fitted, fitted, student
from estran.explain.model import Matrix, curve
from estran.explain.modelled import CURVED
from estran.explain.table import Table
from estran.study.factors import Factor
from estran.study.rows import level

Interval = tuple[float, float]


@dataclass(frozen=True)
class Prediction:
    """One response at a setting.

    Attributes
    ----------
    setting
        The levels that were asked for; all other factors are averaged over their levels.
    between
        Factors whose level was not measured: what lies between its neighbours is taken from a curve through them.
    mean, mean_ci95
        Of the response over runs there, with the seeds of the study.
    run_pi95
        Where a single further run would lie, 19 times of 20: chance, another seed, and the levels of factors that were not set.
    change, change_ci95
        From the first level of each factor that was set.
    first
        Those levels.
    """

    response: str
    unit: str
    setting: Mapping[str, str]
    between: tuple[str, ...]
    mean: float
    mean_ci95: Interval
    run_pi95: Interval
    first: Mapping[str, str]
    change: float
    change_ci95: Interval


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Read ``factor=level``, one a factor.

    Raises
    ------
    RequestError
        If one is written otherwise, or a factor comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise RequestError(f"{text!r} sets no factor", where="--what-if", remedy="write factor=level, as placement=edge")
        if name in found:
            raise RequestError(f"{name} is set twice", where="--what-if", remedy="give it one level")
        found[name] = value
    return found


def predict(table: Table, response: str, setting: Mapping[str, str]) -> Prediction:
    """Predict a response where factors have the levels that are given.

    The mean is that of the model that `estran.explain.effects.explain` fits. The interval of a run has, beside the variance of the
    mean, that of the residuals, that between blocks, and that between the levels of factors that were not set (Montgomery, *Design
    and analysis of experiments*, 8th edition, 2013, section 10.6).

    Raises
    ------
    RequestError
        If there is no such factor or level, the level lies outside what was measured, or the response cannot be explained.
    """
    found = fitted(table, response)
    codings = {name: coding_of(table, found, name, text) for name, text in setting.items()}
    firsts = {name: found.codings[name][0] for name in setting}
    there = row(found, codings)
    covariance = found.fit.covariance(robust=found.diagnosis.unequal is not None)
    quantile = student(found.fit.freedom)
    mean, variance = _estimate(there, found, covariance)
    change, changed = _estimate(there - row(found, firsts), found, covariance)
    spread = variance + _residual(found, setting, table) + _between_blocks(found) + _between_others(found, codings)
    half, run, apart = (quantile * math.sqrt(max(0.0, part)) for part in (variance, spread, changed))
    return Prediction(
        response=response,
        unit=table.units.get(response, ""),
        setting=dict(setting),
        between=tuple(name for name, text in setting.items() if text not in table.levels[name]),
        mean=mean,
        mean_ci95=_possible(mean - half, mean + half, found.y, table.units.get(response, "")),
        run_pi95=_possible(mean - run, mean + run, found.y, table.units.get(response, "")),
        first={name: table.levels[name][found.kept[name][0]] for name in setting},
        change=change,
        change_ci95=(change - apart, change + apart),
    )


def coding_of(table: Table, found: Fitted, name: str, text: str) -> Matrix:
    """What a level has in the columns of its factor; between measured levels, by a curve through the nearest of them.

    A factor that is fitted by a parabola is read off it. Of others, the up to three nearest levels are joined by the polynomial
    through them (Lagrange): a straight line between two levels, a parabola through three.

    Raises
    ------
    RequestError
        If there is no such factor, or no such level and none can be between.
    """
    if name not in table.levels:
        known = ", ".join(table.levels)
        raise RequestError(f"there is no factor {name!r}", where="--what-if", remedy=f"factors of the study are {known}")
    if name not in found.codings:
        raise RequestError(f"only one level of {name} was measured", where="--what-if", remedy="measure another level of it")
    if name not in {term.name for term in found.model.terms}:
        twins = ", ".join(found.model.aliased.get(name, ()))
        raise RequestError(f"{name} cannot be told from {twins}", where="--what-if", remedy="add runs that tell them apart")
    names = [table.levels[name][number] for number in found.kept[name]]
    if text in names:
        return np.asarray(found.codings[name][names.index(text)])
    factor = next(factor for factor in table.folder.factors() if factor.name == name)
    if factor.span is None:
        raise RequestError(f"no run had {name}={text}", where="--what-if", remedy=f"levels are {', '.join(names)}")
    places, wanted = np.array([_place(factor, level(one)) for one in names]), _place(factor, level(text))
    if not places.min() - 1e-12 <= wanted <= places.max() + 1e-12:
        ends = f"{names[int(places.argmin())]} and {names[int(places.argmax())]}"
        what = f"{name}={text} lies outside what was measured, and what happens there is not known"
        raise RequestError(what, where="--what-if", remedy=f"ask between {ends}, or run the study at that level")
    if len(names) > CURVED:
        return np.asarray(curve(np.array([wanted]))[0])
    nearest = np.argsort(np.abs(places - wanted), kind="stable")[:3]
    weights = np.array([_lagrange(places[nearest], k, wanted) for k in range(len(nearest))])
    return np.asarray(weights @ found.codings[name][nearest])


def row(found: Fitted, codings: Mapping[str, Matrix]) -> Matrix:
    """The model's columns at a setting: blocks and all factors that are not set averaged over, which makes their columns 0."""
    parts = [np.eye(1, found.model.base.shape[1])[0]]
    for term in found.model.terms:
        columns = np.ones(1)
        for name in term.factors:
            columns = np.outer(columns, codings.get(name, np.zeros(found.codings[name].shape[1]))).ravel()
        parts.append(columns)
    return np.concatenate(parts)


def _place(factor: Factor, value: Any) -> float:
    try:
        return factor.place(value)
    except (RequestError, TypeError, ValueError) as error:
        shown = ", ".join(map(str, factor.levels))
        raise RequestError(
            f"{value!r} is no level of {factor.name}", where="--what-if", remedy=f"write it as {shown} are written"
        ) from error


def _lagrange(places: Matrix, k: int, at: float) -> float:
    others = np.delete(places, k)
    return float(np.prod((at - others) / (places[k] - others)))


def _estimate(weights: Matrix, found: Fitted, covariance: Matrix) -> tuple[float, float]:
    return float(weights @ found.fit.coefficients), float(weights @ covariance @ weights)


def _residual(found: Fitted, setting: Mapping[str, str], table: Table) -> float:
    """Variance of a run about its mean; where spread differs between the levels of a factor that is set, that at its level."""
    name = found.diagnosis.unequal
    if name is None or name not in setting or setting[name] not in table.levels[name]:
        return found.fit.variance
    here = table.codes[name][found.rows] == table.levels[name].index(setting[name])
    free = float((1 - found.fit.leverage[here]).sum())
    return float((found.fit.residuals[here] ** 2).sum()) / free if free > 0.5 else found.fit.variance


def _between_blocks(found: Fitted) -> float:
    """Variance that another seed adds: of the block effects, less what chance alone gives them."""
    contrasts = found.model.base.shape[1] - 1
    if not contrasts:
        return 0.0
    first = found.fit.coefficients[1 : contrasts + 1]
    effects = np.append(first, -first.sum())
    blocks = len(effects)
    chance = found.fit.variance * blocks / len(found.fit.residuals)
    return max(0.0, float(effects.var(ddof=1)) - chance) * (1 + 1 / blocks)


def _between_others(found: Fitted, codings: Mapping[str, Matrix]) -> float:
    """Variance of the mean over the points of the design, with the levels that were asked for in place of theirs."""
    if set(found.codings) <= set(codings):
        return 0.0
    names = list(found.codes)
    points = np.unique(np.column_stack([found.codes[name] for name in names]), axis=0)
    theirs = [{name: found.codings[name][code] for name, code in zip(names, point, strict=True)} for point in points]
    means = [float(row(found, {**one, **codings}) @ found.fit.coefficients) for one in theirs]
    return float(np.var(means))


def _possible(low: float, high: float, measured: Matrix, unit: str) -> Interval:
    """An interval cut to what can be: what was never negative ends at 0, and fractions end at 1 too."""
    least = 0.0 if measured.min() >= 0 else -math.inf
    return max(least, low), max(least, min(1.0, high) if unit == "fraction" else high)
