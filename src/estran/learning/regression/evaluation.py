"""Prequential evaluation of regressors: each row is answered first and learned from afterwards, and the errors count.

An error alone says little: a target that hardly moves is answered well by its last value. So results never come without what
the no-change and the running-mean baselines would have got at the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estran.learning.evaluation import Judged, asked_then_told
from estran.learning.learner import Features
from estran.learning.regression.regressor import Regressor
from estran.learning.regression.rows import Numbers


@dataclass(frozen=True)
class ErrorCurves:
    """How far off the answers were, as of each row; every array has shape (n,).

    Attributes
    ----------
    mae, rmse
        Mean absolute error, and root of the mean squared error, in units of the target.
    r2
        Coefficient of determination: 1 − Σe²/Σ(y − ȳ)², with ȳ the mean of the very rows that count. NaN where they do not vary.
    no_change_mae, no_change_rmse
        The same errors of "as the last target known".
    mean_mae, mean_rmse
        The same errors of "as the mean of all targets known so far".
    skill_no_change, skill_mean
        How much of each baseline's mean absolute error was avoided: 1 where all, less than 0 where the baseline does better, NaN
        where the baseline made none.
    """

    mae: Numbers
    rmse: Numbers
    r2: Numbers
    no_change_mae: Numbers
    no_change_rmse: Numbers
    mean_mae: Numbers
    mean_rmse: Numbers
    skill_no_change: Numbers
    skill_mean: Numbers


@dataclass(frozen=True)
class Estimates(Judged[ErrorCurves]):
    """What was answered, and what was right, row by row in the order of the stream.

    Attributes
    ----------
    truth, answer
        Targets and answers, shape (n,).
    delay
        After how many further rows a target became known.
    """

    truth: Numbers
    answer: Numbers
    delay: int = 0

    def _curves(self, fading: float, window: int) -> ErrorCurves:
        from estran.learning.regression import evaluation_kernel as kernel

        rivals = (self.answer, last_known(self.truth, self.delay), mean_known(self.truth, self.delay))
        errors = np.abs(np.column_stack([rival - self.truth for rival in rivals]))
        means = np.empty((len(self.truth), kernel.COLUMNS))
        measures = np.column_stack([errors, errors**2])
        if window:
            kernel.sliding(measures, self.truth, min(window, max(1, len(self.truth))), means)
        else:
            kernel.fading(measures, self.truth, fading, means)
        mae, no_change, mean, mse, no_change_mse, mean_mse, spread = means.T
        return ErrorCurves(
            mae,
            np.sqrt(mse),
            _avoided(mse, spread),
            no_change,
            np.sqrt(no_change_mse),
            mean,
            np.sqrt(mean_mse),
            _avoided(mae, no_change),
            _avoided(mae, mean),
        )


def prequential(
    regressor: Regressor,
    chunks: Iterable[tuple[Features, NDArray[Any]]],
    *,
    delay: int = 0,
    learn: bool = True,
) -> Estimates:
    """Test, then train: ask a regressor for each row's number before it learns from the row.

    Parameters
    ----------
    regressor
        It goes on from what it knows, and is changed.
    chunks
        The stream; it must end. How it is cut makes no difference.
    delay
        The target of a row becomes known only after so many further rows have been answered. The targets of the last rows of the
        stream are then never learned.
    learn
        False asks only, which measures a model as it is.

    Raises
    ------
    SettingsError
        If ``delay`` is negative.
    LearnerError
        If the stream does not fit the regressor; what was learned until then stays learned.

    Examples
    --------
    >>> from estran.learning.regression.regressor import create
    >>> from estran.learning.streams.classic import Friedman
    >>> stream = Friedman()
    >>> model = create("ridge", stream.features, np.random.default_rng(0))
    >>> result = prequential(model, stream.chunks(np.random.default_rng(1), rows=2000)).overall()
    >>> bool(result.mae[-1] < result.mean_mae[-1] < result.no_change_mae[-1])
    True
    """
    return Estimates(*asked_then_told(regressor, chunks, np.dtype(np.float64), delay=delay, learn=learn), delay)


def last_known(truths: ArrayLike, delay: int = 0) -> Numbers:
    """The answer "as the last one" to each row; the first is 0.

    Parameters
    ----------
    truths
        Targets in the order in which they were asked for, shape (n,).
    delay
        After how many further rows a target becomes known: the last one is then so much older.

    Examples
    --------
    >>> last_known([3.0, 4.0, 5.0]).tolist()
    [0.0, 3.0, 4.0]
    """
    truth = np.asarray(truths, dtype=np.float64)
    return np.concatenate([np.zeros(delay + 1), truth])[: truth.size]


def mean_known(truths: ArrayLike, delay: int = 0) -> Numbers:
    """The answer "as the mean of all so far" to each row; the first is 0. Parameters as of `last_known`.

    Examples
    --------
    >>> mean_known([3.0, 5.0, 7.0, 1.0]).tolist()
    [0.0, 3.0, 4.0, 5.0]
    """
    truth = np.asarray(truths, dtype=np.float64)
    means = np.cumsum(truth) / np.arange(1, truth.size + 1)
    return np.concatenate([np.zeros(delay + 1), means])[: truth.size]


def _avoided(error: Numbers, reference: Numbers) -> Numbers:
    """Which share of the reference's error was avoided."""
    some = reference > 0
    return np.asarray(np.where(some, 1 - error / np.where(some, reference, 1), np.nan))
