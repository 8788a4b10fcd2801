"""The seam to learning: what every learner can do, arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Features: TypeAlias = NDArray[np.float64]
"""Shape (n, d)."""
Labels: TypeAlias = NDArray[np.int64]
"""Shape (n,), class indices from 0."""
State: TypeAlias = Mapping[str, NDArray[Any]]
"""A snapshot: plain arrays by name, enough to predict and to go on learning."""


class Learner(Protocol):
    """Learns from chunks of a stream, in order, and predicts at any time."""

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order."""
        ...

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        ...

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        ...

    def state(self) -> State:
        """A snapshot that shares no memory with the learner."""
        ...

    def load(self, state: State) -> None:
        """Replace everything learned by a snapshot (of a learner with the same settings)."""
        ...
