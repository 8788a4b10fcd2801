"""Prequential averages of everything that agreement is computed from, in one pass."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled

ACCURACY, CHANCE, NO_CHANGE, MAJORITY = range(4)
COLUMNS: Final = 4


@compiled
def averages(
    truth: NDArray[np.int64],
    answer: NDArray[np.int64],
    persistent: Any,
    leading: Any,
    classes: int,
    fading: float,
    window: int,
    out: Any,
) -> None:
    """Fill ``out``, shape (n, 4): accuracy, chance agreement, and both baselines' accuracy, as of each row.

    With ``window`` 0, rows weigh ``fading`` to the power of their age (all the same with 1); else the last ``window`` rows
    weigh 1 each.
    """
    truths, answers, right = np.zeros(classes), np.zeros(classes), np.zeros(3)
    total = 0.0
    for t in range(len(truth)):
        if window == 0:
            total *= fading
            for c in range(classes):
                truths[c] *= fading
                answers[c] *= fading
            for i in range(3):
                right[i] *= fading
        elif t >= window:
            old = t - window
            total -= 1
            truths[truth[old]] -= 1
            answers[answer[old]] -= 1
            right[0] -= truth[old] == answer[old]
            right[1] -= persistent[old]
            right[2] -= leading[old]
        total += 1
        truths[truth[t]] += 1
        answers[answer[t]] += 1
        right[0] += truth[t] == answer[t]
        right[1] += persistent[t]
        right[2] += leading[t]
        agreed = 0.0
        for c in range(classes):
            agreed += truths[c] * answers[c]
        out[t, 0] = right[0] / total
        out[t, 1] = agreed / (total * total)
        out[t, 2] = right[1] / total
        out[t, 3] = right[2] / total
