"""How a response follows a numeric factor: along a straight line, a logarithm, a parabola or a smooth curve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.explain.model import Fit, Matrix, build, contrasts, fit

Kind = Literal["straight", "logarithmic", "parabola", "spline", "levels"]

WIDE: Final = 5.0
"""Ratio of the greatest to the least level from which on a logarithm is tried."""
FLAT: Final = 0.08
"""Share of the whole change below which a third of the range is called flat."""
_DOUBTFUL: Final = 0.25
"""A curve that replicates speak against as clearly as this makes room for a mean at each level: intervals must be wide enough."""
_ALPHA: Final = 0.05
_ENOUGH: Final = 0.99
"""Share of what differs between levels' means that a line must explain to be told although it is not quite true."""


@dataclass(frozen=True)
class Shape:
    """How the mean follows a numeric factor.

    Attributes
    ----------
    kind
        ``levels`` where no line describes the levels' means and each has its own.
    slope
        Of ``straight``: change of the (transformed) response for each unit of the factor; of ``logarithmic``: for each factor of
        10; of others None.
    unit
        Of the factor's levels; ``step`` is a power of ten within their range to tell the slope by.
    trend
        What the mean does from the least to the greatest level: ``rises``, ``falls`` and ``stays flat``.
    lack_of_fit
        p-value of the test that the curve describes the levels' means, against the spread of replicates; None without any.
    """

    kind: Kind
    slope: float | None
    unit: str
    step: float
    trend: tuple[str, ...]
    lack_of_fit: float | None


@dataclass(frozen=True)
class Scale:
    """The levels of a numeric factor as numbers, in the order of their codes."""

    numbers: Matrix
    unit: str

    @property
    def places(self) -> Matrix:
        """In the unit interval."""
        return np.asarray((self.numbers - self.numbers.min()) / np.ptp(self.numbers))

    @property
    def wide(self) -> bool:
        """Whether a logarithm makes sense and a difference."""
        return bool(self.numbers.min() > 0 and self.numbers.max() >= WIDE * self.numbers.min())

    @property
    def step(self) -> float:
        """The largest power of ten within the range."""
        return float(10.0 ** math.floor(math.log10(float(np.ptp(self.numbers))) + 1e-9))

    def candidates(self) -> Iterator[tuple[Kind, Matrix]]:
        """Codings of the levels, from few terms to many, each column with mean 0 over the levels and the first one monotone."""
        line = self.places
        yield "straight", _centred(line)
        if self.wide:
            yield "logarithmic", _centred(np.log(self.numbers))
        yield "parabola", _centred(line, (2 * line - 1) ** 2)
        for knots, least in ((4, 8), (5, 11), (7, 14)):
            if len(line) >= least:
                yield "spline", _centred(natural_spline(line, knots))
        yield "levels", contrasts(len(line))


def _centred(*columns: Matrix) -> Matrix:
    matrix = np.column_stack(columns)
    return np.asarray((matrix - matrix.mean(axis=0)) / np.abs(matrix - matrix.mean(axis=0)).max(axis=0))


def natural_spline(places: Matrix, knots: int) -> Matrix:
    """Basis of natural cubic splines with knots at quantiles, shape (places, knots − 1), the straight line first.

    Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, 2nd edition, 2009, equations 5.4 and 5.5.
    """
    at = np.quantile(np.unique(places), np.linspace(0, 1, knots))

    def bend(k: int) -> Matrix:
        ends = [np.maximum(places - at[place], 0.0) ** 3 for place in (k, knots - 1)]
        return np.asarray((ends[0] - ends[1]) / (at[-1] - at[k]))

    return np.column_stack([places, *(bend(k) - bend(knots - 2) for k in range(knots - 2))])


def chosen(
    y: Matrix,
    codes: Mapping[str, NDArray[np.int64]],
    blocks: NDArray[np.int64],
    codings: Mapping[str, Matrix],
    scales: Mapping[str, Scale],
) -> dict[str, tuple[Kind, Matrix]]:
    """For each of the factors with a scale the coding with the least AICc, beside main effects; a mean for each level if none fits.

    AICc: Hurvich, Tsai, *Regression and time series model selection in small samples*, Biometrika 76, 1989.
    """
    found: dict[str, tuple[Kind, Matrix]] = {name: ("parabola", codings[name]) for name in scales}
    for _ in range(2 if len(scales) > 1 else 1):
        for name, scale in scales.items():
            others = {other: found[other][1] if other in found else coding for other, coding in codings.items()}
            tried = []
            for kind, coding in scale.candidates():
                if kind == "levels" and coding.shape[1] > len(y) / 3:
                    continue
                model = build(codes, blocks, others | {name: coding}, least=len(y))
                fitted = fit(model.matrix(), y)
                tried.append((_criterion(fitted), coding.shape[1], kind, coding))
            best = min(tried, key=lambda one: one[:2])
            rest = build({other: code for other, code in codes.items() if other != name}, blocks, others, least=len(y)).matrix()
            lack = _lack(y, codes[name], rest, best[3])
            if lack is not None and lack < _DOUBTFUL:
                best = next((one for one in tried if one[2] == "levels"), best)
            found[name] = best[2], best[3]
    return found


