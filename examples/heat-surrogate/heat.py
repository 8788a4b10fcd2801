"""A square plate that a pulse of heat has hit, cooling: the heat equation in two dimensions, implicit in one after the other."""

from collections.abc import Iterator

import numpy as np

SIDE, SHOWN = 32, 8


def solve(x: float, y: float, width: float, diffusivity: float, loss: float = 0.0, steps: int = 10) -> Iterator[np.ndarray]:
    """Temperatures of 8 x 8 places at each of so many steps; the plate's side is 1, its edges are kept at 0.

    Parameters
    ----------
    x, y, width
        Centre and size of the spot that a pulse of heat is focused on; the heat is always the same, enough for a mean of 1.
    diffusivity
        Its decimal logarithm, in plates per unit of time, which is what all steps take together.
    loss
        Share of the heat that the air takes per unit of time.
    """
    points = (np.arange(SIDE) + 0.5) / SIDE
    field = np.exp(-((points[:, None] - x) ** 2 + (points - y) ** 2) / (2 * width**2)) / (2 * np.pi * width**2)
    curvature = SIDE**2 * (np.diag(np.full(SIDE, -2.0)) + np.diag(np.ones(SIDE - 1), 1) + np.diag(np.ones(SIDE - 1), -1))
    implicit = np.linalg.inv(np.eye(SIDE) - 10**diffusivity / steps * curvature)
    for _ in range(steps):
        field = implicit @ field @ implicit * np.exp(-loss / steps)
        yield field.reshape(SHOWN, SIDE // SHOWN, SHOWN, SIDE // SHOWN).mean(axis=(1, 3)).ravel()
