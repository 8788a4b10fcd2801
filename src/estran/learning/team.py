"""Learners of classes that are made of several others, and of something that says whose answers count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.about import About
from estran.learning.evaluation import TestThenTrain
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, Learner, LearnerError, State, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.rows import checked_chunk, checked_rows


class Kept(Protocol):
    """What a team goes by: it has snapshots as its members have."""

    def state(self) -> State:
        """A snapshot that shares no memory with it."""
        ...

    def load(self, state: State) -> None:
        """Replace everything learned."""
        ...


class Team(Habits):
    """Several learners, each with randomness of its own; what they go by is the subclass's.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learners
        Which, by name and settings.

    Raises
    ------
    SettingsError
        If a choice is wrong, or there is none.
    """

    about: ClassVar[About]
    goes_by: Kept

    def __init__(self, features: int, classes: int, rng: np.random.Generator, learners: Sequence[registry.Choice]) -> None:
        check_members(self.name, learners)
        self.features, self.classes = features, classes
        seed = int(rng.integers(2**63))
        self.members: list[Learner] = [
            registry.create(choice, features, classes, np.random.default_rng([seed, number]))
            for number, choice in enumerate(learners)
        ]

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time; raises as `predict_then_learn` does."""
        self.predict_then_learn(x, y)

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Learn from a chunk, and return the answer to each row before it was learned from, shape (n,). Sparse rows are filled up.

        Raises
        ------
        LearnerError
            If the chunk does not fit; nothing of it is then learned. If a member fails at a row, all are back where they were
            before the chunk, unless one has no snapshots: some have then learned rows that others have not.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        try:
            before = self.state()
        except StateError:
            before = None
        try:
            return self._learn(rows, labels)
        except LearnerError:
            if before is not None:
                self.load(before)
            raise

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        return self._odds(checked_rows(x, self.features, self.name))

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """Probabilities as scores: shape (n, classes), or the second less the first, shape (n,), where there are two classes."""
        odds = self.predict_proba(x)
        return odds[:, 1] - odds[:, 0] if self.classes == 2 else odds

    def state(self) -> State:
        """Parts of the members as ``0.…``, ``1.…`` and so on, of what they go by as ``by.…``.

        Raises
        ------
        StateError
            If a member has none.
        """
        return {f"{owner}.{part}": array for owner, one in self._owners().items() for part, array in one.state().items()}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        owners = self._owners()
        parts: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
        for name, array in state.items():
            owner, _, part = name.partition(".")
            if owner not in parts:
                remedy = "load snapshots of learners with the same settings"
                raise StateError(f"the snapshot has {name}, which is no member's", where=self.name, remedy=remedy)
            parts[owner][part] = array
        before = {owner: one.state() for owner, one in owners.items()}
        done: list[str] = []
        try:
            for owner, one in owners.items():
                one.load(parts[owner])
                done.append(owner)
        except StateError:
            for owner in done:
                owners[owner].load(before[owner])
            raise

    def _owners(self) -> dict[str, Kept]:
        return {**{str(number): member for number, member in enumerate(self.members)}, "by": self.goes_by}

    def _learn(self, rows: Features, labels: Labels) -> Labels:
        raise NotImplementedError

    def _odds(self, rows: Features) -> NDArray[np.float64]:
        raise NotImplementedError


def check_members(team: str, learners: Sequence[registry.Choice]) -> None:
    """Make sure that a team's learners are a list, exist, and take their settings.

    Raises
    ------
    SettingsError
        Naming which, and what it does not have.
    """
    if isinstance(learners, (str, Mapping)) or not len(learners):
        what = f"learners is {learners!r}"
        raise SettingsError(what, where=f"learner {team}", remedy="give a list, like [arow, {mlp: {hidden: [64]}}]")
    for choice in learners:
        registry.check(choice)


def answers_then_learned(learner: Learner, rows: Features, labels: Labels) -> Labels:
    """A learner's answer to each row before it learned from it: in one call if it can, else row by row."""
    if isinstance(learner, TestThenTrain):
        return learner.predict_then_learn(rows, labels)
    found = np.empty(len(rows), dtype=np.int64)
    for i in range(len(rows)):
        found[i] = learner.predict(rows[i : i + 1])[0]
        learner.learn_many(rows[i : i + 1], labels[i : i + 1])
    return found
