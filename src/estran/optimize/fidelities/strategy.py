"""The strategy over several fidelities: many cheap runs lead to the few dear ones that are worth their price."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from estran.optimize.fidelities.apart import Apart
from estran.optimize.fidelities.beliefs import Belief, Believer
from estran.optimize.fidelities.candidates import Cube, Levels, key
from estran.optimize.fidelities.history import Choice, History, Known
from estran.optimize.fidelities.improving import Chooser, Field
from estran.optimize.fidelities.ladder import Ladder
from estran.optimize.fidelities.opening import FEWEST, PER_FACTOR, default, first, tested
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
        self._cube, self._believer = Cube.of(space), Believer(ladder.names)
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
        return self._improve() or self._apart.ask()

    def trusts(self, of: Sequence[Goal | Limit]) -> tuple[Trust, ...]:
        """What is thought of every lower fidelity, for the responses of some goals and limits."""
        beliefs = self._beliefs(dict.fromkeys(one.response for one in of))
        return tuple(trust for belief in beliefs.values() for trust in belief.trusts)

    def _beliefs(self, responses: Iterable[str]) -> dict[str, Belief]:
        evidence, vectors = self._history.evidence(), self._history.vectors(self._history.points())
        return {name: self._believer.belief(name, evidence, vectors) for name in responses}

    def _improve(self) -> Choice | None:
        """What is worth most per second, as if all runs that go on had ended as expected."""
        history, rng = self._history, np.random.default_rng([self._history.seed, len(self._history.trials)])
        going = history.trials.going
        x = history.vectors([trial.ask.levels for trial in going])
        rungs = np.array([self.ladder.number(trial.ask.fidelity) for trial in going], dtype=np.int64)
        beliefs = {name: belief.believing(x, rungs) for name, belief in self._beliefs(history.goals.responses).items()}
        chooser = Chooser(history.goals, beliefs, self.ladder.names, self._seconds(), rng)
        points = history.points()
        weighed = chooser.weighed(self._field([*points, *self._unknown(points, self._spread(rng))]))
        if self._everything is None:
            near = self._unknown(weighed.field.points, self._cube.neighbours(weighed.best(PARENTS), SPREAD, rng))
            weighed = chooser.weighed(weighed.field.joined(self._field(near)))
        return chooser.choice(weighed)

    def _spread(self, rng: np.random.Generator) -> Sequence[Levels]:
        return self._cube.spread(SPREAD, rng) if self._everything is None else self._everything

    def _unknown(self, known: Sequence[Levels], points: Sequence[Levels]) -> list[Levels]:
        names = set(map(key, known))
        return [levels for levels in points if key(levels) not in names]

    def _field(self, points: Sequence[Levels]) -> Field:
        """The points, each closed at rungs where it was run, or is now.

        To run a point once more adds nothing to the hypervolume: whether that is wanted is for `replicates` to say.
        """
        top, shut = self.ladder.top, self._shut()
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
