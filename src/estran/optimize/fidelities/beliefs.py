"""What is thought of each response: its scale, which fidelities have a say in it, and the process through its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estran.optimize.fidelities.cokriging import CoKriging, Prediction, Rows, Rungs, settled, shaped
from estran.optimize.fidelities.evidence import Evidence
from estran.optimize.fidelities.gaussian import Array, Shape
from estran.optimize.fidelities.scale import Scale, flat
from estran.optimize.fidelities.trust import Trust, judged


@dataclass(frozen=True)
class Belief:
    """What is thought of one response.

    Attributes
    ----------
    trusts
        Of each rung but the highest, from the lowest.
    """

    response: str
    scale: Scale
    process: CoKriging
    trusts: tuple[Trust, ...]

    @property
    def rungs(self) -> int:
        """Of the ladder."""
        return len(self.trusts) + 1

    def predict(self, x: Array) -> Prediction:
        """What is known at points, on the scale of the process."""
        return self.process.predict(x, self.rungs)

    def believing(self, x: Array, rungs: Rungs) -> Belief:
        """The same, as if runs there had ended as expected."""
        return Belief(self.response, self.scale, self.process.believing(x, rungs), self.trusts)


class Believer:
    """Makes beliefs of evidence, and remembers hyperparameters as long as they hold.

    Parameters
    ----------
    names
        Of the fidelities, the lowest first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._shapes: dict[str, tuple[tuple[object, ...], tuple[Shape, ...]]] = {}

    def belief(self, response: str, evidence: Evidence, vectors: Array) -> Belief:
        """What to think of a response.

        Parameters
        ----------
        vectors
            Of each point, by its number, shape (points, d).
        """
        known = evidence.measured(response)
        y, rungs, points = evidence.values[response][known], evidence.rungs[known], evidence.points[known]
        kept = settled(rungs)
        scale = Scale.of(y[kept], rungs[kept])
        z, top = scale.to(y), len(self._names) - 1
        trusts = tuple(self._trust(response, rung, evidence, z, rungs, points) for rung in range(top))
        used = (*(rung for rung in range(top) if trusts[rung].used and (rungs == rung).any()), top)
        rows = Rows(vectors[points], rungs, z)
        shapes = self._shaped(response, rows, used, kept)
        return Belief(response, scale, CoKriging(rows.at(np.isin(rungs, used)), used, shapes), trusts)

    def _trust(
        self, response: str, rung: int, evidence: Evidence, z: Array, rungs: Rungs, points: NDArray[np.int64]
    ) -> Trust:  # fmt: skip
        name, top = self._names[rung], len(self._names) - 1
        low, high = _means(z, points, rungs == rung), _means(z, points, rungs == top)
        pairs = sorted(low.keys() & high.keys())
        here = z[rungs == rung]
        if (evidence.rungs == rung).any() and (not len(here) or (len(low) > 2 and flat(here))):
            return Trust(name, response, len(pairs), "silent")
        values = [np.array([side[point] for point in pairs]) for side in (low, high)]
        return judged(name, response, values[0], values[1], _noise(z, points, rungs == top))

    def _shaped(self, response: str, rows: Rows, used: tuple[int, ...], kept: NDArray[np.bool_]) -> tuple[Shape, ...]:
        key = (used, tuple(np.unique(rows.rungs[kept], return_counts=True)[1].tolist()))
        if response not in self._shapes or self._shapes[response][0] != key:
            self._shapes[response] = key, shaped(rows.at(kept), used)
        return self._shapes[response][1]


def _means(z: Array, points: NDArray[np.int64], here: NDArray[np.bool_]) -> dict[int, float]:
    return {int(point): float(z[here & (points == point)].mean()) for point in np.unique(points[here])}


def _noise(z: Array, points: NDArray[np.int64], here: NDArray[np.bool_]) -> float:
    """Variance of one run about the mean of its point, pooled over points with several; 0 where there are none."""
    groups = [z[here & (points == point)] for point in np.unique(points[here])]
    freedom = sum(len(group) - 1 for group in groups)
    return sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom if freedom else 0.0
