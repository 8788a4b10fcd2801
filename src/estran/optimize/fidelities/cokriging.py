"""One response at several fidelities: each is a multiple of the one below, and a difference that is a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.optimize.fidelities.gaussian import BIAS, Array, Below, Shape, fit, matern, usual

Rungs = NDArray[np.int64]
MOST_FITTED: Final = 160
"""Runs of one fidelity that its hyperparameters are found from, at the most: more tell little more of them, and take long."""
_JITTER: Final = 1e-8
_DOZEN: Final = 12


@dataclass(frozen=True, slots=True)
class Rows:
    """Runs in the order in which they ended: where, shape (n, d), at which rung of the ladder, (n,), and the response, (n,)."""

    x: Array
    rungs: Rungs
    y: Array

    def at(self, keep: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        return Rows(self.x[keep], self.rungs[keep], self.y[keep])


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is known of points at the highest rung, and what a run at each rung would add.

    Attributes
    ----------
    mean, variance
        Of the expectation there, shape (n,).
    learned
        By how much (a standard deviation) one run at a rung would move that expectation, shape (rungs, n).
    correlation
        Of that rung's expectation with the highest one's, after all that is known; shape (rungs, n).
    """

    mean: Array
    variance: Array
    learned: Array
    correlation: Array


class CoKriging:
    """The joint process of a response over points and rungs, given its runs.

    Parameters
    ----------
    rows
        All of rungs in ``used``; responses are standardised.
    used
        Rungs with a say, ascending; the highest one is last. A rung that is left out has neither runs nor influence.
    shapes
        Hyperparameters of each rung in use.
    """

    def __init__(self, rows: Rows, used: Sequence[int], shapes: Sequence[Shape]) -> None:
        self.rows, self.used, self.shapes = rows, tuple(used), tuple(shapes)
        self._places = np.searchsorted(self.used, rows.rungs)

    @cached_property
    def _factor(self) -> Any:
        from scipy.linalg import cholesky

        covariance = self._covariance(self.rows.x, self._places, self.rows.x, self._places)
        noise = np.array([shape.noise for shape in self.shapes])
        covariance[np.diag_indices(len(covariance))] += noise[self._places] + _JITTER
        return cholesky(covariance, lower=True)

    @cached_property
    def _weights(self) -> Array:
        return self._solved(self.rows.y)

    def _solved(self, right: Array) -> Array:
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self._factor, right, lower=True, check_finite=False))

    def _gain(self, place: int, of: int) -> float:
        """How much of what rung ``of`` adds is in the rung at ``place``."""
        return float(np.prod([shape.slope for shape in self.shapes[of + 1 : place + 1]])) if place >= of else 0.0

    def _covariance(self, one: Array, places: Rungs, other: Array, others: Rungs) -> Array:
        total = np.zeros((len(one), len(other)))
        for of, shape in enumerate(self.shapes):
            near = np.array([self._gain(place, of) for place in range(len(self.shapes))])
            left, right = np.flatnonzero(near[places]), np.flatnonzero(near[others])
            added = shape.scale * matern(one[left], other[right], shape.lengths) + BIAS
            total[np.ix_(left, right)] += near[places[left]][:, None] * near[others[right]] * added
        return total

    def below(self, x: Array) -> Below:
        """What its highest rung is at points, with covariance."""
        top = np.full(len(x), len(self.used) - 1)
        shared = self._solved(self._covariance(self.rows.x, self._places, x, top))
        return Below(shared.T @ self._weights, self._covariance(x, top, x, top) - shared.T @ shared)

    def predict(self, x: Array, rungs: int) -> Prediction:
        """What is known of points at the highest rung, with what runs at each of so many rungs would teach."""
        count = len(self.used)
        solved = [self._solved(self._covariance(self.rows.x, self._places, x, np.full(len(x), p))) for p in range(count)]
        prior = [[self._variance(one, other) for one in range(count)] for other in range(count)]
        variance = np.maximum(prior[-1][-1] - (solved[-1] ** 2).sum(axis=0), 1e-12)
        learned, correlation = np.zeros((rungs, len(x))), np.zeros((rungs, len(x)))
        for place, rung in enumerate(self.used):
            own = np.maximum(prior[place][place] - (solved[place] ** 2).sum(axis=0), 1e-12)
            shared = prior[place][-1] - (solved[place] * solved[-1]).sum(axis=0)
            learned[rung] = np.abs(shared) / np.sqrt(own + self.shapes[place].noise)
            correlation[rung] = shared / np.sqrt(own * variance)
        return Prediction(solved[-1].T @ self._weights, variance, learned, np.clip(correlation, -1.0, 1.0))

    def _variance(self, one: int, other: int) -> float:
        return sum(self._gain(one, of) * self._gain(other, of) * (s.scale + BIAS) for of, s in enumerate(self.shapes))

    def believing(self, x: Array, rungs: Rungs) -> CoKriging:
        """The same process, as if runs at these points had ended with what is expected of them (Ginsbourger et al. 2010)."""
        keep = np.isin(rungs, self.used)
        if not keep.any():
            return self
        x, rungs = x[keep], rungs[keep]
        places = np.searchsorted(self.used, rungs)
        expected = self._solved(self._covariance(self.rows.x, self._places, x, places)).T @ self._weights
        rows = self.rows
        longer = Rows(np.vstack([rows.x, x]), np.concatenate([rows.rungs, rungs]), np.concatenate([rows.y, expected]))
        return CoKriging(longer, self.used, self.shapes)


def shaped(rows: Rows, used: Sequence[int]) -> tuple[Shape, ...]:
    """Find the hyperparameters of each rung in use, from the lowest."""
    shapes: list[Shape] = []
    for place, rung in enumerate(used):
        at = _thinned(np.flatnonzero(rows.rungs == rung))
        if len(at) < 3:
            shapes.append(usual(rows.x.shape[1], below=place > 0))
            continue
        below = None
        if place:
            lower = CoKriging(rows.at(np.isin(rows.rungs, used[:place])), used[:place], shapes)
            below = lower.below(rows.x[at])
        shapes.append(fit(rows.x[at], rows.y[at], below))
    return tuple(shapes)


def settled(rungs: Rungs) -> NDArray[np.bool_]:
    """Which rows, in the order in which they came, hyperparameters are found from.

    Of each rung all of the first dozen, then in steps of about a seventh: so they need not be found again after every run, and are
    the same for a study that was interrupted as for one that was not.
    """
    keep = np.zeros(len(rungs), dtype=np.bool_)
    for rung in np.unique(rungs):
        at = np.flatnonzero(rungs == rung)
        keep[at[: _settled(len(at))]] = True
    return keep


def _settled(count: int) -> int:
    if count <= _DOZEN:
        return count
    known = _DOZEN
    while (more := known + max(1, known // 7)) <= count:
        known = more
    return known


def _thinned(at: Rungs) -> Rungs:
    if len(at) <= MOST_FITTED:
        return at
    return at[np.linspace(0, len(at) - 1, MOST_FITTED).astype(np.int64)]
