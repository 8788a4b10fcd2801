"""The strategy over several fidelities: many cheap runs lead to the few dear ones that are worth their price."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from estran.optimize.fidelities.apart import Apart
from estran.optimize.fidelities.beliefs import Belief, Believer
from estran.optimize.fidelities.candidates import Cube, Levels, key
from estran.optimize.fidelities.history import FAILED, Choice, History, Known
from estran.optimize.fidelities.improving import Chooser, Field
from estran.optimize.fidelities.ladder import Ladder
from estran.optimize.fidelities.opening import FEWEST, PER_FACTOR, default, first, tested
from estran.optimize.fidelities.promoting import promoted
from estran.optimize.fidelities.trust import Trust
from estran.optimize.goals import Goal, Goals, Limit
from estran.optimize.single import Single
from estran.optimize.space import Space
from estran.optimize.strategy import Ask, Told

SPREAD: Final = 128
"""Candidates that fill a large space, and as many neighbours of good points."""
PARENTS: Final = 8
"""Good points whose neighbours are thought of."""
LOWER: Final = 1.0
"""Time that all lower rungs together may take, as a share of what runs at the highest have taken so far, and one more."""

LEADING: Final = 0.25
"""As such a share, what they take for their own best comes before all else."""
ENOUGH: Final = 1e-3
"""Share of the hypervolume below which the best of a lower rung is taken to be found."""


class MultiFidelity:
    """Chooses point and fidelity of each run (docs/explanation/multi-fidelity.md tells how).

    Parameters
    ----------
    alone
        The search at the highest fidelity by itself: it says where replicates go, and what to run where nothing below is believed.
    trials
        Runs at the highest fidelity, replicates included.
    seed
        Of the first replicate of every point; what is drawn follows from it too.
    known
        Runs of earlier studies, in order.
    """

    def __init__(
        self, space: Space, goals: Goals, ladder: Ladder, alone: Single, *, trials: int, seed: int, known: Sequence[Known] = ()
    ) -> None:
        self.ladder, self.goals = ladder, goals
        self._history, self._asked = History(space, goals, ladder, seed, known), trials
        self._apart = Apart(alone, ladder.top)
        self._cube = Cube.of(space)
        self._believer, self._leader = Believer(ladder.names), Believer(ladder.names[:-1])
        self._beliefs_now: dict[tuple[str, int], Belief] = {}
        self._nothing_below: tuple[object, ...] | None = None
        self._everything = self._cube.everything
        count = max(PER_FACTOR * self._cube.dimensions, FEWEST) + 1
        self._opening = self._cube.spread(count, np.random.default_rng(seed))

    def recall(self, ask: Ask) -> None:
        """See `Strategy`."""
        self._history.add(ask)
        if ask.fidelity == self.ladder.highest:
            self._apart.recall(ask)

    def tell(self, number: int, told: Told) -> None:
        """See `Strategy`."""
        self._beliefs_now.clear()
        self._history.trials.tell(number, told)
        if self._history.trials[number].ask.fidelity == self.ladder.highest:
            self._apart.tell(number, told)

    def ask(self) -> Ask | None:
        """See `Strategy`; None when as many runs as were asked for were made at the highest fidelity."""
        history = self._history
        if len(history.trials.at(self.ladder.highest)) >= self._asked:
            return None
        chosen = default(history) or first(history, self._opening) or self._apart.replicate()
        if chosen is None and (new := self._new()) is not None:
            chosen = tested(history, new)
        return None if chosen is None else history.next(chosen)

    def _new(self) -> Choice | None:
        """A point that was not run at the rung before.

        Where nothing below is believed, what is known at the highest rung alone decides: by turns the model's choice, as soon as
        there are enough runs for one, and that of the search at one fidelity.
        """
        if not any(trust.used for trust in self.trusts(self._history.asked_goals.goals)):
            made = len(self._history.trials.at(self.ladder.highest))
            if made % 2 or made < _modelled(len(self._history.space.dimensions)):
                return self._apart.ask()
        return self._leading() or self._promoted() or self._improve(self.ladder.top, self._history.goals) or self._apart.ask()

    def trusts(self, of: Sequence[Goal | Limit]) -> tuple[Trust, ...]:
        """What is thought of every lower fidelity, for the responses of some goals and limits."""
        beliefs = self._beliefs(dict.fromkeys(one.response for one in of))
        return tuple(trust for belief in beliefs.values() for trust in belief.trusts)

    def _beliefs(self, responses: Iterable[str], top: int | None = None) -> dict[str, Belief]:
        """Of each response, as the ladder knows it, or one that ends with rung ``top``."""
        top = self.ladder.top if top is None else top
        wanted = list(responses)
        if lacking := [name for name in wanted if (name, top) not in self._beliefs_now]:
            evidence, vectors = self._history.evidence().below(top + 1), self._history.vectors(self._history.points())
            believer = self._believer if top == self.ladder.top else self._leader
            self._beliefs_now |= {(name, top): believer.belief(name, evidence, vectors) for name in lacking}
        return {name: self._beliefs_now[name, top] for name in wanted}

    def _leading(self) -> Choice | None:
        """A run that finds out where the fidelity below the highest has its own best, as long as it is believed and that gains."""
        history, rung = self._history, self.ladder.top - 1
        *lower, top = self.ladder.spent(history.trials)
        if sum(lower) > LEADING * (top + self._seconds()[-1]) or self._shut()[rung] or not (told := self._told(rung)).goals:
            return None
        failed = [limit for limit in history.goals.limits if limit.response == FAILED]
        wanted = replace(told, limits=(*told.limits, *failed))
        known = (wanted, *(len(history.trials.at(name)) for name in self.ladder.names[:-1]), len(history.trials.going))
        if known == self._nothing_below:  # nothing new was learnt there since nothing was to be gained
            return None
        chosen = self._improve(rung, wanted)
        if chosen is None or chosen.why["gain"] < ENOUGH:
            self._nothing_below = known
            return None
        return replace(chosen, why={**chosen.why, "what": "lead"})

    def _promoted(self) -> Choice | None:
        """Every second run at the highest rung: what is best by the words of the rung below alone, if that was not run there yet.

        The model knows how the two differ where both were asked. This finds out where it takes too much for granted between.
        """
        rung, made = self.ladder.top - 1, len(self._history.trials.at(self.ladder.highest))
        if not made % 2 or not (told := self._told(rung)).goals:
            return None
        return promoted(self._history, rung, told)

    def _told(self, rung: int) -> Goals:
        """Goals and limits of which a lower rung is believed."""
        goals, limits = self._history.measured(rung)
        name = self.ladder.names[rung]
        believed = {trust.response for trust in self.trusts([*goals, *limits]) if trust.used and trust.fidelity == name}
        return Goals(
            tuple(goal for goal in goals if goal.response in believed),
            tuple(limit for limit in limits if limit.response in believed),
        )

    def _improve(self, top: int, goals: Goals) -> Choice | None:
        """What is worth most per second for the best at a rung, as if all runs that go on had ended as expected."""
        history, rng = self._history, np.random.default_rng([self._history.seed, self._asked_up_to(top), top])
        going = [trial for trial in history.trials.going if self.ladder.number(trial.ask.fidelity) <= top]
        x = history.vectors([trial.ask.levels for trial in going])
        rungs = np.array([self.ladder.number(trial.ask.fidelity) for trial in going], dtype=np.int64)
        beliefs = {name: belief.believing(x, rungs) for name, belief in self._beliefs(goals.responses, top).items()}
        chooser = Chooser(goals, beliefs, self.ladder.names[: top + 1], self._seconds()[: top + 1], rng)
        points = [levels for levels in history.points() if top == self.ladder.top or self._ran_up_to(levels, top)]
        weighed = chooser.weighed(self._field([*points, *self._unknown(points, self._spread(rng))], top))
        if self._everything is None:
            near = self._unknown(weighed.field.points, self._cube.neighbours(weighed.best(PARENTS), SPREAD, rng))
            weighed = chooser.weighed(weighed.field.joined(self._field(near, top)))
        return chooser.choice(weighed)

    def _asked_up_to(self, top: int) -> int:
        return sum(len(self._history.trials.at(name)) for name in self.ladder.names[: top + 1])

    def _ran_up_to(self, levels: Levels, top: int) -> bool:
        return any(self._history.ran(levels, rung) for rung in range(top + 1))

    def _spread(self, rng: np.random.Generator) -> Sequence[Levels]:
        return self._cube.spread(SPREAD, rng) if self._everything is None else self._everything

    def _unknown(self, known: Sequence[Levels], points: Sequence[Levels]) -> list[Levels]:
        names = set(map(key, known))
        return [levels for levels in points if key(levels) not in names]

    def _field(self, points: Sequence[Levels], top: int) -> Field:
        """The points, each closed at rungs where it was run, or is now.

        To run a point once more adds nothing to the hypervolume: whether that is wanted is for `replicates` to say.
        """
        shut = self._shut()
        closed = np.zeros((top + 1, len(points)), dtype=np.bool_)
        known = np.zeros(len(points), dtype=np.bool_)
        for at, levels in enumerate(points):
            for rung in range(top + 1):
                trials = self._history.ran(levels, rung)
                closed[rung, at] = shut[rung] or bool(trials)
                known[at] |= rung == top and any(trial.told is None or trial.told.status == "done" for trial in trials)
        return Field(points, self._history.vectors(points), closed, known)

    def _shut(self) -> list[bool]:
        """Rungs where no run is to be made: those where all fail, and lower ones that have had their share of time."""
        history, seconds = self._history, self._seconds()
        *lower, top = self.ladder.spent(history.trials)
        enough = sum(lower) > LOWER * (top + seconds[-1])
        dead = self.ladder.dead(history.trials)
        return [*(enough or one for one in dead[:-1]), False]

    def _seconds(self) -> list[float]:
        """What a run costs at each rung; where none has ended, as much as at the next that is known."""
        known = self.ladder.seconds(self._history.trials)
        measured = [one for one in known if one is not None]
        return [next((one for one in known[rung:] if one is not None), max(measured, default=1.0)) for rung in range(len(known))]


def _modelled(dimensions: int) -> int:
    """Runs at the highest fidelity from which on a model of these alone is asked: as many as a parabola has terms of second order.

    With fewer, and many dimensions, it would spend most runs on corners of the space, of which it knows least.
    """
    return dimensions * (dimensions + 1) // 2
