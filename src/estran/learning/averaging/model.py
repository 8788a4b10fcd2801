"""From online to batch: a learner that answers by the average of what its inner learner's weights were."""

from __future__ import annotations

import fnmatch
import functools
import importlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning import inner, registry
from estran.learning.about import About
from estran.learning.averaging.windows import WINDOWS, Average
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, Learner, LearnerError, NotFiniteError, State, StateError
from estran.learning.linear.model import Linear, is_plain
from estran.learning.linear.second_order import SOP
from estran.learning.linear.sparse import Sparse
from estran.learning.mlp import Mlp
from estran.learning.rows import checked_chunk, checked_rows
from estran.learning.settings import one_of, within
from estran.learning.snapshots import check_fits


class Averaged(Habits):
    """Answers by the average weights of another learner, which goes on learning as if nobody averaged it.

    Only weights are averaged, never variances, counters, shares or an optimizer's memory: where answers need those, they are the
    latest. The average is of the weights after each row that was learned, w₁ … wₙ; before the first row the answers are the inner
    learner's. Around linear learners averaging is compiled, and costs O(d) more a row. Around others it costs a snapshot a row, and
    a row answered in `predict_then_learn` another one loaded.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learner
        Which, by name and settings.
    window
        ``all``: the mean of all w. ``suffix``: the mean of the latest half to three quarters of them: those since the power of two
        before the last. ``fading``: a mean in which wₜ enters with weight (1 + decay) / (t + decay).
    decay
        Of ``fading``: how much later weights count; 0 is the mean of all.
    parts
        Names of the snapshot's parts that are averaged, like [weights] or ["w*", "b*"]. Known for linear learners (but
        `sop`, which answers by its covariance, too, and sparse ones) and for `mlp` and `softmax`; to be given for others.

    Raises
    ------
    SettingsError
        If there is no such learner, or it does not take a setting.
    RequestError
        If a setting is out of range, or the learner has nothing that may be averaged.

    Notes
    -----
    Cesa-Bianchi, Conconi, Gentile, *On the generalization ability of on-line learning algorithms*, IEEE Trans. Information Theory
    50:2050, 2004: where the loss is convex, the mean of all hypotheses has, with high probability, a risk hardly above the
    average loss that was suffered online. Theirs are the hypotheses before each row, w₀ … wₙ₋₁; here the last row counts too.
    Rakhlin, Shamir, Sridharan, *Making gradient descent optimal for strongly convex stochastic optimization*, ICML 2012: suffixes.
    Shamir, Zhang, *Stochastic gradient descent for non-smooth optimization*, ICML 2013: polynomial decay, for which they took 3.

    Examples
    --------
    >>> model = Averaged(2, 2, np.random.default_rng(0), learner={"perceptron": {"bias": False}})
    >>> model.learn_many(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0]))
    >>> model.base.state()["weights"].tolist(), model.averages()["weights"].tolist()
    ([[1.0, -1.0]], [[1.0, -0.5]])
    """

    name = "averaged"
    about = About("averaging", 0, "the inner learner's, and O(weights)", "Cesa-Bianchi, Conconi, Gentile 2004")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learner: registry.Choice = "perceptron",
        window: Literal["all", "suffix", "fading"] = "all",
        decay: float = 3.0,
        parts: Sequence[str] | None = None,
    ) -> None:
        one_of(self.name, "window", window, WINDOWS)
        decay = within(self.name, "decay", decay, 0.0, np.inf, closed=True)
        self.features, self.classes = features, classes
        self.base: Learner = registry.create(learner, features, classes, rng)
        # It never learns: every part of it is replaced by a snapshot, and weights by averages, before it answers.
        self._speaker = registry.create(learner, features, classes, np.random.default_rng(0))
        chosen = _averageable(registry.read(learner)[0], self.base, parts)
        self._average = Average({part: array.shape for part, array in chosen.items()}, window, decay)
        self._current = False
        # A loop of its own knows what it averages: weights, of all prototypes, and nothing else.
        self._compiled = is_plain(self.base) and self.averaged == ("weights",)

    @property
    def averaged(self) -> tuple[str, ...]:
        """Names of the snapshot's parts that are averaged."""
        return tuple(self._average.shapes)

    def averages(self) -> State:
        """The average weights by which rows are answered, by name; empty before the first row."""
        return self._average.value()

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Answer each row of a chunk by the averages before it is learned, shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit, or the learner fails at a row. Nothing of the chunk is then learned.
        NotFiniteError
            If a value is not finite, or the weights or their averages diverge. Nothing of the chunk is then learned.
        """
        if self._compiled and isinstance(self.base, Linear):
            average = self._average.copy()
            answers = average.learn("weights", functools.partial(self.base.learn_by, _kernel().learn, x, y))
            self._average, self._current = average, False
            return answers
        answers = np.empty(np.shape(y), dtype=np.int64)
        self._learn(x, y, answers)
        return answers

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, one row at a time; raises as `predict_then_learn` does."""
        if self._compiled:
            self.predict_then_learn(x, y)
        else:
            self._learn(x, y, None)

    def predict(self, x: Features) -> Labels:
        """Class of each row by the average weights, shape (n,)."""
        return self._speak().predict(checked_rows(x, self.features, self.name))

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities by the average weights, shape (n, classes)."""
        return self._speak().predict_proba(checked_rows(x, self.features, self.name))

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """Scores by the average weights; logarithms of probabilities where the learner has no scores."""
        return inner.scores(self._speak(), checked_rows(x, self.features, self.name))

    def state(self) -> State:
        """The learner's parts as ``learner.…``, averages as ``mean.…`` (and ``older.…`` of suffixes), rows learned as ``rows``."""
        return {**inner.within("learner", self.base.state()), **self._average.state()}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        own = self._average.state()
        inner.check_nothing_else(self.name, state, ["learner"], own)
        check_fits(self.name, own, {part: array for part, array in state.items() if part in own})
        rows = float(state["rows"][0])
        if rows < 0 or rows != np.floor(rows):
            raise StateError(f"it has learned {rows} rows", where=self.name, remedy="load snapshots as state() makes them")
        self.base.load(inner.under("learner", state))
        self._average.load(state)
        self._current = False

    @classmethod
    def check_choices(cls, learner: registry.Choice = "perceptron", **settings: Any) -> None:
        """Make sure that the learner exists and takes its settings.

        Raises
        ------
        SettingsError
            Naming it, and what it does not have.
        """
        registry.check(learner)

    @classmethod
    def warm(cls) -> None:
        """Compile the loop around linear learners, or load it from numba's cache; another learner's is not known here."""
        learner = cls(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        learner.predict(np.zeros((1, 1)))

    def _learn(self, x: Features, y: Labels, answers: Labels | None) -> None:
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        latest = before = self.base.state()
        average = self._average.copy()
        try:
            for i in range(len(rows)):
                if answers is not None:
                    self._speaker.load({**latest, **average.value()})
                    answers[i] = self._speaker.predict(rows[i : i + 1])[0]
                self.base.learn_many(rows[i : i + 1], labels[i : i + 1])
                latest = self.base.state()
                average.add(latest, self.name)
            if not average.finite():
                remedy = "scale the inputs to about 1, or take smaller steps; nothing of this chunk was learned"
                raise NotFiniteError(f"averages overflow in a chunk of {len(rows)}", where=self.name, remedy=remedy)
        except LearnerError:
            self.base.load(before)
            raise
        finally:
            self._current = False
        self._average = average

    def _speak(self) -> Learner:
        """The learner that answers, with the averages of now."""
        if not self._current:
            self._speaker.load({**self.base.state(), **self._average.value()})
            self._current = True
        return self._speaker


@functools.cache
def _kernel() -> Any:
    """The compiled part, imported (and numba with it) when it is first needed; asking again is quicker than importing again."""
    return importlib.import_module("estran.learning.averaging.kernel")


_KNOWN: Final[tuple[tuple[type, tuple[str, ...]], ...]] = ((Linear, ("weights",)), (Mlp, ("w*", "b*")))
"""What may be averaged of each kind of learner."""
_REFUSED: Final[tuple[tuple[type, str], ...]] = (
    (SOP, "answers by its weights and its latest covariance together, which averages of weights alone do not fit"),
    (Sparse, "makes its weights from all gradients so far, which averages do not fit; nor would they be sparse"),
)
"""Learners with weights whose averages mean nothing, and why."""


def _averageable(name: str, learner: Learner, parts: Sequence[str] | None) -> State:
    """The parts of a fresh learner's snapshot that are to be averaged.

    Raises
    ------
    RequestError
        If there are none, or one that was named is not there.
    """
    state = inner.snapshot_before(learner)
    if not state:
        what = f"{name} has no snapshot before it has learned, so there is nothing to average"
        raise RequestError(what, where=Averaged.name, remedy="choose a learner of the house, such as arow or softmax")
    if parts is None and (why := next((why for kind, why in _REFUSED if isinstance(learner, kind)), None)):
        raise RequestError(f"{name} {why}", where=Averaged.name, remedy="choose another learner, such as arow")
    patterns = parts if parts is not None else next((known for kind, known in _KNOWN if isinstance(learner, kind)), None)
    listed = ", ".join(sorted(state))
    if patterns is None:
        what = f"it is not known which parts of {name} are weights that may be averaged"
        raise RequestError(what, where=Averaged.name, remedy=f"name them as parts; its snapshot has {listed}")
    found: dict[str, NDArray[Any]] = {}
    for pattern in patterns:
        matching = {part: state[part] for part in fnmatch.filter(sorted(state), pattern) if state[part].dtype.kind == "f"}
        if not matching:
            what = f"{name} has no part {pattern!r} of real numbers"
            raise RequestError(what, where=Averaged.name, remedy=f"its snapshot has {listed}")
        found |= matching
    return found
