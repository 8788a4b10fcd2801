"""A weighted vote of learners, whose shares follow Hedge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.about import About
from estran.learning.experts.methods import Hedge
from estran.learning.learner import Features, Labels, Learner
from estran.learning.settings import one_of, positive
from estran.learning.team import Team, answers_then_learned, check_members

_LEARNERS: Final = ("softmax", "arow")
_LOSSES: Final = ("mistakes", "log")
_RARE: Final = 1e-12
"""A class that a member takes for rarer is taken for as rare as this, so that no loss is infinite."""


class Hedged(Team):
    """Several learners answer by a vote, and whoever is wrong loses some of its say. All of them learn from every row.

    With ``loss: mistakes`` each member votes for its answer. A member drawn by its share would be expected to make at most
    √(2 T ln N) + √(ln N / 8) mistakes more than the best member over T rows; the vote makes at most twice as many as that one, and
    mostly fewer. With ``loss: log`` members vote by their probabilities; the log loss of the mix then exceeds the best member's by
    at most ln N / ``eta``, for ``eta`` up to 1, at any T.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learners
        Which, by name and settings.
    eta
        Learning rate of the shares. By default it falls with the rows (``mistakes``), or is 1 (``log``).
    share
        Fixed share: part of its share that each member passes on to the others after a row, so that one that becomes best later
        is found. It needs ``eta`` where ``loss`` is ``mistakes``.
    loss
        ``mistakes``: 1 for a wrong answer, 0 for a right one; members that can are handed whole chunks. ``log``: −ln of the
        probability of the right class, at most 27.6; members are asked row by row, which is slower.

    Raises
    ------
    SettingsError
        If a choice is wrong.
    RequestError
        If a setting is out of range.

    Notes
    -----
    Shares: see `Hedge`. With log loss and ``eta`` 1 they are the posterior of Bayes' rule, since each member's loss is how well it
    has foretold the labels (Cesa-Bianchi, Lugosi 2006, sections 3.3 and 9.2).

    Examples
    --------
    >>> model = Hedged(2, 2, np.random.default_rng(0), learners=["perceptron", "arow"])
    >>> x = np.random.default_rng(1).normal(size=(500, 2))
    >>> model.learn_many(x, (x[:, 0] + np.random.default_rng(2).normal(size=500) > 0).astype(np.int64))
    >>> model.shares().round(2).tolist()
    [0.02, 0.98]
    """

    name = "hedged"
    about = About("experts", 0, "the members'", "Cesa-Bianchi, Lugosi 2006; Herbster, Warmuth 1998")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learners: Sequence[registry.Choice] = _LEARNERS,
        eta: float | None = None,
        share: float = 0.0,
        loss: Literal["mistakes", "log"] = "mistakes",
    ) -> None:
        super().__init__(features, classes, rng, learners)
        self._log = one_of(self.name, "loss", loss, _LOSSES) == 1
        if self._log:
            # Losses are handed on in units of the greatest, so the rate is one per that unit.
            eta = positive(self.name, "eta", 1.0 if eta is None else eta) * -math.log(_RARE)
        self.goes_by: Hedge = Hedge(len(self.members), rng, eta=eta, share=share)

    def shares(self) -> NDArray[np.float64]:
        """Share of each member in the say, shape (members,)."""
        return self.goes_by.shares()

    @classmethod
    def check_choices(
        cls,
        learners: Sequence[registry.Choice] = _LEARNERS,
        eta: float | None = None,
        share: float = 0.0,
        loss: Literal["mistakes", "log"] = "mistakes",
    ) -> None:
        """Make sure that all members exist and take their settings.

        Raises
        ------
        SettingsError
            Naming which, and what it does not have.
        """
        check_members(cls.name, learners)

    @classmethod
    def warm(cls) -> None:
        """Let Hedge and the default members compile what they need; which others will vote is not known here."""
        Hedge.warm()
        for name in _LEARNERS:
            registry.warm(name)

    def _learn(self, rows: Features, labels: Labels) -> Labels:
        every = np.arange(len(rows))
        odds = [self._before(member, rows, labels) for member in self.members]
        right = np.array([of_one[every, labels] for of_one in odds]).T
        losses = np.log(np.clip(right, _RARE, 1.0)) / math.log(_RARE) if self._log else 1.0 - right
        return np.asarray(_mixed(self.goes_by.share_then_learn(losses), odds).argmax(axis=1), dtype=np.int64)

    def _odds(self, rows: Features) -> NDArray[np.float64]:
        odds = [member.predict_proba(rows) if self._log else self._votes(member.predict(rows)) for member in self.members]
        return _mixed(np.broadcast_to(self.shares(), (len(rows), len(odds))), odds)

    def _before(self, member: Learner, rows: Features, labels: Labels) -> NDArray[np.float64]:
        """A member's say on each row before it learned from it, shape (n, classes)."""
        if not self._log:
            return self._votes(answers_then_learned(member, rows, labels))
        found = np.empty((len(rows), self.classes))
        for i in range(len(rows)):
            found[i] = member.predict_proba(rows[i : i + 1])[0]
            member.learn_many(rows[i : i + 1], labels[i : i + 1])
        return found

    def _votes(self, answers: Labels) -> NDArray[np.float64]:
        return np.asarray(answers[:, None] == np.arange(self.classes), dtype=np.float64)


def _mixed(shares: NDArray[np.float64], odds: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Members' odds, each (n, classes), by their shares, (n, members); added up in one order however many rows there are."""
    found = np.zeros_like(odds[0])
    for number, of_one in enumerate(odds):
        found += shares[:, number, None] * of_one
    return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float64)
