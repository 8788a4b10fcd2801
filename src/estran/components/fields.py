"""What simulations, surrogates and those who ask them say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Steps:
    """Time steps of one simulation: what a simulator says, what a surrogate is asked, and what it answers.

    Attributes
    ----------
    simulation
        Its number, unlike that of any other of the service.
    low, high, values
        Ranges of the parameters, and the parameters themselves; shape (d,).
    first, total
        Number of the first of these steps, from 0, and of all steps of the simulation.
    fields
        Shape (n, m).
    weight
        Importance of the parameters, as their sampler has it.
    """

    simulation: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    values: NDArray[np.float64]
    first: int
    total: int
    fields: NDArray[np.floating[Any]]
    weight: float

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def position(self) -> NDArray[np.float64]:
        """The parameters in the unit cube."""
        return np.asarray((self.values - self.low) / (self.high - self.low))

    @property
    def times(self) -> NDArray[np.float64]:
        """When the steps are, from 0 to 1."""
        return np.asarray((self.first + np.arange(len(self))) / max(self.total - 1, 1))


@dataclass(frozen=True, eq=False)
class Proposal:
    """Parameters that are worth simulating.

    Attributes
    ----------
    values
        Shape (d,).
    why
        What they were chosen by.
    """

    values: NDArray[np.float64]
    why: str


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What a surrogate has learned, enough to answer with it.

    Attributes
    ----------
    version
        From 1, one more with each publication.
    hidden
        Widths of the hidden layers.
    state
        Snapshot of a committee: arrays by name.
    simulations
        How many it has learned from.
    published_at
        Seconds of the run's clock.
    """

    version: int
    hidden: tuple[int, ...]
    state: dict[str, NDArray[Any]]
    simulations: int
    published_at: float
