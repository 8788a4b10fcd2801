"""All that has been asked and told, of this optimisation and of earlier studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from estran.optimize.fidelities.candidates import Levels, Vectors, key
from estran.optimize.fidelities.evidence import Evidence, Run
from estran.optimize.fidelities.gaussian import Array
from estran.optimize.fidelities.ladder import Ladder
from estran.optimize.goals import Goal, Goals, Limit
from estran.optimize.space import Space
from estran.optimize.strategy import DONE, Ask, Told
from estran.optimize.trials import Trial, Trials

FAILED: Final = "!failed"
"""The response that says whether a run fails: 1 if it did, −1 if not. No run measures one of such a name."""


@dataclass(frozen=True, slots=True)
class Known:
    """A run of an earlier study: what it measured at a point, at one of the ladder's fidelities."""

    levels: Levels
    fidelity: str
    responses: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """A run to make, why, and what the strategy wants back (`Ask.hints`): plain JSON."""

    levels: Levels
    rung: int
    why: Mapping[str, Any]
    hints: Mapping[str, Any] = field(default_factory=dict)


class History:
    """What has been asked and told.

    Attributes
    ----------
    space, asked_goals, ladder
        What the optimisation is about.
    seed
        Of the first replicate of every point.
    """

    def __init__(self, space: Space, goals: Goals, ladder: Ladder, seed: int, known: Sequence[Known]) -> None:
        self.space, self.asked_goals, self.ladder, self.seed = space, goals, ladder, seed
        self.trials, self._known, self._vectors = Trials(), tuple(known), Vectors(space)
        self._numbers: dict[str, int] = {}

    def add(self, ask: Ask) -> None:
        """Take an ask."""
        self.trials.add(ask)
        self._numbers[key(ask.levels)] = ask.point

    def next(self, choice: Choice) -> Ask:
        """The ask that a choice makes."""
        fidelity, replicate = self.ladder.names[choice.rung], len(self.ran(choice.levels, choice.rung))
        point = self._numbers.get(key(choice.levels), len(self.trials.points))
        number = len(self.trials)
        return Ask(number, point, choice.levels, fidelity, self.seed + replicate, replicate, choice.why, choice.hints)

    def ran(self, levels: Levels, rung: int) -> list[Trial]:
        """Trials of a point at a rung, whether they have ended or not."""
        number = self._numbers.get(key(levels))
        return [] if number is None else self.trials.points[number].at(self.ladder.names[rung])

    def at_top(self) -> list[Levels]:
        """Points that were run at the highest rung, or are now."""
        return list({key(trial.ask.levels): trial.ask.levels for trial in self.trials.at(self.ladder.highest)}.values())

    def for_purpose(self, what: str) -> list[Levels]:
        """Points that were asked for to some purpose, each once, in order."""
        return list({key(t.ask.levels): t.ask.levels for t in self.trials if t.ask.why.get("what") == what}.values())

    @property
    def failing(self) -> bool:
        """Whether any run has failed."""
        return any(trial.told is not None and trial.told.status in ("failed", "timed-out") for trial in self.trials)

    @property
    def goals(self) -> Goals:
        """What was asked for; and, where runs fail, that they do not."""
        if not self.failing:
            return self.asked_goals
        return replace(self.asked_goals, limits=(*self.asked_goals.limits, Limit(FAILED, True, 0.0, None, "runs end well")))

    def measured(self, rung: int) -> tuple[list[Goal], list[Limit]]:
        """Goals and limits whose responses some run at a rung has measured."""
        every: set[str] = set().union(*(one.responses for one in self._done(rung)))
        goals = [goal for goal in self.asked_goals.goals if goal.response in every]
        return goals, [limit for limit in self.asked_goals.limits if limit.response in every]

    def complete(self, rung: int) -> list[tuple[Levels, Mapping[str, float]]]:
        """Points with what their first run at a rung said, if it measured all that any run there has."""
        wanted = [one.response for side in self.measured(rung) for one in side]
        found: dict[str, tuple[Levels, Mapping[str, float]]] = {}
        for levels, told in self._ended(rung):
            if told.status == DONE and all(name in told.responses for name in wanted):
                found.setdefault(key(levels), (levels, told.responses))
        return list(found.values())

    def points(self) -> list[Levels]:
        """All that were run: those of earlier studies, then those of trials, each once."""
        every = [*(known.levels for known in self._known), *(point.levels for point in self.trials.points.values())]
        return list({key(levels): levels for levels in every}.values())

    def vectors(self, points: Sequence[Levels]) -> Array:
        """Of points, shape (n, d)."""
        return self._vectors.of(points)

    def evidence(self) -> Evidence:
        """All that was measured; points are numbered as in `points`."""
        numbers = {key(levels): number for number, levels in enumerate(self.points())}
        runs = [Run(numbers[key(one.levels)], self.ladder.number(one.fidelity), one.responses) for one in self._known]
        for trial in self.trials:
            if trial.told is not None:
                rung = self.ladder.number(trial.ask.fidelity)
                runs.append(Run(numbers[key(trial.ask.levels)], rung, _responses(trial.told)))
        return Evidence.of(runs, [*self.asked_goals.responses, FAILED])

    def _ended(self, rung: int) -> Iterator[tuple[Levels, Told]]:
        for trial in self.trials.at(self.ladder.names[rung]):
            if trial.told is not None:
                yield trial.ask.levels, trial.told

    def _done(self, rung: int) -> list[Told]:
        return [told for _, told in self._ended(rung) if told.status == DONE]


def _responses(told: Told) -> Mapping[str, float]:
    if told.status == DONE:
        return {**told.responses, FAILED: -1.0}
    return {FAILED: 1.0} if told.status in ("failed", "timed-out") else {}
