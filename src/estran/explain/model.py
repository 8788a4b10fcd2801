"""The linear model of a factorial study: which terms its runs can tell apart, and how much of a response each explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_TINY = 1e-9


@dataclass(frozen=True)
class Term:
    """A main effect (one factor) or an interaction (two).

    Attributes
    ----------
    columns
        Shape (rows, df).
    contrasts
        Of a main effect: what each of its levels has in these columns, shape (levels, df); of an interaction nothing.
    """

    factors: tuple[str, ...]
    columns: Matrix
    contrasts: Matrix

    @property
    def name(self) -> str:
        """``placement``, ``placement × delay``."""
        return " × ".join(self.factors)


@dataclass(frozen=True)
class Model:
    """What can be estimated from the rows at hand.

    Attributes
    ----------
    base
        Columns of the mean and of the blocks, shape (rows, …).
    terms
        Estimable terms; main effects first.
    aliased
        Terms that the design cannot tell from others, with the names of these.
    unfitted
        Interactions that were left out because too few runs would have been left to judge by.
    """

    base: Matrix
    terms: tuple[Term, ...]
    aliased: Mapping[str, tuple[str, ...]]
    unfitted: tuple[str, ...]

    def place(self, term: Term) -> slice:
        """Where a term's coefficients stand."""
        start = self.base.shape[1]
        for other in self.terms:
            if other.name == term.name:
                break
            start += other.columns.shape[1]
        return slice(start, start + term.columns.shape[1])

    def matrix(self, *, without: str | None = None) -> Matrix:
        """All columns, shape (rows, …), but for those of one term."""
        return np.column_stack([self.base, *(term.columns for term in self.terms if term.name != without)])


def contrasts(levels: int) -> Matrix:
    """Sum-to-zero coding of so many levels, shape (levels, levels − 1): the last one is −1 everywhere."""
    return np.vstack([np.eye(levels - 1), -np.ones(levels - 1)])


def curve(places: Matrix) -> Matrix:
    """Coding of numeric levels by a parabola, shape (levels, 2), from their places in the unit interval."""
    centred = 2 * np.asarray(places, dtype=np.float64) - 1
    return np.column_stack([centred, centred**2 - 1 / 3])


def build(
    codes: Mapping[str, NDArray[np.int64]], blocks: NDArray[np.int64], codings: Mapping[str, Matrix], least: int = 3
) -> Model:
    """Find what a design can tell.

    Interactions of two factors are fitted if that leaves at least ``least`` degrees of freedom to judge by. A term that lies in
    the span of those before it is aliased: a main effect with main effects, an interaction with either.

    Parameters
    ----------
    codes
        Level of each factor in each row that counts.
    blocks
        Of each of these rows.
    codings
        Of each factor, what each of its levels has in its columns (`contrasts` or `curve`).
    """
    rows = len(blocks)
    numbers = np.unique(blocks, return_inverse=True)[1]
    base = np.column_stack([np.ones(rows), contrasts(int(numbers.max()) + 1)[numbers]]) if numbers.max() else np.ones((rows, 1))
    mains = [Term((name,), codings[name][code], codings[name]) for name, code in codes.items()]
    kept: list[Term] = []
    aliased: dict[str, tuple[str, ...]] = {}
    matrix = base
    for term in mains:
        matrix = _add(term, matrix, kept, aliased)
    unfitted = []
    for one, other in combinations([term for term in mains if term in kept], 2):
        columns = np.einsum("ri,rj->rij", one.columns, other.columns).reshape(rows, -1)
        term = Term((*one.factors, *other.factors), columns, np.empty((0, columns.shape[1])))
        if rows - _rank(matrix) - columns.shape[1] < least:
            unfitted.append(term.name)
        else:
            matrix = _add(term, matrix, kept, aliased)
    return Model(base, tuple(kept), aliased, tuple(unfitted))


def _add(term: Term, matrix: Matrix, kept: list[Term], aliased: dict[str, tuple[str, ...]]) -> Matrix:
    """Take a term in if all its columns are new; else note with which terms it is confounded."""
    wider = np.column_stack([matrix, term.columns])
    if _rank(wider) == _rank(matrix) + term.columns.shape[1]:
        kept.append(term)
        return wider
    twins = tuple(other.name for other in kept if _overlap(other.columns, term.columns))
    aliased[term.name] = twins or ("the blocks",)
    return matrix


def _overlap(one: Matrix, other: Matrix) -> bool:
    """Whether the spans of two sets of columns, beside the mean, are not at right angles."""
    mean_free = [columns - columns.mean(axis=0) for columns in (one, other)]
    return bool(np.abs(mean_free[0].T @ mean_free[1]).max(initial=0.0) > _TINY * len(one))


def _rank(matrix: Matrix) -> int:
    return int(np.linalg.matrix_rank(matrix))


def independent(matrix: Matrix) -> Matrix:
    """The columns that are no combination of those before them."""
    kept: list[Matrix] = []
    basis = np.empty((len(matrix), 0))
    for column in matrix.T:
        left = column - basis @ (basis.T @ column)
        left -= basis @ (basis.T @ left)
        size = float(np.linalg.norm(left))
        if size > 1e-8 * max(1e-300, float(np.linalg.norm(column))):
            basis = np.column_stack([basis, left / size])
            kept.append(column)
    return np.column_stack(kept) if kept else matrix[:, :0]


@dataclass(frozen=True)
class Estimate:
    """A combination of coefficients, with its standard error and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Student's interval."""
        from scipy.stats import t

        half = float(t.ppf((1 + confidence) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Test:
    """An F statistic and its p-value."""

    f: float
    p: float


@dataclass(frozen=True)
class Fit:
    """A least-squares fit.

    Attributes
    ----------
    residuals
        Shape (rows,).
    freedom
        Residual degrees of freedom.
    inverse
        (XᵀX)⁻¹, and ``leverage`` the diagonal of X(XᵀX)⁻¹Xᵀ.
    """

    coefficients: Matrix
    residuals: Matrix
    freedom: int
    inverse: Matrix
    leverage: Matrix
    matrix: Matrix

    @property
    def error(self) -> float:
        """Residual sum of squares."""
        return float(self.residuals @ self.residuals)

    @property
    def variance(self) -> float:
        """Of the residuals, per degree of freedom."""
        return self.error / self.freedom if self.freedom else float("nan")

    def covariance(self, *, robust: bool) -> Matrix:
        """Of the coefficients; ``robust`` allows for variances that differ between rows.

        HC3 of MacKinnon and White, *Some heteroskedasticity-consistent covariance matrix estimators with improved finite sample
        properties*, Journal of Econometrics 29, 1985.
        """
        if not robust:
            return np.asarray(self.variance * self.inverse)
        weights = (self.residuals / np.maximum(1 - self.leverage, 1e-6)) ** 2
        return np.asarray(self.inverse @ (self.matrix.T * weights) @ self.matrix @ self.inverse)


def fit(matrix: Matrix, y: Matrix) -> Fit:
    """Fit a response by least squares; the columns must be independent."""
    q, r = np.linalg.qr(matrix)
    coefficients = np.linalg.solve(r, q.T @ y)
    inverse_root = np.linalg.inv(r)
    residuals = y - matrix @ coefficients
    return Fit(
        coefficients, residuals, len(y) - matrix.shape[1], inverse_root @ inverse_root.T, np.einsum("ij,ij->i", q, q), matrix
    )