def _criterion(fitted: Fit) -> float:
    rows, terms = len(fitted.residuals), fitted.matrix.shape[1] + 1
    if rows - terms < 2:
        return float("inf")
    penalty: float = 2 * terms * rows / (rows - terms - 1)
    return rows * math.log(max(fitted.error, 1e-300) / rows) + penalty


def described(
    y: Matrix, code: NDArray[np.int64], matrix: Matrix, scale: Scale, means: Sequence[float], given: Kind | None
) -> Shape:
    """Say what the means at a factor's levels do.

    Parameters
    ----------
    matrix
        Columns of all else that is in the model, shape (rows, …).
    means
        At each level, on the scale that the model is fitted on.
    given
        The curve that was fitted; None where each level has its own mean: then a line is looked for that does as well.
    """
    values = np.asarray(means)
    candidates = dict(scale.candidates())
    kind: Kind
    if given is None:
        tried = {one: _lack(y, code, matrix, coding) for one, coding in candidates.items() if coding.shape[1] == 1}
        near = {one: _explained(scale, values, one) >= _ENOUGH for one in tried}
        fitting = {one: p for one, p in tried.items() if p is not None and (p >= _ALPHA or near[one])}
        kind = max(fitting, key=lambda one: fitting[one]) if fitting else "levels"
        lack = fitting.get(kind)
    else:
        kind, lack = given, _lack(y, code, matrix, candidates[given])
    return Shape(kind, _slope(kind, scale, values), scale.unit, scale.step, _trend(scale, values, kind), lack)


def _lack(y: Matrix, code: NDArray[np.int64], matrix: Matrix, coding: Matrix) -> float | None:
    """p-value of the F test of a mean for each level against a curve through them; None where levels have no replicates."""
    from scipy.stats import f

    levels = np.eye(int(code.max()) + 1)[code]
    curve, free = (_left(np.column_stack([matrix, columns]), y) for columns in (coding[code], levels))
    bends = curve[1] - free[1]
    if bends < 1 or free[1] < 2 or free[0] <= 1e-12 * float(y @ y):
        return None
    return float(f.sf((curve[0] - free[0]) / bends / (free[0] / free[1]), bends, free[1]))


def _left(matrix: Matrix, y: Matrix) -> tuple[float, int]:
    coefficients, _, rank, _ = np.linalg.lstsq(matrix, y, rcond=1e-10)
    residuals = y - matrix @ coefficients
    return float(residuals @ residuals), len(y) - int(rank)


def _slope(kind: Kind | None, scale: Scale, means: Matrix) -> float | None:
    if kind not in ("straight", "logarithmic"):
        return None
    along = scale.numbers if kind == "straight" else np.log10(scale.numbers)
    return float(np.polyfit(along, means, 1)[0])


def _explained(scale: Scale, means: Matrix, kind: Kind) -> float:
    """Share of what differs between levels' means that a line explains."""
    along = scale.numbers if kind == "straight" else np.log(scale.numbers)
    return float(np.corrcoef(along, means)[0, 1] ** 2) if np.ptp(means) > 0 else 0.0


def _trend(scale: Scale, means: Matrix, kind: Kind) -> tuple[str, ...]:
    """What the mean does in each third of the range (between levels, where there are few), like neighbours joined."""
    order = np.argsort(scale.numbers)
    along = np.log(scale.numbers[order]) if kind == "logarithmic" else scale.numbers[order]
    ends = along if len(along) <= 4 else np.linspace(along[0], along[-1], 4)
    at, whole = np.interp(ends, along, means[order]), float(np.ptp(means))
    words = ["stays flat" if abs(change) <= FLAT * whole else "rises" if change > 0 else "falls" for change in np.diff(at).tolist()]
    return tuple(word for place, word in enumerate(words) if place == 0 or words[place - 1] != word)
