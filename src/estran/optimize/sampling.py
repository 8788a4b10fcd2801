"""Optuna's samplers, asked for one point at a time: each time they are shown every point that is known, as it stands now.

A sampler sees a point once, with the means over its replicates, not each of its runs; earlier studies' points; and points whose
runs go on. It is made anew for every ask, with a seed that follows from that of the optimisation and the number of the ask: what it
proposes depends on nothing but that and the trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estran.errors import RequestError
from estran.optimize.goals import Goals
from estran.optimize.journal import library, unwarned
from estran.optimize.space import Space
from estran.optimize.trials import Point

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SAMPLERS: Final = ("tpe", "gp", "random", "nsga2")
STARTUP: Final = 10
"""Points that are drawn at random before a model is asked, at the most."""


Means = tuple[Sequence[float], Sequence[float]]
"""Mean costs and mean violations of a point."""


@dataclass(frozen=True, slots=True)
class Known:
    """A point that an earlier study measured: levels in the space, costs and violations, means over replicates."""

    levels: Mapping[str, Any]
    costs: tuple[float, ...]
    violations: tuple[float, ...]


def check(sampler: str, goals: Goals) -> None:
    """Make sure that a sampler can be used.

    Raises
    ------
    RequestError
        If there is none of that name, or what it needs is not installed.
    """
    if sampler not in SAMPLERS:
        raise RequestError(f"there is no sampler {sampler!r}", where="--sampler", remedy=f"choose {', '.join(SAMPLERS)}")
    library()
    if sampler == "gp" and find_spec("torch") is None:
        raise RequestError("the sampler gp needs PyTorch", where="--sampler gp", remedy="pip install 'estran[gp]'")


class Sampling:
    """Proposes points.

    Parameters
    ----------
    budget
        Runs in all: of a small one, fewer are drawn at random at first.
    known
        What earlier studies measured.
    """

    def __init__(self, space: Space, goals: Goals, *, sampler: str, seed: int, budget: int, known: Sequence[Known] = ()) -> None:
        self._space, self._goals, self._sampler, self._seed = space, goals, sampler, seed
        self._startup = max(3, min(STARTUP, budget // 4))
        self._known = [made for one in known if (made := self._ended(one.levels, one.costs, one.violations)) is not None]

    def propose(
        self, points: Mapping[int, Point], means: Mapping[int, Means], fidelity: str, number: int, attempt: int = 0
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A settled point, which may be one that is known already, and what is to be kept of the sampler's (`Ask.hints`).

        Parameters
        ----------
        means
            Of each point that has any, by its number.
        number
            Of the ask.
        attempt
            How often it was asked before for this number.
        """
        study = self._view(points, means, fidelity)
        study.sampler = self._made(number, attempt)
        with unwarned():
            trial = study.ask()
            levels = self._space.suggest(trial)
        return levels, dict(trial._get_latest_trial().system_attrs)

    def random(self, number: int, attempt: int) -> dict[str, Any]:
        """A settled point that is drawn evenly from the space."""
        study = library().create_study()
        study.sampler = _samplers().RandomSampler(seed=self._number(number, attempt))
        return self._space.suggest(study.ask())

    def _view(self, points: Mapping[int, Point], means: Mapping[int, Means], fidelity: str) -> Study:
        """A study in memory with all that is known."""
        study: Study = library().create_study(directions=["minimize"] * len(self._goals.goals))
        study.add_trials(self._known)
        for number, point in points.items():
            trials = point.at(fidelity)
            if not trials:
                continue
            hints = dict(trials[0].ask.hints)
            known = number in means
            made = self._ended(point.levels, *means[number], hints) if known else self._unended(point, fidelity, hints)
            if made is not None:
                study.add_trial(made)
        return study

    def _ended(
        self,
        levels: Mapping[str, Any],
        costs: Sequence[float],
        violations: Sequence[float],
        hints: Mapping[str, Any] | None = None,
    ) -> FrozenTrial | None:
        from optuna.trial import create_trial

        try:
            parameters, distributions = self._space.parameters(levels)
        except RequestError:  # an earlier study may have had levels beyond
            return None
        kept = {f"constraints:{i}": violation for i, violation in enumerate(violations)}
        return create_trial(
            params=parameters, distributions=distributions, values=list(costs), system_attrs={**(hints or {}), **kept}
        )

    def _unended(self, point: Point, fidelity: str, hints: dict[str, Any]) -> FrozenTrial:
        """A point whose runs go on, were pruned, or all failed."""
        from optuna.trial import TrialState, create_trial

        parameters, distributions = self._space.parameters(point.levels)
        reached = [trial.told.reached for trial in point.at(fidelity) if trial.told is not None and trial.told.reached is not None]
        ended = TrialState.PRUNED if reached else TrialState.FAIL
        return create_trial(
            state=TrialState.RUNNING if point.going(fidelity) else ended, params=parameters, distributions=distributions,
            intermediate_values=dict(reached), system_attrs=hints,
        )  # fmt: skip

    def _made(self, number: int, attempt: int) -> BaseSampler:
        seed = self._number(number, attempt)
        samplers = _samplers()
        with unwarned():
            if self._sampler == "gp":
                made: BaseSampler = samplers.GPSampler(seed=seed, n_startup_trials=self._startup, deterministic_objective=False)
            elif self._sampler == "nsga2":
                made = samplers.NSGAIISampler(seed=seed, population_size=2 * self._startup)
            elif self._sampler == "random":
                made = samplers.RandomSampler(seed=seed)
            else:
                made = samplers.TPESampler(seed=seed, n_startup_trials=self._startup, multivariate=True, group=True)
        return made

    def _number(self, number: int, attempt: int) -> int:
        return int(np.random.SeedSequence([self._seed, number, attempt]).generate_state(1)[0])


def _samplers() -> Any:
    import optuna.samplers

    return optuna.samplers
