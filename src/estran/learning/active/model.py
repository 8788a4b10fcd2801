"""A learner that pays for labels: it asks for the label of a row only where its rule says that it is worth it."""

from __future__ import annotations

import functools
import importlib
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning import inner, registry
from estran.learning.about import About
from estran.learning.active.rules import ASKED, NAMES, RATIONED, SEEN, Rule, fresh, possible
from estran.learning.habits import Habits, Row, one_row
from estran.learning.learner import Features, Labels, Learner, LearnerError, State, StateError
from estran.learning.linear.model import Linear, is_plain
from estran.learning.linear.second_order import SOP, SecondOrder
from estran.learning.rows import checked_chunk, checked_rows
from estran.learning.settings import one_of, within
from estran.learning.snapshots import check_fits

RuleName = Literal["always", "random", "margin", "second-order", "variable-uncertainty", "split"]


class Active(Habits):
    """Answers by another learner, which sees a row's label only where the rule asks for it.

    `ask` and `tell` are for labels that have to be fetched. `learn_many`, `learn_one` and `predict_then_learn` are for
    experiments, where every label is at hand: they use those that were asked for and no others.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learner
        Which, by name and settings. ``pa1`` with rule ``margin`` is PAA of Lu et al., ``perceptron`` the selective sampling
        perceptron, ``sop`` with rule ``second-order`` the selective sampling second-order perceptron of Cesa-Bianchi et al.
    rule
        ``margin``: asks with probability b / (b + g), where g is how far the best class's score is ahead of the second best: |w·x|
        for two classes. Learners that have no ``decision_function`` are scored by the logarithms of their probabilities.
        ``second-order``: asks with probability b / (b + p + p²(1 + v)/2), where v is the row's variance and p = g / (1 + v) (of
        ``sop``, whose scores count the row itself in already, p = g); for linear learners of order 2.
        ``variable-uncertainty``: asks where the highest probability is below a threshold, which falls by ``step`` of itself
        whenever it asks and rises by as much whenever it does not.
        ``random``: asks with probability ``budget``. ``split``: does so with a ``share`` of rows, and is
        ``variable-uncertainty`` with the others. ``always``: asks.
    b
        Scale of the scores at which the first two rules ask for every other label.
    budget
        Most labels to be asked for, as a share of rows; None for no limit.
    window
        Rows over which the budget is kept, fading: a label counts (1 − 1/window) to the power of its age, and one that would take
        the count over budget · window is not asked for. Among any n first rows, at most budget · (n + window) are asked for.
    step
        Of the variable threshold.
    share
        Rows at random of rule ``split``.

    Raises
    ------
    SettingsError
        If there is no such learner, or it does not take a setting.
    RequestError
        If a setting is out of range, a budget is missing or no label fits into it, or the learner has no variances.

    Notes
    -----
    Cesa-Bianchi, Gentile, Zaniboni, *Worst-case analysis of selective sampling for linear classification*, JMLR 7:1205, 2006:
    rules ``margin`` and ``second-order``. Lu, Zhao, Hoi, *Online passive-aggressive active learning*, Machine Learning 103:141,
    2016. Žliobaitė, Bifet, Pfahringer, Holmes, *Active learning with drifting streaming data*, IEEE TNNLS 25:27, 2014: the last
    three, with step 0.01 and window 100. They look at the budget before the label is booked, so each may exceed it by one label
    a window; here none does. What they detect drift with in the random share is `drift-reacting`'s work here.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2000, 3))
    >>> y = (x[:, 0] > 0).astype(np.int64)
    >>> model = Active(3, 2, rng, learner="perceptron", rule="margin", b=0.5)
    >>> model.learn_many(x, y)
    >>> model.seen, model.asked < 500, bool((model.predict(x) == y).mean() > 0.95)
    (2000, True, True)
    >>> model.ask(np.array([5.0, 0.0, 0.0]))
    False
    """

    name = "active"
    about = About("active", 0, "the inner learner's, and O(d)", "Cesa-Bianchi, Gentile, Zaniboni 2006")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learner: registry.Choice = "pa1",
        rule: RuleName = "margin",
        b: float = 1.0,
        budget: float | None = None,
        window: int = 100,
        step: float = 0.01,
        share: float = 0.2,
    ) -> None:
        self.features, self.classes = features, classes
        self._rule, settings = _checked(rule, b, budget, window, step, share)
        self._numbers = fresh(float(rng.integers(2**53)))
        self.base: Learner = registry.create(learner, features, classes, rng)
        if self._rule is Rule.SECOND_ORDER and not isinstance(self.base, SecondOrder):
            what = f"{registry.read(learner)[0]} has no variances, which rule second-order looks at"
            remedy = "choose a linear learner of order 2, such as sop or arow, or rule margin"
            raise RequestError(what, where=self.name, remedy=remedy)
        self._plan = np.array([float(self._rule), *settings, float(isinstance(self.base, SOP))])
        # Exponentials may differ in their last bit between NumPy and compiled code, so thresholds of probabilities are left out.
        self._compiled = self._rule not in _UNSURE and is_plain(self.base)

    @property
    def seen(self) -> int:
        """Rows for which a label could have been asked for."""
        return int(self._numbers[SEEN])

    @property
    def asked(self) -> int:
        """Labels that were asked for."""
        return int(self._numbers[ASKED])

    def ask(self, x: Row) -> bool:
        """Whether the label of the next row of the stream is wanted; counts it as seen, and as asked for if it is.

        Raises
        ------
        LearnerError
            If the row does not fit; it is then not counted.
        """
        return self._ask(checked_rows(one_row(x, self.features, self.name), self.features, self.name))

    def tell(self, x: Row, y: int) -> None:
        """Learn the label of a row that was asked for; rows seen in between do not matter.

        Raises
        ------
        LearnerError
            If row or label do not fit; nothing is then learned.
        """
        self.base.learn_many(*checked_chunk(one_row(x, self.features, self.name), np.array([y]), *self._sizes()))

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk those labels that are asked for; raises as `predict_then_learn` does."""
        self.predict_then_learn(x, y)

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Answer each row of a chunk, ask or not, and learn it if its label was asked for.

        Parameters
        ----------
        x
            Shape (n, features), dense or sparse.
        y
            Class indices, shape (n,). All of them must be classes, also those that are not asked for.

        Returns
        -------
        Labels
            The answer to each row before it was learned from, shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit; nothing of it is then learned. If the learner fails at a row, it is back where it was before
            the chunk, unless it has no snapshots: the rows before have then been learned.
        """
        if self._compiled and isinstance(self.base, Linear):
            booked = self._numbers.copy()
            answers = self.base.learn_by(_kernel("linear_kernel").learn, x, y, self._plan, booked)
            self._numbers[...] = booked
            return answers
        rows, labels = checked_chunk(x, y, *self._sizes())
        numbers, before = self._numbers.copy(), inner.snapshot_before(self.base) if len(rows) > 1 else None
        answers = np.empty(len(rows), dtype=np.int64)
        try:
            for i in range(len(rows)):
                row = rows[i : i + 1]
                if self._ask(row):
                    answers[i] = inner.answer_then_learn(self.base, row, labels[i : i + 1])[0]
                else:
                    answers[i] = self.base.predict(row)[0]
        except LearnerError:
            if before is not None:
                self.base.load(before)
            self._numbers[...] = numbers
            raise
        return answers

    def predict(self, x: Features) -> Labels:
        """The inner learner's answers, shape (n,)."""
        return self.base.predict(checked_rows(x, self.features, self.name))

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """The inner learner's class probabilities, shape (n, classes)."""
        return self.base.predict_proba(checked_rows(x, self.features, self.name))

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """Scores by which rule ``margin`` asks: the inner learner's, or logarithms of its probabilities where it has none."""
        return inner.scores(self.base, checked_rows(x, self.features, self.name))

    def state(self) -> State:
        """The learner's parts as ``learner.…``, and the rule's ``asking``: seed, draws, rows seen, asked for, spent, threshold.

        Raises
        ------
        StateError
            If the learner has none.
        """
        return {**inner.within("learner", self.base.state()), "asking": self._numbers.copy()}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        inner.check_nothing_else(self.name, state, ["learner"], ["asking"])
        check_fits(self.name, {"asking": self._numbers}, {part: array for part, array in state.items() if part == "asking"})
        if not possible(state["asking"]):
            what = "asking of the snapshot counts more labels than rows, or parts of either"
            raise StateError(what, where=self.name, remedy="load snapshots as state() makes them")
        self.base.load(inner.under("learner", state))
        self._numbers[...] = state["asking"]

    @classmethod
    def check_choices(cls, learner: registry.Choice = "pa1", **settings: Any) -> None:
        """Make sure that the learner exists and takes its settings.

        Raises
        ------
        SettingsError
            Naming it, and what it does not have.
        """
        registry.check(learner)

    @classmethod
    def warm(cls) -> None:
        """Compile the rules and the default learner, or load them from numba's cache; which learner will ask is not known here."""
        registry.warm("pa1")
        learner = cls(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))

    def _sizes(self) -> tuple[int, int, str]:
        return self.features, self.classes, self.name

    def _ask(self, row: Features) -> bool:
        """Decide on a chunk of one row, looking only at what the rule needs."""
        gap = variance = top = 0.0
        if self._rule in (Rule.MARGIN, Rule.SECOND_ORDER):
            gap, first, second = inner.lead(inner.scores(self.base, row)[0])
            if isinstance(self.base, SecondOrder) and self._rule is Rule.SECOND_ORDER:
                found = self.base.read_by(_kernel("linear_kernel").variances, row)[0]
                variance = float(found[first] + found[second]) if first != second else float(found[first])
        elif self._rule in _UNSURE:
            top = float(self.base.predict_proba(row).max())
        return bool(_kernel("kernel").ask(self._plan, self._numbers, gap, top, variance))


