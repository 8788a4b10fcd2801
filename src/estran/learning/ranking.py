"""Prequential evaluation of rankings: the area under the ROC curve of scores that were given before learning.

Accuracy says nothing where one class is rare. The area is the chance that a row of class 1 scores higher than one of class 0; a
tie counts one half. A ranking by chance has one half, whatever the classes' shares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estran.learning import inner
from estran.learning.learner import Features, Labels, Learner
from estran.learning.mistakes import SettingsError


def area(truth: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve of all rows, in O(n·log n); NaN if there are rows of one class only.

    Parameters
    ----------
    truth
        Classes 0 and 1, shape (n,).
    scores
        Higher for class 1, shape (n,).

    Notes
    -----
    The statistic of Mann and Whitney, *On a test of whether one of two random variables is stochastically larger than the other*,
    Annals of Mathematical Statistics 18:50, 1947, divided by the number of pairs.

    Examples
    --------
    >>> area(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.2, 0.3]))
    0.875
    """
    truth, scores = _checked(truth, scores)
    high, low = scores[truth == 1], np.sort(scores[truth == 0])
    if not len(high) or not len(low):
        return float("nan")
    below = np.searchsorted(low, high, side="left").sum() + np.searchsorted(low, high, side="right").sum()
    return float(below / (2 * len(high) * len(low)))


@dataclass(frozen=True)
class Ranking:
    """Scores, and what was right, row by row in the order of the stream.

    Attributes
    ----------
    truth
        Classes 0 and 1, shape (n,).
    scores
        What the learner gave before it learned the row, shape (n,); higher for class 1.
    """

    truth: Labels
    scores: NDArray[np.float64]

    def overall(self) -> float:
        """Area of all rows. A learner that changes its scale as it learns is compared with itself across time here."""
        return area(self.truth, self.scores)

    def sliding(self, window: int = 1000) -> NDArray[np.float64]:
        """Area of the last ``window`` rows as of each row, exactly, shape (n,); NaN where they are all of one class.

        Raises
        ------
        SettingsError
            If ``window`` is less than 2.

        Notes
        -----
        Brzezinski, Stefanowski, *Prequential AUC: properties of the area under the ROC curve for data streams with concept
        drift*, Knowledge and Information Systems 52:531, 2017. They keep the window in a sorted tree and sum it up at every
        row; here the pairs of the row that comes and of the one that goes are counted, O(window) a row too.
        """
        if window < 2:
            raise SettingsError(f"the window has {window} rows", where="evaluation", remedy="give 2 or more")
        from estran.learning import ranking_kernel

        truth, scores = _checked(self.truth, self.scores)
        found = np.empty(len(truth))
        ranking_kernel.sliding(scores, truth, window, found)
        return found


@runtime_checkable
class ScoreThenTrain(Protocol):
    """A learner that scores and learns in one call, row by row as if both were called for each; many times faster."""

    def score_then_learn(self, x: Features, y: Labels) -> NDArray[np.float64]:
        """The score of each row, given before learning from it, shape (n,)."""
        ...


def prequential_ranking(learner: Learner, chunks: Iterable[tuple[Features, NDArray[Any]]]) -> Ranking:
    """Test, then train: ask a learner of two classes for each row's score before it learns from the row.

    Parameters
    ----------
    learner
        It goes on from what it knows, and is changed. One with ``score_then_learn`` is handed whole chunks; others are asked for
        their ``decision_function``, or for the log-odds of class 1 where they have none.
    chunks
        The stream; it must end. How it is cut makes no difference.

    Raises
    ------
    SettingsError
        If a label is neither 0 nor 1.
    LearnerError
        If the stream's rows or labels do not fit the learner; what was learned until then stays learned.

    Examples
    --------
    >>> from estran.learning import registry
    >>> chance = np.random.default_rng(0)
    >>> y = (chance.random(3000) < 0.05).astype(np.int64)
    >>> x = chance.normal(size=(3000, 4)) + y[:, None]
    >>> learner = registry.create("opauc", 4, 2, chance)
    >>> bool(prequential_ranking(learner, [(x, y)]).sliding(1000)[-1] > 0.85)
    True
    """
    truths, scores = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for x, y in chunks:
        labels = np.asarray(y, dtype=np.int64)
        truths.append(labels)
        if isinstance(learner, ScoreThenTrain):
            scores.append(learner.score_then_learn(x, labels))
            continue
        for i in range(len(labels)):
            scores.append(_of_class_one(inner.scores(learner, x[i : i + 1])))
            learner.learn_many(x[i : i + 1], labels[i : i + 1])
    return Ranking(*_checked(np.concatenate(truths), np.concatenate(scores)))


def _of_class_one(found: NDArray[np.float64]) -> NDArray[np.float64]:
    return found if found.ndim == 1 else found[:, 1] - found[:, 0]


def _checked(truth: NDArray[Any], scores: NDArray[Any]) -> tuple[Labels, NDArray[np.float64]]:
    """Both as the kernel takes them.

    Raises
    ------
    SettingsError
        If they are not of one length, a class is neither 0 nor 1, or a score is NaN.
    """
    classes, found = np.ascontiguousarray(truth, dtype=np.int64), np.ascontiguousarray(scores, dtype=np.float64)
    if classes.shape != found.shape or classes.ndim != 1:
        what = f"{classes.shape} classes and {found.shape} scores"
        raise SettingsError(what, where="evaluation", remedy="give one score a row")
    if not np.isin(classes, (0, 1)).all() or np.isnan(found).any():
        raise SettingsError("a class is neither 0 nor 1, or a score is NaN", where="evaluation", remedy="rank rows of two classes")
    return classes, found
