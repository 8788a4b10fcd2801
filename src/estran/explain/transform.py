"""Powers of a response that make its spread even: for responses that vary by a share of themselves, not by an amount."""

from __future__ import annotations

from typing import Final

import numpy as np

from estran.explain.model import Matrix

POWERS: Final = (1.0, 0.5, 0.0, -1.0)
"""No transform, root, logarithm and reciprocal; finer powers cannot be told in words."""
LEAST_RATIO: Final = 2.0
"""Of the greatest to the least value, below which powers hardly differ."""
_CERTAIN: Final = 3.841458820694124
"""95 % quantile of χ² with one degree of freedom."""


def power_of(matrix: Matrix, y: Matrix) -> float:
    """The power whose profile likelihood is greatest, if it is significantly greater than that of none; else 1.

    Box, Cox, *An analysis of transformations*, Journal of the Royal Statistical Society B 26, 1964.
    """
    if y.min() <= 0 or y.max() < LEAST_RATIO * y.min():
        return 1.0
    basis = np.linalg.qr(matrix)[0]
    logs = np.log(y)
    likelihoods = []
    for power in POWERS:
        # Scaled so that likelihoods of different powers can be compared: divided by the Jacobian's root.
        scaled = (logs if power == 0 else (y**power - 1) / power) / np.exp((power - 1) * logs.mean())
        left = scaled - basis @ (basis.T @ scaled)
        likelihoods.append(-len(y) / 2 * np.log(max(float(left @ left), 1e-300)))
    best = int(np.argmax(likelihoods))
    return POWERS[best] if 2 * (likelihoods[best] - likelihoods[0]) > _CERTAIN else 1.0


def forward(y: Matrix, power: float) -> Matrix:
    """The transformed response, which rises with it."""
    if power == 1:
        return y
    return np.log(y) if power == 0 else np.asarray(np.sign(power) * y**power)


def back(value: float, power: float) -> tuple[float, float]:
    """The response that a transformed value stands for, and its slope there; infinite where no response does."""
    if power == 1:
        return value, 1.0
    if power == 0:
        found = float(np.exp(min(value, 700.0)))
        return found, found
    base = float(np.sign(power)) * value
    if base <= 0:
        return (0.0, 0.0) if power > 0 else (float("inf"), float("inf"))
    found = base ** (1 / power)
    return found, found / (abs(power) * base)
