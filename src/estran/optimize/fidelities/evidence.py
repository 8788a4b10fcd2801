"""All runs as arrays: where they were, at which rung of the ladder, and what they measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estran.optimize.fidelities.cokriging import Rungs
from estran.optimize.fidelities.gaussian import Array


@dataclass(frozen=True, slots=True)
class Run:
    """One run that was made, or was taken over from an earlier study.

    Attributes
    ----------
    rung
        Of the ladder, from 0.
    """

    point: int
    rung: int
    responses: Mapping[str, float]


@dataclass(frozen=True)
class Evidence:
    """Runs in the order in which they ended.

    Attributes
    ----------
    points, rungs
        Shape (n,).
    values
        Of each response, shape (n,); not a number where it was not measured.
    """

    points: NDArray[np.int64]
    rungs: Rungs
    values: Mapping[str, Array]

    @classmethod
    def of(cls, runs: Iterable[Run], responses: Sequence[str]) -> Evidence:
        """Gather runs."""
        found = list(runs)
        return cls(
            np.array([run.point for run in found], dtype=np.int64),
            np.array([run.rung for run in found], dtype=np.int64),
            {name: np.array([run.responses.get(name, np.nan) for run in found], dtype=np.float64) for name in responses},
        )

    def measured(self, response: str) -> NDArray[np.bool_]:
        """Which runs measured a response."""
        return np.asarray(np.isfinite(self.values[response]))

    def below(self, rung: int) -> Evidence:
        """Runs of lower rungs only."""
        kept = self.rungs < rung
        return Evidence(self.points[kept], self.rungs[kept], {name: values[kept] for name, values in self.values.items()})

    def at(self, rung: int) -> NDArray[np.int64]:
        """Points with a run at a rung, ascending."""
        return np.unique(self.points[self.rungs == rung])
