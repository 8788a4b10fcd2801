"""Linear mixed models with crossed random effects: variance components by REML, tests and intervals for few groups.

A response is a sum of what the factors do (fixed), of what each block, machine, host or run adds (random, normal, one variance for
each kind), and of error. All that is needed of the rows are inner products, so that the work grows with the number of groups and
not with that of rows.

Components: restricted maximum likelihood (Patterson, Thompson, *Recovery of inter-block information when block sizes are unequal*,
Biometrika 58, 1971) by Fisher scoring (Harville, *Maximum likelihood approaches to variance component estimation*, Journal of the
American Statistical Association 72, 1977). Tests and intervals: Kenward, Roger, *Small sample inference for fixed effects from
restricted maximum likelihood*, Biometrics 53, 1997; in balanced designs they are those of the classical analysis of variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.model import Estimate, Matrix, Test, independent

MOST_GROUPS: Final = 4000
"""Groups of all kinds together, with more of which matrices would be too large."""
_ROUNDS, _SMALL = 200, 1e-10


@dataclass(frozen=True)
class MixedFit:
    """A fitted mixed model.

    Attributes
    ----------
    components
        Variance of each kind of random effect, 0 where nothing points to any; and ``error``, that of the rest.
    coefficients
        Of the columns of the fixed effects.
    covariance
        Of the coefficients, adjusted for the components being estimates (Kenward, Roger); ``plain`` is not adjusted.
    slopes
        How fast the precision of the coefficients falls with each component that is not 0, the error last: XᵀV⁻¹VᵢV⁻¹X.
    uncertainty
        Covariance of these components.
    """

    components: Mapping[str, float]
    error: float
    likelihood: float
    coefficients: Matrix
    covariance: Matrix
    plain: Matrix
    slopes: tuple[Matrix, ...]
    uncertainty: Matrix

    def estimate(self, weights: Matrix) -> Estimate:
        """A combination of coefficients, its standard error and degrees of freedom."""
        variance = float(weights @ self.covariance @ weights)
        moved = self.plain @ weights
        gradient = np.array([moved @ slope @ moved for slope in self.slopes])
        spread = float(gradient @ self.uncertainty @ gradient)
        freedom = 2 * float(weights @ moved) ** 2 / spread if spread > 0 else np.inf
        return Estimate(float(weights @ self.coefficients), max(0.0, variance) ** 0.5, max(1.0, freedom))

    def test(self, place: slice) -> Test:
        """That the coefficients there are all 0: Kenward and Roger's scaled F and its degrees of freedom."""
        size = place.stop - place.start
        beta, block = self.coefficients[place], self.plain[place, place]
        root = np.linalg.inv(np.linalg.cholesky(block)) @ self.plain[place]
        moved = [root @ slope @ root.T for slope in self.slopes]
        traces = np.array([np.trace(one) for one in moved])
        crossed = np.array([[np.sum(one * other) for other in moved] for one in moved])
        scale, freedom = _kenward_roger(size, float(traces @ self.uncertainty @ traces), float((self.uncertainty * crossed).sum()))
        f = scale / size * float(beta @ np.linalg.solve(self.covariance[place, place], beta))
        from scipy.stats import f as f_distribution

        return Test(f, float(f_distribution.sf(f, size, freedom)))


def _kenward_roger(size: int, a1: float, a2: float) -> tuple[float, float]:
    """Scale of F and its denominator's degrees of freedom, from the moments in section 3 of the paper."""
    if a2 <= 0:
        return 1.0, np.inf
    b = (a1 + 6 * a2) / (2 * size)
    g = ((size + 1) * a1 - (size + 4) * a2) / ((size + 2) * a2)
    below = 3 * size + 2 * (1 - g)
    c1, c2, c3 = g / below, (size - g) / below, (size + 2 - g) / below
    if a2 < size and c3 * b < 1 and c2 * b < 1:
        mean = 1 / (1 - a2 / size)
        variance = 2 / size * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
        ratio = size * variance / (2 * mean**2) - 1
        if ratio > 0:
            freedom = 4 + (size + 2) / ratio
            return freedom / (mean * (freedom - 2)), freedom
    # Too few groups for the moments to exist: what a single contrast would have.
    return 1.0, max(1.0, 2 * size / a2)