_UNSURE: Final = (Rule.VARIABLE_UNCERTAINTY, Rule.SPLIT)


@functools.cache
def _kernel(name: str) -> Any:
    """A compiled part, imported (and numba with it) when it is first needed; asking again is quicker than importing again."""
    return importlib.import_module(f"estran.learning.active.{name}")


def _checked(rule: str, b: float, budget: float | None, window: int, step: float, share: float) -> tuple[Rule, list[float]]:
    """The rule, and its settings in the order of the plan."""
    where = Active.name
    code = Rule(one_of(where, "rule", rule, NAMES))
    if budget is None and code in RATIONED:
        raise RequestError(
            f"rule {rule} has no budget", where=where, remedy="give the share of rows to be asked for, like budget: 0.1"
        )
    rows = within(where, "window", window, 1.0, 2.0**53, closed=True)
    limit = 1.0 if budget is None else within(where, "budget", budget, 0.0, np.nextafter(1.0, 2.0))
    if limit * rows < 1.0:
        what = f"a budget of {limit:g} over a window of {rows:g} rows is less than one label"
        raise RequestError(what, where=where, remedy=f"give a window of at least {np.ceil(1 / limit):g} rows")
    return code, [
        within(where, "b", b, 0.0, np.inf),
        limit,
        rows,
        within(where, "step", step, 0.0, 1.0),
        within(where, "share", share, 0.0, np.nextafter(1.0, 2.0), closed=True),
    ]
