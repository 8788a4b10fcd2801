"""Gaussian processes of one fidelity: covariance, and hyperparameters of greatest posterior density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BIAS: Final = 1.0
"""Variance of the constant that each fidelity adds to what is below it, in squared standard deviations of the response."""
_ROOT5: Final = 5**0.5
_LENGTH: Final = (0.5, 1.0)
"""Length that is expected, in diagonals of the unit cube, and deviation of its logarithm."""
_NOISE: Final = (-4.0, 1.5)
"""Mean and deviation of the logarithm of the noise's variance, of standardised responses."""
_STEPS: Final = 40
_BOUND: Final = 9.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Hyperparameters of one fidelity.

    Attributes
    ----------
    lengths
        How far one must go along each coordinate for the response to become another, shape (d,).
    scale, noise
        Variances, of standardised responses: of what this fidelity adds to those below, and of one run about its expectation.
    slope
        How much of the fidelity below is in this one; 0 for the lowest.
    """

    lengths: Array
    scale: float
    noise: float
    slope: float


def matern(one: Array, other: Array, lengths: Array) -> Array:
    """Matérn's correlation with ν = 5/2 between points, shape (n, m) for (n, d) and (m, d)."""
    near, far = one / lengths, other / lengths
    squares = (near**2).sum(axis=1)[:, None] + (far**2).sum(axis=1) - 2 * near @ far.T
    return _of_squares(np.maximum(squares, 0.0))


def _of_squares(squares: Array) -> Array:
    distance = _ROOT5 * np.sqrt(squares)
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


def usual(dimensions: int, *, below: bool) -> Shape:
    """What is taken of a fidelity without runs: it follows the one below but for a difference of a tenth of its variance."""
    return Shape(np.full(dimensions, np.exp(_length(dimensions))), 0.1 if below else 1.0, float(np.exp(_NOISE[0])), float(below))


def _length(dimensions: int) -> float:
    """Logarithm of the length that is expected: it grows with the diagonal of the unit cube (Hvarfner et al. 2024)."""
    return float(np.log(_LENGTH[0]) + 0.5 * np.log(dimensions))


@dataclass(frozen=True, slots=True)
class Below:
    """What the fidelities below say of the one next to this at its runs: expectation, shape (n,), and covariance, (n, n)."""

    mean: Array
    covariance: Array


def fit(x: Array, y: Array, below: Below | None) -> Shape:
    """Hyperparameters of greatest posterior density for the runs of one fidelity.

    The density of these runs given those below is that of the autoregressive model of Kennedy and O'Hagan, *Predicting the output
    from a complex computer code when fast approximations are available*, Biometrika 87, 2000, in the order of fidelities as in Le
    Gratiet and Garnier, *Recursive co-kriging model for design of computer experiments with multiple levels of fidelity*, Int. J.
    for Uncertainty Quantification 4, 2014; runs need not be nested. Lengths are expected to grow with the root of
    the number of dimensions, as in Hvarfner, Hellsten and Nardi, *Vanilla Bayesian optimization performs great in high dimensions*,
    ICML 2024. The slope is positive: a fidelity that says the
    opposite of the truth is not to be made use of by turning its sign.

    Parameters
    ----------
    x
        Points in the unit cube, shape (n, d).
    y
        Standardised responses, shape (n,).
    """
    from scipy.optimize import minimize

    task = _Task(x, y, below)
    found = minimize(
        task.loss, task.start, jac=True, method="L-BFGS-B", bounds=[(-_BOUND, _BOUND)] * len(task.start),
        options={"maxiter": _STEPS},
    )  # fmt: skip
    return task.shape(found.x)


class _Task:
    """The loss of one fit: parameters are logarithms of the lengths, the scale, the noise, and the slope if there is one."""

    def __init__(self, x: Array, y: Array, below: Below | None) -> None:
        self._y, self._below, self._d = y, below, x.shape[1]
        self._squares = ((x[:, None] - x) ** 2).transpose(2, 0, 1).reshape(self._d, -1)
        first = usual(self._d, below=below is not None)
        self.start = np.log([*first.lengths, first.scale, first.noise, *([1.0] if below else [])])
        spreads = [_LENGTH[1]] * self._d + [1.0 if below is None else 1.5, _NOISE[1], *([0.7] if below else [])]
        self._spreads = np.array(spreads)

    def shape(self, parameters: Array) -> Shape:
        values = np.exp(parameters)
        d = self._d
        return Shape(values[:d], float(values[d]), float(values[d + 1]), float(values[d + 2]) if self._below else 0.0)

    def loss(self, parameters: Array) -> tuple[float, Array]:
        """Negative logarithm of the posterior density, up to a constant, and its gradient."""
        from scipy.linalg import cho_factor, cho_solve

        shape, n = self.shape(parameters), len(self._y)
        squares = (shape.lengths**-2.0 @ self._squares).reshape(n, n)
        distance = _ROOT5 * np.sqrt(squares)
        decay = np.exp(-distance)
        added = shape.scale * (1 + distance + distance**2 / 3) * decay
        covariance = added + BIAS
        covariance[np.diag_indices(n)] += shape.noise + 1e-8
        left = self._y
        if self._below:
            covariance += shape.slope**2 * self._below.covariance
            left = left - shape.slope * self._below.mean
        factor = cho_factor(covariance, lower=True)
        weights = cho_solve(factor, left)
        outer = cho_solve(factor, np.eye(n)) - np.outer(weights, weights)
        by_square = outer * (-5 / 6 * shape.scale) * (1 + distance) * decay
        gradient = [
            *(-(self._squares @ by_square.ravel()) * shape.lengths**-2.0),
            0.5 * float((outer * added).sum()),
            0.5 * float(np.trace(outer)) * shape.noise,
        ]
        if self._below:
            through = float((outer * self._below.covariance).sum()) * shape.slope - float(self._below.mean @ weights)
            gradient.append(through * shape.slope)
        away = (parameters - self.start) / self._spreads
        loss = 0.5 * float(left @ weights) + float(np.log(np.diag(factor[0])).sum()) + 0.5 * float(away @ away)
        return loss, np.asarray(gradient) + away / self._spreads
