"""The seam to learning: what every learner can do, arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estran.errors import EstranError

Features: TypeAlias = NDArray[np.float64]
"""Shape (n, d)."""
Labels: TypeAlias = NDArray[np.int64]
"""Shape (n,), class indices from 0."""
State: TypeAlias = Mapping[str, NDArray[Any]]
"""A snapshot: plain arrays by name, enough to predict and to go on learning."""


class LearnerError(EstranError):
    """A learner cannot do what it was asked to: rows of the wrong width, labels out of range, a foreign model that raised."""


class NotFiniteError(LearnerError):
    """A NaN or an infinity: in the rows handed in, or in what learning from them would have produced."""


class StateError(LearnerError):
    """A snapshot that cannot be made, or does not fit the learner that it is loaded into."""


@runtime_checkable
class Learner(Protocol):
    """Learns from chunks of a stream, in order, and predicts at any time.

    A learner is made by a *factory* ``(features, classes, rng, **settings)``: the number of features of a row, the number of
    classes, the generator of all its randomness, and the hyper-parameters of the experiment file
    (see `estran.learning.registry`). `estran.checks.learners` checks that a learner keeps what is promised here.
    """

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit the learner. What was learned before is then unchanged.
        NotFiniteError
            If a value is not finite, or learning diverges. What was learned before is then unchanged.
        """
        ...

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        ...

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        ...

    def state(self) -> State:
        """A snapshot that shares no memory with the learner.

        Raises
        ------
        StateError
            If what was learned cannot be expressed as plain arrays.
        """
        ...

    def load(self, state: State) -> None:
        """Replace everything learned by a snapshot (of a learner with the same settings).

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        ...