def fit_mixed(matrix: Matrix, y: Matrix, groups: Mapping[str, NDArray[np.int64]]) -> MixedFit:
    """Fit by restricted maximum likelihood.

    Parameters
    ----------
    matrix
        Columns of the fixed effects, independent, shape (rows, …).
    groups
        Of each kind of random effect, the number of each row's group, from 0.

    Raises
    ------
    RequestError
        If there are more groups than can be dealt with.
    """
    products = _Products.of(matrix, y, groups)
    variances = _scored(products)
    return _judged(products, variances, list(groups))


def separable(matrix: Matrix, groups: NDArray[np.int64]) -> bool:
    """Whether groups differ beyond what the fixed effects and error could account for: two at least at the same levels."""
    wider = independent(np.column_stack([matrix, np.eye(int(groups.max()) + 1)[groups]]))
    return bool(matrix.shape[1] < wider.shape[1] < len(groups))


@dataclass(frozen=True)
class _Products:
    """Inner products of all columns: groups', those of the fixed effects, and the response (scaled to variance 1)."""

    gram: Matrix
    kinds: tuple[slice, ...]
    fixed: slice
    rows: int
    scale: float

    @classmethod
    def of(cls, matrix: Matrix, y: Matrix, groups: Mapping[str, NDArray[np.int64]]) -> _Products:
        ends = np.cumsum([0, *(int(codes.max()) + 1 for codes in groups.values())])
        count = int(ends[-1])
        if count > MOST_GROUPS:
            raise RequestError(
                f"{count} groups are too many for a mixed model",
                where="--response",
                remedy="explain what is measured over all hosts",
            )
        scale, columns = float(y.std()) or 1.0, np.column_stack([matrix, y / (float(y.std()) or 1.0)])
        hit = np.zeros((len(y), count))
        for start, codes in zip(ends[:-1], groups.values(), strict=True):
            hit[np.arange(len(y)), start + codes] = 1.0
        whole = np.column_stack([hit, columns])
        kinds = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
        return cls(whole.T @ whole, kinds, slice(count, count + matrix.shape[1]), len(y), scale)

    def weighted(self, variances: Matrix) -> tuple[Matrix, float]:
        """WᵀV⁻¹W of all columns W, and log |V|; variances by kind, the error's last."""
        error = float(variances[-1])
        root = np.concatenate(
            [np.full(kind.stop - kind.start, value) for kind, value in zip(self.kinds, variances[:-1], strict=True)]
        )
        taken = np.flatnonzero(root)
        deviation = np.sqrt(root[taken])
        inner = np.eye(len(taken)) + deviation[:, None] * self.gram[np.ix_(taken, taken)] * deviation / error
        lower = np.linalg.cholesky(inner)
        reached = np.linalg.solve(lower, deviation[:, None] * self.gram[taken]) if len(taken) else np.empty((0, len(self.gram)))
        log = self.rows * np.log(error) + 2 * float(np.log(np.diag(lower)).sum())
        return np.asarray((self.gram - reached.T @ reached / error) / error), log


def _swept(weighted: Matrix, fixed: slice) -> tuple[Matrix, Matrix, float]:
    """WᵀPW, (XᵀV⁻¹X)⁻¹ and log |XᵀV⁻¹X|."""
    square = weighted[fixed, fixed]
    inverse = np.linalg.inv(square)
    inverse = (inverse + inverse.T) / 2
    return weighted - weighted[:, fixed] @ inverse @ weighted[fixed], inverse, float(np.linalg.slogdet(square)[1])


def _likelihood(products: _Products, variances: Matrix) -> float:
    weighted, log = products.weighted(variances)
    swept, _, log_fixed = _swept(weighted, products.fixed)
    return -0.5 * (log + log_fixed + float(swept[-1, -1]))


