"""A learner that lets one of several answer, chosen by Exp3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.about import About
from estran.learning.bandits.adversarial import Exp3
from estran.learning.learner import Features, Labels
from estran.learning.settings import one_of
from estran.learning.team import Team, answers_then_learned, check_members

_LEARNERS: Final = ("softmax", "arow")
_LEARNING: Final = ("all", "chosen")


class Exp3Selected(Team):
    """For each row Exp3 draws one of several learners, which alone answers; its being right is all that Exp3 learns of.

    The choice for the next row is drawn when the last one has been learned. So until a label comes, the same member answers.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learners
        Which, by name and settings.
    gamma
        Part of the draws that explores, as for `Exp3`.
    learning
        Who learns from a row: ``all``, or only the ``chosen`` one, which costs no more than one learner. But then members that are
        seldom chosen stay behind, and Exp3's bound, which compares with the best member as it learned here, says less.

    Raises
    ------
    SettingsError
        If a choice is wrong.
    RequestError
        If a setting is out of range.

    Notes
    -----
    Auer, Cesa-Bianchi, Freund, Schapire 2002; see `Exp3`. Where all members' answers are seen, as here with ``all``,
    `estran.learning.experts.voting.Hedged` learns faster; this one is for seeing what little feedback costs.

    Examples
    --------
    >>> model = Exp3Selected(2, 2, np.random.default_rng(0), learners=["majority-of-none", "arow"])
    Traceback (most recent call last):
    estran.learning.mistakes.SettingsError: learner: there is no learner 'majority-of-none'
    ...
    >>> model = Exp3Selected(2, 2, np.random.default_rng(0), learners=[{"arow": {"bias": False}}, "arow"])
    >>> x = np.random.default_rng(1).normal(size=(2000, 2))
    >>> model.learn_many(x, (x[:, 0] > 1).astype(np.int64))
    >>> bool(model.probabilities()[1] > 0.9)
    True
    """

    name = "exp3-selected"
    about = About("bandits", 0, "the members', or one's", "Auer et al. 2002b, fig. 1")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learners: Sequence[registry.Choice] = _LEARNERS,
        gamma: float | None = None,
        learning: Literal["all", "chosen"] = "all",
    ) -> None:
        super().__init__(features, classes, rng, learners)
        self._all = one_of(self.name, "learning", learning, _LEARNING) == 0
        self.goes_by: Exp3 = Exp3(len(self.members), rng, gamma=gamma)

    def probabilities(self) -> NDArray[np.float64]:
        """Probability of each member to answer the next row, shape (members,)."""
        return self.goes_by.probabilities()

    @property
    def chosen(self) -> int:
        """The member that answers the next row."""
        before = self.goes_by.state()
        arm = self.goes_by.choose()
        self.goes_by.load(before)
        return arm

    @classmethod
    def check_choices(
        cls,
        learners: Sequence[registry.Choice] = _LEARNERS,
        gamma: float | None = None,
        learning: Literal["all", "chosen"] = "all",
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
        """Let Exp3 and the default members compile what they need; which others will answer is not known here."""
        Exp3.warm()
        for name in _LEARNERS:
            registry.warm(name)

    def _learn(self, rows: Features, labels: Labels) -> Labels:
        answers = np.empty(len(rows), dtype=np.int64)
        known = [answers_then_learned(member, rows, labels) for member in self.members] if self._all else []
        for i, label in enumerate(labels.tolist()):
            arm = self.goes_by.choose()
            if self._all:
                answers[i] = known[arm][i]
            else:
                answers[i] = answers_then_learned(self.members[arm], rows[i : i + 1], labels[i : i + 1])[0]
            self.goes_by.learn(None, arm, float(answers[i] == label))
        return answers

    def _odds(self, rows: Features) -> NDArray[np.float64]:
        return self.members[self.chosen].predict_proba(rows)
