"""What an optimisation found: the front, the point to use, what it gains over the default, and what all of it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.optimize.gain import Gain, gains_of
from estran.optimize.goals import Goals
from estran.optimize.pareto import hypervolume
from estran.optimize.recommending import how, not_worse, recommended
from estran.optimize.standing import Standing, standings
from estran.optimize.strategy import DONE
from estran.optimize.trials import Trials
from estran.optimize.wording import sentence

Floats = NDArray[np.float64]
MARGIN: Final = 0.1
"""How far beyond the worst point the reference point of hypervolumes lies, as a share of each goal's range."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point that was run at the target.

    Attributes
    ----------
    point
        Its number.
    means, ci95
        Of each goal's response at the target, at the average seed; intervals by the spread pooled over all points, None where no
        point has replicates (`estran.optimize.standing`).
    feasible, front
        Probability that it keeps all limits, and that it is on the front.
    fidelities
        At which it was seen, with the number of finished runs.
    """

    point: int
    levels: Mapping[str, Any]
    means: tuple[float, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    on_front: bool
    feasible: float
    front: float
    fidelities: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """How good the best that was known was, after a trial at the target: its number, seconds of all runs so far, hypervolume.

    Each goal is scaled to its range over all points, so that volumes lie between 0 and (1 + `MARGIN`) to the power of the number of
    goals; with one goal it is how far the best mean lies below the reference.
    """

    trial: int
    seconds: float
    hypervolume: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that is told of an optimisation.

    Attributes
    ----------
    responses, units, minimize
        Of each goal.
    limits
        As they were asked for.
    candidates
        Every point that was run at the target, in the order of their numbers; 0 is the default.
    recommended
        Number of the point to use, and ``how`` it was chosen; None if no point keeps all limits.
    gains
        Of each goal, over the default; empty if nothing is recommended, or the default failed.
    sentence
        The gain in words.
    trace
        After every trial at the target.
    counts
        Trials by fidelity and status.
    seconds
        That the runs took by fidelity, by the wall clock.
    notes
        What to mind.
    """

    experiment: str
    target: str
    responses: tuple[str, ...]
    units: tuple[str, ...]
    minimize: tuple[bool, ...]
    limits: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    recommended: int | None
    how: str
    gains: tuple[Gain, ...]
    sentence: str
    trace: tuple[Step, ...]
    counts: Mapping[str, Mapping[str, int]]
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def front(self) -> tuple[Candidate, ...]:
        """Candidates on the front."""
        return tuple(one for one in self.candidates if one.on_front)

    def candidate(self, point: int) -> Candidate:
        """The candidate with a number."""
        return next(one for one in self.candidates if one.point == point)


def answer(
    trials: Trials,
    goals: Goals,
    *,
    experiment: str,
    target: str,
    units: Mapping[str, str],
    seed: int,
    notes: Sequence[str] = (),
) -> Answer:
    """Say what trials found.

    Parameters
    ----------
    target
        Name of the fidelity that counts.
    units
        Of responses.
    seed
        Of the draws that probabilities are from.
    notes
        What else is to be said.
    """
    found = standings(trials, target, goals, np.random.default_rng(seed))
    best = recommended(found, goals)
    gains = () if best is None or 0 not in found else gains_of(found[0], best, target, goals, units)
    names = tuple(goal.response for goal in goals.goals)
    return Answer(
        experiment=experiment,
        target=target,
        responses=names,
        units=tuple(units.get(name, "") for name in names),
        minimize=tuple(goal.minimize for goal in goals.goals),
        limits=tuple(limit.text for limit in goals.limits),
        candidates=tuple(_candidate(found[number]) for number in sorted(found)),
        recommended=None if best is None else best.point.number,
        how="no point is likely to keep all limits"
        if best is None
        else how(goals, better=0 in found and not_worse(best, found[0], goals)),
        gains=gains,
        sentence=sentence(goals, gains, best, found.get(0)),
        trace=tuple(_trace(trials, target, goals)),
        counts=_counts(trials),
        seconds=_seconds(trials),
        notes=(*notes, *_mind(found, best, target)),
    )


def _candidate(one: Standing) -> Candidate:
    seen: dict[str, int] = {}
    for trial in one.point.trials:
        if trial.told is not None and trial.told.status == DONE:
            seen[trial.ask.fidelity] = seen.get(trial.ask.fidelity, 0) + 1
    return Candidate(one.point.number, one.point.levels, one.means, one.ci95, one.on_front, one.feasible, one.front, seen)


def _trace(trials: Trials, target: str, goals: Goals) -> list[Step]:
    """Hypervolume of what was known after each trial, by the means as they were then."""
    done = [point.costs(target).mean(axis=0) for point in trials.points.values() if point.done(target)]
    if not done:
        return []
    low, reach = np.min(done, axis=0), np.ptp(done, axis=0)
    reach = np.where(reach > 0, reach, 1.0)
    reference = np.full(len(goals.goals), 1.0 + MARGIN)
    sums: dict[int, list[Floats]] = {}
    steps = []
    spent = list(accumulate(0.0 if trial.told is None else trial.told.seconds for trial in trials))
    for trial, seconds in zip(trials, spent, strict=True):
        told = trial.told
        if told is None or trial.ask.fidelity != target:
            continue
        if told.costs is not None and told.violations is not None:
            sums.setdefault(trial.ask.point, []).append(np.array([*told.costs, *told.violations]))
        count = len(goals.goals)
        means = np.array([np.mean(runs, axis=0) for runs in sums.values()]) if sums else np.empty((0, count))
        kept = means[(means[:, count:] <= 0).all(axis=1), :count] if len(means) else means
        steps.append(Step(trial.ask.number, seconds, hypervolume((kept - low) / reach, reference) if len(kept) else 0.0))
    return steps


def _counts(trials: Trials) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for trial in trials:
        status = "going" if trial.told is None else trial.told.status
        of = found.setdefault(trial.ask.fidelity, {})
        of[status] = of.get(status, 0) + 1
    return found


def _seconds(trials: Trials) -> dict[str, float]:
    found: dict[str, float] = {}
    for trial in trials:
        found[trial.ask.fidelity] = found.get(trial.ask.fidelity, 0.0) + (trial.told.seconds if trial.told else 0.0)
    return found


def _mind(found: Mapping[int, Standing], best: Standing | None, target: str) -> list[str]:
    """Caveats of the gain."""
    said = []
    if best is not None and 0 not in found:
        said.append("no run of the default was done: there is nothing to compare with")
    if best is not None and best.exact:
        said.append("runs with other seeds gave the same: figures are exact, as far as that was tried")
    elif best is not None and best.point.number and best.runs < 2:
        said.append("the recommended point was run once: how far its figures hold is not known; give more --trials or --replicates")
    elif best is not None and best.point.number:
        said.append("the point was chosen by these same runs, so its gain is more likely over- than understated")
    return said
