"""What the ready components say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows with their classes.

    Attributes
    ----------
    x
        Shape (n, d).
    y
        Shape (n,), class indices from 0.
    index
        Number of the first row in its source's stream.
    classes
        How many classes there are in all.
    """

    x: NDArray[np.floating[Any]]
    y: NDArray[np.int64]
    index: int
    classes: int

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Model:
    """What a learner knows, enough to answer with it and to go on learning.

    Attributes
    ----------
    version
        From 1, one more with each publication.
    learner
        Name and settings, as `estran.learning.registry.create` reads them.
    features, classes
        Width of a row, and number of classes.
    state
        The learner's snapshot: arrays by name.
    samples
        How many rows it has learned from.
    published_at
        Seconds of the run's clock.
    """

    version: int
    learner: dict[str, Any]
    features: int
    classes: int
    state: dict[str, NDArray[Any]]
    samples: int
    published_at: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers to the rows of one `Samples`.

    Attributes
    ----------
    answers, truths
        Class indices, shape (n,).
    confidence
        Probability of each answer, as the model has it, shape (n,).
    version
        The model that answered; 0 before there was one.
    index
        Number of the first row in its source's stream.
    """

    answers: NDArray[np.int64]
    truths: NDArray[np.int64]
    confidence: NDArray[np.float32]
    version: int
    index: int
