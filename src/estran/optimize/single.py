"""The strategy of one fidelity: a sampler of Optuna's proposes points, and replicates go where they decide something.

The default point comes first. Of all later runs up to a third are replicates: at first of the default and the best points, to
learn of the noise; then of points whose place on the front is uncertain (`estran.optimize.standing.chosen_replicate`). The last
ones see to it that the point that will be recommended and the default, against which it is compared, have as many replicates as
were asked for. All others try new points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from estran.optimize.goals import Goals
from estran.optimize.recommending import recommended
from estran.optimize.sampling import Sampling
from estran.optimize.space import Space
from estran.optimize.standing import DOUBT, Standing, chosen_replicate, standings
from estran.optimize.strategy import Ask, Told
from estran.optimize.trials import Point, Trials

REPEATED: Final = 1 / 3
"""Share of runs that may be replicates, before the last ones."""
KNOWN: Final = 3
"""Degrees of freedom from which on the noise is known well enough to say whose place is uncertain."""
_ATTEMPTS: Final = 8
"""Times that a sampler is asked again when it proposes a point that is known."""
_DRAWN: Final = 200
"""Points that are then drawn at random, until all may be taken to be known."""


class Single:
    """Searches at one fidelity; a `Strategy`.

    Parameters
    ----------
    budget
        Runs in all, replicates included.
    replicates
        Of a point at the most.
    seed
        Of the first replicate; what is drawn follows from it too.
    """

    def __init__(
        self, space: Space, goals: Goals, sampling: Sampling, *, fidelity: str, budget: int, replicates: int, seed: int
    ) -> None:
        self._space, self._goals, self._sampling, self._fidelity = space, goals, sampling, fidelity
        self._budget, self._replicates, self._seed = budget, replicates, seed
        self._trials = Trials()

    def recall(self, ask: Ask) -> None:
        """See `Strategy.recall`."""
        self._trials.add(ask)

    def tell(self, number: int, told: Told) -> None:
        """See `Strategy.tell`."""
        self._trials.tell(number, told)

    def ask(self) -> Ask | None:
        """See `Strategy.ask`."""
        number = len(self._trials)
        if number >= self._budget:
            return None
        if not number:
            return self._asked(Point(0, self._space.default), {"what": "default"})
        found = self._standings()
        return self._last(found) or self._doubtful(found) or self._explored(found) or self._any(found)

    def replicate(self) -> Ask | None:
        """A run of a known point, where that decides something; None where a new point is worth more."""
        if not 0 < len(self._trials) < self._budget:
            return None
        found = self._standings()
        return self._last(found) or self._doubtful(found)

    def _standings(self) -> dict[int, Standing]:
        return standings(self._trials, self._fidelity, self._goals, np.random.default_rng([self._seed, len(self._trials)]))

    def _last(self, found: Mapping[int, Standing]) -> Ask | None:
        """What the recommended point and the default still lack, when no more runs are left than that."""
        best = recommended(found, self._goals)
        if best is None or best.exact:
            return None
        points = {point.number: point for point in (best.point, self._trials.points[0])}
        lacking = {number: count for number, point in points.items() if (count := self._lacks(point)) > 0}
        if not lacking or self._budget - len(self._trials) > sum(lacking.values()):
            return None
        return self._asked(points[max(lacking, key=lambda number: lacking[number])], {"what": "confirm"})

    def _lacks(self, point: Point) -> int:
        trials = point.at(self._fidelity)
        if trials and not point.done(self._fidelity) and not point.going(self._fidelity):
            return 0  # all of its runs failed
        return self._replicates - len(trials)

    def _free(self, point: Point) -> bool:
        """Whether a replicate may be made now."""
        return self._lacks(point) > 0 and not point.going(self._fidelity)

    def _doubtful(self, found: Mapping[int, Standing]) -> Ask | None:
        """A replicate where a place is uncertain; of the default and the best points, while little is known of the noise."""
        repeated = sum(trial.ask.replicate > 0 for trial in self._trials)
        open_ones = {
            number: one for number, one in found.items() if self._lacks(one.point) > 0 and not one.point.going(self._fidelity)
        }
        freedom = next((one.freedom for one in found.values()), 0)
        if not open_ones or next(iter(found.values())).exact or repeated >= max(1, REPEATED * len(self._trials)):
            return None
        if freedom < KNOWN:
            twin = min(open_ones.values(), key=lambda one: (one.runs, one.point.number > 0, -one.front, one.point.number))
            likely = twin.point.number == 0 or twin.front > DOUBT
            return self._asked(twin.point, {"what": "replicate", "for": "noise"}) if likely else None
        chosen = chosen_replicate(open_ones, self._replicates)
        if chosen is None:
            return None
        return self._asked(chosen.point, {"what": "replicate", "front": round(chosen.front, 4), "runs": chosen.runs})

    def _explored(self, found: Mapping[int, Standing]) -> Ask | None:
        """A new point; None if all points may be taken to be known."""
        number, points = len(self._trials), self._trials.points
        means = {one.point.number: (self._costs(one), one.broken) for one in found.values()}
        for attempt in range(_ATTEMPTS):
            levels, hints = self._sampling.propose(points, means, self._fidelity, number, attempt)
            if self._trials.find(levels) is None:
                return self._new(levels, hints)
        for attempt in range(_ATTEMPTS, _ATTEMPTS + _DRAWN):
            levels = self._sampling.random(number, attempt)
            if self._trials.find(levels) is None:
                return self._new(levels, {"drawn": "at random: the sampler proposes known points only"})
        return None

    def _costs(self, one: Standing) -> tuple[float, ...]:
        return tuple(goal.cost(mean) for goal, mean in zip(self._goals.goals, one.means, strict=True))

    def _new(self, levels: dict[str, Any], hints: dict[str, Any]) -> Ask:
        drawn = hints.pop("drawn", None)
        why = {"what": "explore"} | ({"drawn": drawn} if drawn else {})
        return self._asked(Point(len(self._trials.points), levels), why, hints)

    def _any(self, found: Mapping[int, Standing]) -> Ask | None:
        """Any point that may be repeated, the most likely on the front first, when there is no new one."""
        left = [one for one in found.values() if self._free(one.point)]
        best = max(left, key=lambda one: (one.front, -one.runs, -one.point.number), default=None)
        return None if best is None else self._asked(best.point, {"what": "replicate", "for": "every point is known"})

    def _asked(self, point: Point, why: dict[str, Any], hints: Mapping[str, Any] | None = None) -> Ask:
        replicate = len(point.at(self._fidelity))
        number = len(self._trials)
        return Ask(number, point.number, point.levels, self._fidelity, self._seed + replicate, replicate, why, hints or {})
