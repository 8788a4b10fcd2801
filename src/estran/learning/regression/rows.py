"""What every regressor checks before it touches a chunk, beside what `estran.learning.rows` checks of the rows."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, LearnerError, NotFiniteError
from estran.learning.rows import checked_rows, shaped_rows

Numbers: TypeAlias = NDArray[np.float64]
"""Shape (n,): what rows are to be answered with."""


def shaped_targets(y: NDArray[Any], n: int, learner: str) -> Numbers:
    """Targets of n rows as contiguous float64, after making sure of their shape and type; values are not looked at.

    Raises
    ------
    LearnerError
        If there is not one for each row, or they are not real numbers.
    """
    targets = np.asarray(y)
    if targets.shape != (n,):
        what = f"{n} rows came with targets of shape {targets.shape}"
        raise LearnerError(what, where=learner, remedy="hand in one number a row")
    if targets.size and targets.dtype.kind not in "iuf":
        raise LearnerError(f"targets are {targets.dtype}, not real numbers", where=learner, remedy="hand in floats")
    return np.ascontiguousarray(targets, dtype=np.float64)


def checked_targets(x: NDArray[Any], y: NDArray[Any], features: int, learner: str) -> tuple[Features, Numbers]:
    """Rows and targets as float64, after making sure that they fit each other and the regressor.

    Raises
    ------
    LearnerError
        If shapes do not fit, or targets are not real numbers.
    NotFiniteError
        If a value is NaN or infinite.
    """
    rows = shaped_rows(x, features, learner)
    targets = shaped_targets(y, len(rows), learner)
    checked_rows(rows, features, learner)
    bad = np.flatnonzero(~np.isfinite(targets))
    if bad.size:
        raise NotFiniteError(
            f"the target of row {bad[0]} of {len(rows)} is {targets[bad[0]]}",
            where=learner,
            remedy="clean the data; nothing of this chunk was learned",
        )
    return rows, targets
