"""Initial weights of networks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Initial: TypeAlias = Literal["he", "uniform"]

INITIAL: Final = ("he", "uniform")


def draw(weights: Iterable[NDArray[np.floating[Any]]], initial: Initial, rng: np.random.Generator) -> None:
    """Fill in a network's weights, in place.

    Parameters
    ----------
    weights
        Matrices, shape (inputs, outputs), each followed by its biases.
    initial
        ``he``: matrices are uniform within ±√(6 / inputs), biases zero. ``uniform``: both are uniform within ±√(1 / inputs).

    Notes
    -----
    He et al., *Delving deep into rectifiers*, ICCV 2015: signals keep their size through ReLU layers. ``uniform`` is what PyTorch
    gives linear layers; each layer then shrinks signals to about 0.4.
    """
    inputs = 1
    for part in weights:
        if part.ndim == 2:
            inputs = max(1, len(part))
        if part.ndim == 2 or initial == "uniform":
            bound = math.sqrt((6 if initial == "he" else 1) / inputs)
            part[...] = rng.uniform(-bound, bound, part.shape)
