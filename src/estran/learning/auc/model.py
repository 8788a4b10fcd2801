"""Learners of two classes that learn to rank: a row of class 1 is to score higher than one of class 0, however rare it is."""

from __future__ import annotations

import functools
import importlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, NotFiniteError, State, StateError
from estran.learning.rows import checked_chunk, checked_rows, shaped_chunk, shaped_rows, softmax, writable
from estran.learning.settings import one_of, positive, whole, within
from estran.learning.snapshots import check_fits


class Ranker(Habits):
    """What learners of rankings share: the arrays, the checks, and where they part the classes.

    Rows are ranked by w·x; there is no bias, which ranks nothing. `decision_function` is w·x less the threshold of now, which is
    half way between the mean scores of the two classes so far, w·(c₀ + c₁)/2: however rare a class is, it does not move. Who
    wants another balance of errors sets an own threshold on `decision_function`.

    Subclasses are the methods; their settings are keywords.
    """

    def __init__(self, features: int, classes: int, rng: np.random.Generator, remembered: Mapping[str, tuple[int, ...]]) -> None:
        if classes != 2:
            what = f"it ranks rows of two classes, not of {classes}"
            raise RequestError(what, where=self.name, remedy="choose a learner of many classes, such as arow")
        self.features, self.classes = features, classes
        shapes: dict[str, tuple[int, ...]] = {"clock": (4,), "weights": (features,), "means": (2, features)}
        self._shapes = {**shapes, **remembered}
        size = sum(int(np.prod(shape)) for shape in self._shapes.values())
        self._live, self._spare = np.zeros(size), np.zeros(size)
        self._views(self._live)["clock"][0] = float(rng.integers(2**53))

    def score_then_learn(self, x: Features, y: Labels) -> NDArray[np.float64]:
        """What `decision_function` says of each row of a chunk before learning from it, shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit. Nothing of it is then learned.
        NotFiniteError
            If a value is not finite, or the weights diverge. Nothing of the chunk is then learned.
        """
        rows, labels = shaped_chunk(x, y, self.features, self.name)
        rows, labels = writable(rows), writable(labels)
        scores = np.empty(len(rows))
        bad = self._learn(rows, labels, scores)
        if bad >= 0:
            checked_chunk(rows, labels, self.features, self.classes, self.name)
            raise self._overflow(bad, len(rows))
        self._live, self._spare = self._spare, self._live
        return scores

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Answer each row of a chunk before learning from it, shape (n,); raises as `score_then_learn` does."""
        return np.asarray(self.score_then_learn(x, y) > 0, dtype=np.int64)

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order; raises as `score_then_learn` does."""
        self.score_then_learn(x, y)

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """What rows are ranked by, shape (n,), positive for class 1; 0 before rows of both classes have been seen."""
        rows = writable(shaped_rows(x, self.features, self.name))
        scores = np.empty(len(rows))
        bad = _kernel().decide(self._live, rows, scores)
        if bad >= 0:
            checked_rows(rows, self.features, self.name)
            raise self._overflow(bad, len(rows))
        return scores

    def predict(self, x: Features) -> Labels:
        """Class on whose side of the threshold each row scores, shape (n,)."""
        return np.asarray(self.decision_function(x) > 0, dtype=np.int64)

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """The logistic function of `decision_function`, shape (n, 2): in the right order, but not calibrated."""
        scores = self.decision_function(x)
        odds = softmax(np.column_stack([np.zeros(len(scores)), scores]))
        # Scores too small for a probability to show are on their side all the same.
        tied = (scores > 0) & (odds[:, 1] <= odds[:, 0])
        odds[tied, 1] = np.nextafter(odds[tied, 0], 2.0)
        return odds

    def state(self) -> State:
        """Copies of all that is remembered: ``clock`` (seed, draws, rows of each class), ``weights``, ``means``, and its own."""
        return {name: view.copy() for name, view in self._views(self._live).items()}

    def load(self, state: State) -> None:
        """Replace all that is remembered.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape or not finite, or the clock's counts are none.
        """
        parts = self._views(self._spare)
        check_fits(self.name, parts, state)
        clock = state["clock"]
        if (clock < 0).any() or (clock != np.floor(clock)).any() or (clock >= 2.0**53).any():
            remedy = "load snapshots as state() makes them"
            raise StateError(f"clock of the snapshot is {clock.tolist()}, not counts", where=self.name, remedy=remedy)
        for name, part in parts.items():
            part[...] = state[name]
        self._live, self._spare = self._spare, self._live

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cast("Any", cls)(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        learner.predict(np.zeros((1, 1)))

    @abstractmethod
    def _learn(self, rows: Features, labels: Labels, scores: NDArray[np.float64]) -> int:
        """Learn from the live numbers into the spare ones; what the kernel returns."""

    def _views(self, numbers: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Every part of the numbers, by name, sharing their memory."""
        views, at = {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            views[name] = numbers[at : at + size].reshape(shape)
            at += size
        return views

    def _overflow(self, bad: int, n: int) -> NotFiniteError:
        return NotFiniteError(
            f"scores or weights overflow at row {min(bad, n - 1)} of a chunk of {n}",
            where=self.name,
            remedy="scale the inputs to about 1, or take smaller steps; nothing of this chunk was learned",
        )


class OAM(Ranker):
    """Online AUC maximisation: parts each row from a random sample of those of the other class that came before it.

    Parameters
    ----------
    features, classes, rng
        As for every learner; two classes.
    update
        ``sequential``: passive-aggressive, one pair after another (OAM-seq); ``gradient``: one step for all pairs (OAM-gra).
    c
        Weight of a pair's hinge loss; a pair moves the weights by c/2 at most, times what its buffer has left out.
    buffer
        Rows kept of each class, by reservoir sampling.

    Notes
    -----
    Zhao, Hoi, Jin, Yang, *Online AUC maximization*, ICML 2011. With yₜ = ±1 and every row x kept of the other
    class, of which n were seen and N are kept at most: C = c·max(1, n/N), z = yₜ(xₜ − x) and w ← w + min(C/2, (1 − w·z)₊/|z|²)·z,
    or w ← w + C/2 · Σ z over those with w·z ≤ 1. The threshold is not in the paper.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> y = (chance.random(2000) < 0.02).astype(np.int64)
    >>> x = chance.normal(size=(2000, 3)) + 2.0 * y[:, None]
    >>> model = OAM(3, 2, chance)
    >>> model.learn_many(x, y)
    >>> ranks = model.decision_function(x)
    >>> bool((ranks[y == 1][:, None] > ranks[y == 0]).mean() > 0.98)
    True
    """

    name = "oam"
    about = About("auc", 1, "O(buffer·d)", "Zhao, Hoi, Jin, Yang 2011")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        update: Literal["sequential", "gradient"] = "sequential",
        c: float = 0.001,
        buffer: int = 100,
    ) -> None:
        self._sequential = one_of(self.name, "update", update, ("sequential", "gradient")) == 0
        self._c, self._kept = positive(self.name, "c", c), whole(self.name, "buffer", buffer)
        super().__init__(features, classes, rng, {"buffers": (2, self._kept, features)})

    def _learn(self, rows: Features, labels: Labels, scores: NDArray[np.float64]) -> int:
        bad: int = _kernel().learn_oam(self._live, self._spare, self._kept, self._c, self._sequential, rows, labels, scores)
        return bad


class OPAUC(Ranker):
    """One-pass AUC optimisation: a gradient step on the square loss of each row and all of the other class that came before it.

    All of them, without keeping any: their mean and covariance say all that the square loss asks for.

    Parameters
    ----------
    features, classes, rng
        As for every learner; two classes, and nothing is drawn.
    learning_rate
        Step η of each row. Stable below about 2 / |x|².
    l2
        Weight λ of |w|²/2.

    Notes
    -----
    Gao, Jin, Zhu, Zhou, *One-pass AUC optimization*, ICML 2013, algorithm 1. With yₜ = ±1, and mean c and covariance S of the other
    class: w ← w − η(λw − yₜ(xₜ − c) + (xₜ − c)(xₜ − c)·w + S·w). No step is made before a row of the other class was seen. Costs
    and remembers O(d²). The threshold is not in the paper.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> y = (chance.random(2000) < 0.02).astype(np.int64)
    >>> x = chance.normal(size=(2000, 3)) + 2.0 * y[:, None]
    >>> model = OPAUC(3, 2, chance)
    >>> model.learn_many(x, y)
    >>> ranks = model.decision_function(x)
    >>> bool((ranks[y == 1][:, None] > ranks[y == 0]).mean() > 0.98)
    True
    """

    name = "opauc"
    about = About("auc", 1, "O(d²)", "Gao, Jin, Zhu, Zhou 2013")

    def __init__(
        self, features: int, classes: int, rng: np.random.Generator, *, learning_rate: float = 0.01, l2: float = 0.001
    ) -> None:
        self._rate = positive(self.name, "learning_rate", learning_rate)
        self._decay = within(self.name, "l2", l2, 0.0, np.inf, closed=True)
        super().__init__(features, classes, rng, {"covariances": (2, features, features)})

    def _learn(self, rows: Features, labels: Labels, scores: NDArray[np.float64]) -> int:
        bad: int = _kernel().learn_opauc(self._live, self._spare, self._rate, self._decay, rows, labels, scores)
        return bad


@functools.cache
def _kernel() -> Any:
    """The compiled part, imported (and numba with it) when it is first needed; asking again is quicker than importing again."""
    return importlib.import_module("estran.learning.auc.kernel")