def _moments(products: _Products, variances: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Of each pair of components tr(PVᵢPVⱼ); of each, yᵀPVᵢPy and tr(PVᵢ).

    What concerns the error, whose Vᵢ is the unit matrix, follows from PVP = P.
    """
    swept, _, _ = _swept(products.weighted(variances)[0], products.fixed)
    kinds, error, values = products.kinds, float(variances[-1]), variances[:-1]
    squares = swept**2
    crossed = np.array([[squares[one, other].sum() for other in kinds] for one in kinds]).reshape(len(kinds), len(kinds))
    found = np.array([squares[kind, -1].sum() for kind in kinds])
    traces = np.array([np.trace(swept[kind, kind]) for kind in kinds])
    trace = (products.rows - (products.fixed.stop - products.fixed.start) - values @ traces) / error
    beside = (traces - crossed @ values) / error
    own = (trace - values @ beside) / error
    information = np.block([[crossed, beside[:, None]], [beside[None, :], np.array([[own]])]])
    rest = (float(swept[-1, -1]) - values @ found) / error
    return information, np.append(found, rest), np.append(traces, trace)


def _scored(products: _Products) -> Matrix:
    """The components, by Fisher scoring; one that would be negative is 0 until the likelihood would rise with it."""
    count = len(products.kinds) + 1
    variances = np.full(count, 1 / count)
    reached = _likelihood(products, variances)
    for _ in range(_ROUNDS):
        information, found, traces = _moments(products, variances)
        free = (variances > 0) | (found > traces * (1 + 1e-6))
        aim = np.zeros(count)
        aim[free] = np.linalg.lstsq(information[np.ix_(free, free)], found[free], rcond=None)[0]
        step = 1.0
        while True:
            tried = np.maximum(variances + step * (aim - variances), 0.0)
            tried[:-1][tried[:-1] < _SMALL] = 0.0
            tried[-1] = max(tried[-1], _SMALL)
            value = _likelihood(products, tried)
            if value >= reached - 1e-10 or step < 1e-6:
                break
            step /= 2
        moved = float(np.abs(tried - variances).max())
        if value < reached:
            break
        variances, reached = tried, value
        if moved < 1e-9:
            break
    return variances


def _judged(products: _Products, variances: Matrix, names: Sequence[str]) -> MixedFit:
    """Coefficients with Kenward and Roger's covariance, from the components that are not 0; in the response's own scale."""
    weighted, _ = products.weighted(variances)
    _, plain, _ = _swept(weighted, products.fixed)
    information = _moments(products, variances)[0]
    taken = list(range(len(variances) - 1))
    places = [*taken, len(variances) - 1]
    uncertainty = 2 * np.linalg.pinv(information[np.ix_(places, places)])
    slopes, crossed = _derivatives(products, variances, taken, weighted)
    inner = np.zeros_like(plain)
    for i, one in enumerate(slopes):
        for j, other in enumerate(slopes):
            inner += uncertainty[i, j] * (crossed[i][j] - one @ plain @ other)
    adjusted = plain + 2 * plain @ inner @ plain
    squared = products.scale**2
    return MixedFit(
        components={name: float(value) * squared for name, value in zip(names, variances[:-1], strict=True)},
        error=float(variances[-1]) * squared,
        likelihood=_likelihood(products, variances),
        coefficients=plain @ weighted[products.fixed, -1] * products.scale,
        covariance=(adjusted + adjusted.T) / 2 * squared,
        plain=plain * squared,
        slopes=tuple(one / squared**2 for one in slopes),
        uncertainty=np.asarray(uncertainty * squared**2),
    )


def _derivatives(
    products: _Products, variances: Matrix, taken: Sequence[int], weighted: Matrix
) -> tuple[list[Matrix], list[list[Matrix]]]:
    """XᵀV⁻¹VᵢV⁻¹X and XᵀV⁻¹VᵢV⁻¹VⱼV⁻¹X, the error last; what concerns it follows from V⁻¹VV⁻¹ = V⁻¹."""
    error, fixed = float(variances[-1]), products.fixed
    kinds = [products.kinds[place] for place in taken]
    values = [float(variances[place]) for place in taken]
    sides = [weighted[fixed, kind] for kind in kinds]
    slopes = [side @ side.T for side in sides]
    crossed = [
        [a @ weighted[one, other] @ b.T for other, b in zip(kinds, sides, strict=True)] for one, a in zip(kinds, sides, strict=True)
    ]
    zero = np.zeros((fixed.stop - fixed.start,) * 2)
    last = (weighted[fixed, fixed] - sum((v * s for v, s in zip(values, slopes, strict=True)), zero)) / error
    beside = [
        (slope - sum((v * row[j] for v, row in zip(values, crossed, strict=True)), zero)) / error for j, slope in enumerate(slopes)
    ]
    own = (last - sum((v * b.T for v, b in zip(values, beside, strict=True)), zero)) / error
    rows = [[*row, b.T] for row, b in zip(crossed, beside, strict=True)]
    return [*slopes, last], [*rows, [*beside, own]]
