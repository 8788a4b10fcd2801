"""What every learner checks before it touches a chunk."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError

_FLOAT = np.dtype(np.float64)


def checked_rows(x: NDArray[Any], features: int, learner: str) -> Features:
    """Rows as float64, after making sure that they fit.

    Raises
    ------
    LearnerError
        If the shape is not (n, features).
    NotFiniteError
        If a value is NaN or infinite.
    """
    rows = shaped_rows(x, features, learner)
    # One pass without a temporary: a sum is finite exactly when no term is NaN or infinite, unless it overflows.
    if not math.isfinite(rows.sum()) and not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise NotFiniteError(
            f"row {row} of {len(rows)} holds a NaN or an infinity",
            where=learner,
            remedy="clean the data; nothing of this chunk was learned",
        )
    return rows


def shaped_chunk(x: NDArray[Any], y: NDArray[Any], features: int, learner: str) -> tuple[Features, Labels]:
    """Rows and labels as contiguous float64 and int64, after making sure that their shapes and types fit; values are not looked at.

    Raises
    ------
    LearnerError
        If shapes do not fit, or labels are not integers.
    """
    rows = shaped_rows(x, features, learner)
    labels = np.asarray(y)
    if labels.shape != (len(rows),):
        what = f"{len(rows)} rows came with labels of shape {labels.shape}"
        raise LearnerError(what, where=learner, remedy="hand in one label a row")
    if labels.size and labels.dtype.kind not in "iu":
        raise LearnerError(f"labels are {labels.dtype}, not class indices", where=learner, remedy="hand in integers from 0")
    return rows, np.ascontiguousarray(labels, dtype=np.int64)


def checked_chunk(x: NDArray[Any], y: NDArray[Any], features: int, classes: int, learner: str) -> tuple[Features, Labels]:
    """Rows and labels as float64 and int64, after making sure that they fit each other and the learner.

    Raises
    ------
    LearnerError
        If shapes do not fit, or a label is not an integer from 0 to classes - 1.
    NotFiniteError
        If a value is NaN or infinite.
    """
    rows, labels = shaped_chunk(x, y, features, learner)
    checked_rows(rows, features, learner)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise LearnerError(
            f"labels run from {labels.min()} to {labels.max()}, but the learner has {classes} classes",
            where=learner,
            remedy=f"hand in labels from 0 to {classes - 1}",
        )
    return rows, labels


def shaped_rows(x: Any, features: int, learner: str) -> Features:
    """Rows as contiguous float64, after making sure of their shape; values are not looked at. Sparse rows are filled up.

    Raises
    ------
    LearnerError
        If the shape is not (n, features).
    """
    rows = np.ascontiguousarray(x.toarray() if is_sparse(x) else x, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != features:
        raise LearnerError(
            f"rows of shape {np.shape(x)} do not fit a learner of {features} features",
            where=learner,
            remedy=f"hand in an array of shape (n, {features})",
        )
    return rows


def is_sparse(x: Any) -> bool:
    """Whether rows are one of SciPy's matrices, told without importing SciPy."""
    return not isinstance(x, np.ndarray) and hasattr(x, "tocsr")


def compressed(x: Any, features: int, learner: str) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The three arrays of a matrix in compressed sparse rows (values, columns, starts), each column once, in ascending order.

    Raises
    ------
    LearnerError
        If the shape is not (n, features).
    """
    if x.ndim != 2 or x.shape[1] != features:
        what = f"rows of shape {x.shape} do not fit a learner of {features} features"
        raise LearnerError(what, where=learner, remedy=f"hand in a matrix of shape (n, {features})")
    rows = x.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    columns, starts = (writable(np.ascontiguousarray(part, dtype=np.int64)) for part in (rows.indices, rows.indptr))
    return writable(np.ascontiguousarray(rows.data, dtype=np.float64)), columns, starts


def ready(x: Any, y: Any, features: int, kind: np.dtype[Any]) -> bool:
    """Whether a kernel can take a chunk as it is, targets of this type included: checking costs more than learning a row."""
    return (
        type(x) is np.ndarray
        and type(y) is np.ndarray
        and x.dtype is _FLOAT
        and y.dtype is kind
        and y.ndim == 1
        and x.shape == (len(y), features)
        and x.flags.carray
        and y.flags.carray
    )


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """The array, copied if it is read-only: numba would compile everything anew for such."""
    return array if array.flags.writeable else array.copy()


def softmax(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Class probabilities of rows of scores, shape (n, classes), without overflow."""
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True, initial=-np.inf)
    odds = np.exp(shifted)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)


def odds_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class probabilities of rows of scores, shape (n, classes), that put the same class first as the scores do."""
    odds = softmax(scores)
    # Scores that differ by less than a probability can show must not change who is first.
    best, every = scores.argmax(axis=1), np.arange(len(odds))
    tied = odds.argmax(axis=1) != best
    odds[every[tied], best[tied]] = np.nextafter(odds.max(axis=1)[tied], 2.0)
    return odds
