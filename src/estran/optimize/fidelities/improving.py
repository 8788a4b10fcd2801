"""The choice of a run once the ladder has been tested: the point and the rung that are worth most per second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.optimize.fidelities.beliefs import Belief
from estran.optimize.fidelities.candidates import Levels
from estran.optimize.fidelities.gaussian import Array
from estran.optimize.fidelities.history import Choice
from estran.optimize.fidelities.worth import Outlook, drawn, incumbents, worth
from estran.optimize.goals import Goals

LITTLE: Final = 1e-9
"""A share of the hypervolume that is as good as nothing."""


@dataclass(frozen=True)
class Field:
    """What can be chosen from.

    Attributes
    ----------
    points, vectors
        Candidates; vectors have shape (n, d).
    closed
        Rungs where a candidate is not to be run, shape (rungs, n).
    known
        Which candidates were run at the highest rung, or are now, shape (n,).
    """

    points: Sequence[Levels]
    vectors: Array
    closed: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def joined(self, other: Field) -> Field:
        """Both."""
        return Field(
            [*self.points, *other.points],
            np.vstack([self.vectors, other.vectors]),
            np.hstack([self.closed, other.closed]),
            np.concatenate([self.known, other.known]),
        )


@dataclass(frozen=True)
class Weighed:
    """A field with the worth of its runs; what is closed is worth minus infinity per second."""

    field: Field
    ahead: Outlook
    shares: Array
    per_second: Array

    def best(self, count: int) -> list[Levels]:
        """So many candidates whose best run is worth most."""
        return [self.field.points[at] for at in np.argsort(-self.per_second.max(axis=0), kind="stable")[:count]]


@dataclass(frozen=True)
class Chooser:
    """Weighs candidates.

    Attributes
    ----------
    names, seconds
        Of each rung, and what a run costs there.
    """

    goals: Goals
    beliefs: Mapping[str, Belief]
    names: Sequence[str]
    seconds: Sequence[float]
    rng: np.random.Generator

    def weighed(self, field: Field) -> Weighed:
        """The worth of all runs of a field."""
        ahead = Outlook.of(self.goals, self.beliefs, field.vectors)
        draws = drawn(len(self.goals.goals) + len(self.goals.limits), self.rng)
        found = worth(ahead, incumbents(ahead, field.known), self.seconds, draws)
        return Weighed(field, ahead, found.share, np.where(field.closed, -np.inf, found.per_second))

    def choice(self, weighed: Weighed) -> Choice | None:
        """The run that is worth most per second; where none is worth anything, the one that is least certain."""
        per_second, field = weighed.per_second, weighed.field
        if field.closed.all():
            return None
        rung, at = map(int, np.unravel_index(np.argmax(per_second), per_second.shape))
        if weighed.shares[rung, at] > LITTLE:
            return Choice(field.points[at], rung, {"what": "improve", **self._why(weighed, rung, at)})
        rung = len(self.names) - 1
        at = int(np.argmax(np.where(field.closed[rung], -np.inf, weighed.ahead.doubt)))
        if field.closed[rung, at]:
            return None
        return Choice(field.points[at], rung, {"what": "explore", **self._why(weighed, rung, at)})

    def _why(self, weighed: Weighed, rung: int, at: int) -> dict[str, Any]:
        best = zip(self.names, weighed.per_second.max(axis=1).tolist(), strict=True)
        return {
            "gain": _short(weighed.shares[rung, at]),
            "seconds": _short(self.seconds[rung]),
            "per_second": {name: _short(value) for name, value in best if np.isfinite(value)},
            "correlation": _short(weighed.ahead.correlation(rung)[at]),
            "feasible": _short(weighed.ahead.feasible[at]),
            "expected": {name: [_short(value) for value in span] for name, span in weighed.ahead.expected(at).items()},
        }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
