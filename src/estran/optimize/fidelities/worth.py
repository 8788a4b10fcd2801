"""What a run is worth: the hypervolume that it is expected to add, or to show the way to, per second that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.optimize.fidelities.beliefs import Belief
from estran.optimize.fidelities.cokriging import Prediction
from estran.optimize.fidelities.gaussian import Array
from estran.optimize.fidelities.volume import Gain, reference
from estran.optimize.goals import Goal, Goals, Limit
from estran.optimize.pareto import hypervolume, on_front

DRAWS: Final = 64
"""Of what a run may measure, at each candidate."""


@dataclass(frozen=True)
class Outlook:
    """What is known of some points at the highest fidelity.

    Attributes
    ----------
    goals, limits
        Of each, with the belief in its response and the prediction at the points.
    """

    goals: Sequence[tuple[Goal, Belief, Prediction]]
    limits: Sequence[tuple[Limit, Belief, Prediction]]

    @classmethod
    def of(cls, goals: Goals, beliefs: Mapping[str, Belief], x: Array) -> Outlook:
        """For vectors of points, shape (n, d)."""
        predictions = {name: belief.predict(x) for name, belief in beliefs.items()}
        return cls(
            [(goal, beliefs[goal.response], predictions[goal.response]) for goal in goals.goals],
            [(limit, beliefs[limit.response], predictions[limit.response]) for limit in goals.limits],
        )

    @property
    def costs(self) -> Array:
        """Expected, less is better, shape (n, goals)."""
        return np.stack([_cost(goal, belief, prediction.mean) for goal, belief, prediction in self.goals], axis=-1)

    @property
    def feasible(self) -> Array:
        """Probability that all limits are kept, shape (n,)."""
        return np.asarray(self._kept(np.zeros((1, len(self.limits))), None)[0])

    @property
    def doubt(self) -> Array:
        """How little is known, of what may keep the limits, shape (n,)."""
        spread = np.sum([prediction.variance for _, _, prediction in self.goals], axis=0)
        return np.asarray(spread * np.maximum(self.feasible, 1e-6))

    def expected(self, at: int) -> dict[str, Array]:
        """Of each goal at one point, the expectation at the highest rung with its 95 % interval: low, middle, high."""
        half = 1.96 * np.array([-1.0, 0.0, 1.0])
        return {
            goal.response: belief.scale.back(prediction.mean[at] + half * prediction.variance[at] ** 0.5)
            for goal, belief, prediction in self.goals
        }

    def correlation(self, rung: int) -> Array:
        """Of a rung with the highest, the mean over goals, shape (n,)."""
        return np.asarray(np.mean([prediction.correlation[rung] for _, _, prediction in self.goals], axis=0))

    def informs(self, rung: int) -> bool:
        """Whether a rung has a say in any goal or limit."""
        return any((prediction.learned[rung] > 0).any() for _, _, prediction in (*self.goals, *self.limits))

    def after(self, rung: int, draws: Array) -> tuple[Array, Array]:
        """What would be expected after a run at a rung: costs, shape (draws, n, goals), and feasibility, (draws, n)."""
        ahead = [
            _cost(goal, belief, prediction.mean + draws[:, place, None] * prediction.learned[rung])
            for place, (goal, belief, prediction) in enumerate(self.goals)
        ]
        return np.stack(ahead, axis=-1), self._kept(draws[:, len(self.goals) :], rung)

    def _kept(self, draws: Array, rung: int | None) -> Array:
        from scipy.special import ndtr

        kept = 1.0
        for place, (limit, belief, prediction) in enumerate(self.limits):
            learned = np.zeros_like(prediction.mean) if rung is None else prediction.learned[rung]
            left = np.sqrt(np.maximum(prediction.variance - learned**2, 1e-12))
            bound = float(belief.scale.to(np.array([limit.bound]))[0])
            room = (bound - prediction.mean - draws[:, place, None] * learned) / left
            kept = kept * ndtr(room if limit.at_most else -room)
        count = len(self.goals[0][2].mean)
        return np.broadcast_to(kept, (len(draws), count))


def _cost(goal: Goal, belief: Belief, z: Array) -> Array:
    value = belief.scale.back(z)
    return value if goal.minimize else -value


@dataclass(frozen=True)
class Worth:
    """Of each candidate at each rung, shape (rungs, n), the share of the hypervolume that a run there is worth.

    Attributes
    ----------
    per_second
        The same by what a run costs.
    """

    share: Array
    per_second: Array


def worth(ahead: Outlook, known: Array, seconds: Sequence[float], draws: Array) -> Worth:
    """Weigh candidates at all rungs.

    At the highest rung a run is worth the expected hypervolume improvement, weighted with the probability that it keeps the limits
    (Emmerich, Giannakoglou and Naujoks, IEEE TEVC 10, 2006; Daulton et al., NeurIPS 2020). Below it adds nothing itself, but moves
    what is expected of its point at the highest rung, more so the less the fidelities disagree: it is worth by how much the
    improvement there is expected to be greater once its result is known. That is the knowledge gradient per cost of Poloczek, Wang
    and Frazier, *Multi-information source optimization*, NeurIPS 2017, of hypervolume (Daulton, Balandat and Bakshy, *Hypervolume
    knowledge gradient*, ICML 2023), looked at only in the point itself, as expected improvement is.

    Parameters
    ----------
    ahead
        Of the candidates.
    known
        Expected costs of points that were run at the highest rung and are likely to keep the limits, shape (points, goals).
    seconds
        That a run takes at each rung.
    draws
        Standard normal, shape (draws, goals + limits).
    """
    top, costs, feasible = len(seconds) - 1, ahead.costs, ahead.feasible
    likely = costs[feasible >= 0.5]
    everything = np.vstack([known, likely]) if len(known) + len(likely) else costs
    beyond = reference(everything)
    gain, whole = Gain(known, beyond), max(hypervolume(everything, beyond), 1e-300)
    now = gain(costs) * feasible
    shares = np.zeros((len(seconds), len(costs)))
    for rung in range(top + 1):
        if rung == top or ahead.informs(rung):
            later, kept = ahead.after(rung, draws)
            expected = (gain(later) * kept).mean(axis=0)
            shares[rung] = expected if rung == top else np.maximum(expected - now, 0.0)
    shares /= whole
    return Worth(shares, shares / np.asarray(seconds)[:, None])


def incumbents(ahead: Outlook, at: NDArray[np.bool_]) -> Array:
    """Expected costs of those points, of some marked, that are likelier than not to keep the limits; only their front."""
    costs = ahead.costs[at & (ahead.feasible >= 0.5)]
    return costs[on_front(costs)] if len(costs) else costs


def drawn(count: int, rng: np.random.Generator) -> Array:
    """Standard normal draws that fill their space evenly, shape (DRAWS, count), with a mean of 0."""
    from scipy.stats import norm, qmc

    places = qmc.Sobol(count, rng=rng).random(DRAWS)
    found: Any = norm.ppf(np.clip(places, 1e-9, 1 - 1e-9))
    return np.asarray(found - found.mean(axis=0))
