"""Prequential evaluation: each row is answered first and learned from afterwards, and the answers count.

Accuracy alone says little: where labels repeat, the answer "as the last one" is right most of the time without any learning. So
results never come without what the no-change and the majority baselines would have got at the same rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estran.learning.baselines import majority, no_change
from estran.learning.confusion import Confusion
from estran.learning.learner import Features, Labels, Learner
from estran.learning.mistakes import SettingsError


@dataclass(frozen=True)
class Curves:
    """How well the answers were, as of each row; every array has shape (n,).

    Attributes
    ----------
    accuracy
        Share of right answers.
    no_change, majority
        The same for the baselines: the last class known, and the class known most often.
    kappa
        Cohen's κ: how far accuracy is from that of chance with the same frequencies of answers, to 1.
    kappa_m, kappa_temporal
        The same, from the majority baseline's and from the no-change baseline's accuracy. Less than 0 is worse than the baseline.
        Any κ is NaN where what it compares with is always right.
    """

    accuracy: NDArray[np.float64]
    no_change: NDArray[np.float64]
    majority: NDArray[np.float64]
    kappa: NDArray[np.float64]
    kappa_m: NDArray[np.float64]
    kappa_temporal: NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What was answered, and what was right, row by row in the order of the stream.

    Attributes
    ----------
    truth, answer
        Class indices, shape (n,).
    classes
        How many classes there are.
    delay
        After how many further rows a label became known.
    """

    truth: Labels
    answer: Labels
    classes: int
    delay: int = 0

    def overall(self) -> Curves:
        """All rows so far weigh the same; the last values are those of the whole stream."""
        return self._curves(1.0, 0)

    def fading(self, factor: float = 0.999) -> Curves:
        """A row weighs ``factor`` to the power of its age.

        Parameters
        ----------
        factor
            More than 0, up to 1. About ``1 / (1 - factor)`` rows count.

        Raises
        ------
        SettingsError
            If it is out of range.

        Notes
        -----
        Gama, Sebastião and Rodrigues, *On evaluating stream learning algorithms*, Machine Learning 90, 2013, section 3.2:
        ``S_t = x_t + factor S_(t-1)``, divided by the same sum of ones.
        """
        if not 0 < factor <= 1:
            raise SettingsError(f"the fading factor is {factor}", where="evaluation", remedy="give more than 0, up to 1")
        return self._curves(factor, 0)

    def sliding(self, window: int = 1000) -> Curves:
        """The last ``window`` rows weigh the same, others nothing.

        Raises
        ------
        SettingsError
            If ``window`` is less than 1.
        """
        if window < 1:
            raise SettingsError(f"the window has {window} rows", where="evaluation", remedy="give 1 or more")
        return self._curves(1.0, window)

    def confusion(self) -> Confusion:
        """Which classes were taken for which over the whole stream, with recalls and costs."""
        return Confusion.of(self.truth, self.answer, self.classes)

    def _curves(self, fading: float, window: int) -> Curves:
        from estran.learning import evaluation_kernel as kernel

        persistent, leading = no_change(self.truth, self.delay), majority(self.truth, self.delay)
        found = np.empty((len(self.truth), kernel.COLUMNS))
        kernel.averages(self.truth, self.answer, persistent, leading, self.classes, fading, window, found)
        accuracy, chance = found[:, kernel.ACCURACY], found[:, kernel.CHANCE]
        last, most = found[:, kernel.NO_CHANGE], found[:, kernel.MAJORITY]
        return Curves(accuracy, last, most, _beyond(accuracy, chance), _beyond(accuracy, most), _beyond(accuracy, last))


@runtime_checkable
class TestThenTrain(Protocol):
    """A learner that answers and learns in one call, row by row as if both were called for each; many times faster."""

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """The answer to each row, given before learning from it, shape (n,)."""
        ...


def prequential(
    learner: Learner, chunks: Iterable[tuple[Features, NDArray[Any]]], classes: int, *, delay: int = 0, learn: bool = True
) -> Answers:
    """Test, then train: ask a learner for each row's class before it learns from the row.

    Parameters
    ----------
    learner
        It goes on from what it knows, and is changed. One with ``predict_then_learn`` is handed whole chunks where no label is
        delayed.
    chunks
        The stream; it must end. How it is cut makes no difference.
    classes
        How many classes there are.
    delay
        The label of a row becomes known only after so many further rows have been answered. The labels of the last rows of the
        stream are then never learned.
    learn
        False asks only, which measures a model as it is.

    Raises
    ------
    SettingsError
        If ``delay`` is negative.
    LearnerError
        If the stream's rows or labels do not fit the learner; what was learned until then stays learned.

    Notes
    -----
    Dawid, *Statistical theory: the prequential approach*, JRSS A 147, 1984; κ is Cohen's (1960); κ-M is of Bifet, De Francisci
    Morales, Read, Holmes and Pfahringer, *Efficient online evaluation of big data stream classifiers*, KDD 2015; κ-temporal of
    Bifet, Read, Žliobaitė, Pfahringer and Holmes, *Pitfalls in benchmarking data stream classification*, ECML PKDD 2013, and
    Žliobaitė, Bifet, Read, Pfahringer and Holmes, *Evaluation methods and decision theory for classification of streaming data
    with temporal dependence*, Machine Learning 98, 2015.

    Examples
    --------
    >>> from estran.learning import registry
    >>> from estran.learning.streams.classic import Hyperplane
    >>> stream = Hyperplane(features=4, noise=0)
    >>> learner = registry.create({"softmax": {"learning_rate": 0.5}}, 4, 2, np.random.default_rng(0))
    >>> result = prequential(learner, stream.chunks(np.random.default_rng(1), rows=2000), 2).overall()
    >>> bool(result.accuracy[-1] > 0.9), bool(result.no_change[-1] < 0.6)
    (True, True)
    """
    if delay < 0:
        raise SettingsError(f"delay is {delay}", where="evaluation", remedy="give 0 or more rows")
    truths: list[Labels] = []
    answers: list[Labels] = []
    # Labels that are not known yet, and their rows: at most `delay` of them.
    held: deque[tuple[Features, Labels]] = deque()
    for x, y in chunks:
        labels = np.asarray(y, dtype=np.int64)
        truths.append(labels)
        if not learn:
            answers.append(learner.predict(x))
            continue
        if delay == 0 and isinstance(learner, TestThenTrain):
            answers.append(learner.predict_then_learn(x, labels))
            continue
        answer = np.empty(len(labels), dtype=np.int64)
        for i in range(len(labels)):
            answer[i] = learner.predict(x[i : i + 1])[0]
            held.append((x[i : i + 1], labels[i : i + 1]))
            if len(held) > delay:
                learner.learn_many(*held.popleft())
        answers.append(answer)
    return Answers(_joined(truths), _joined(answers), classes, delay)


def _joined(parts: list[Labels]) -> Labels:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _beyond(accuracy: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of the way from the reference's accuracy to 1 was made."""
    room = 1 - reference
    return np.asarray(np.where(room > 0, (accuracy - reference) / np.where(room > 0, room, 1), np.nan))
