"""The area under the ROC curve of a sliding window, exactly, in one pass. Importing it imports numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled

Array: TypeAlias = NDArray[Any]


def _won(scores: Array, truth: Array, score: Any, label: int) -> int:
    """Twice the pairs that a row and those of the other class in a window rank rightly; a tie is half a pair."""
    found = 0
    for i in range(scores.size):
        if truth[i] != label:
            found += 1 if scores[i] == score else 2 * ((scores[i] < score) == (label == 1))
    return found


won: Callable[[Array, Array, Any, int], int] = compiled(_won, inlined=True)


def _sliding(scores: Array, truth: Array, window: int, out: Array) -> None:
    """Area as of each row; NaN where the window has rows of one class only. Pairs are counted in whole numbers, so none is lost."""
    pairs = 0
    seen = np.zeros(2, dtype=np.int64)
    for t in range(scores.size):
        first = max(0, t - window)
        if t >= window:
            old = truth[first]
            seen[old] -= 1
            pairs -= won(scores[first + 1 : t], truth[first + 1 : t], scores[first], old)
            first += 1
        pairs += won(scores[first:t], truth[first:t], scores[t], truth[t])
        seen[truth[t]] += 1
        among = seen[0] * seen[1]
        out[t] = pairs / (2.0 * among) if among else np.nan


sliding: Callable[[Array, Array, int, Array], None] = compiled(_sliding)
