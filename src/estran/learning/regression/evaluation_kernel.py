"""Prequential means of errors, and the spread of what was to be answered, in one pass. Importing it imports numba.

Nothing is ever subtracted from a sum: one outlier that has left the window would else be felt for ever, and the spread of large
targets that differ little would drown in rounding.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled

MEASURES: Final = 6
COLUMNS: Final = MEASURES + 1


@compiled
def fading(measures: NDArray[Any], truth: NDArray[Any], factor: float, out: NDArray[Any]) -> None:
    """Fill ``out``, shape (n, 7), with means of the six measures and the variance of the truth, as of each row.

    A row weighs ``factor`` to the power of its age. The variance is updated as by West, *Updating mean and variance estimates: an
    improved method*, CACM 22:532, 1979.
    """
    total, mean = 0.0, 0.0
    sums = np.zeros(COLUMNS)
    for t in range(truth.size):
        total = total * factor + 1.0
        apart = truth[t] - mean
        mean += apart / total
        for i in range(MEASURES):
            sums[i] = sums[i] * factor + measures[t, i]
        sums[MEASURES] = sums[MEASURES] * factor + apart * (truth[t] - mean)
        for i in range(COLUMNS):
            out[t, i] = sums[i] / total


@compiled
def sliding(measures: NDArray[Any], truth: NDArray[Any], window: int, out: NDArray[Any]) -> None:
    """The same of the last ``window`` rows, all weighing the same.

    The stream is cut into blocks of that many rows. A window is what is left of one block, summed from its end, and the beginning
    of the next. Two means and spreads are merged as by Chan, Golub, LeVeque, *Updating formulae and a pairwise algorithm for
    computing sample variances*, 1979.
    """
    # Of what is left of the last block after each of its rows: sums of the measures, the truth's mean and squared differences.
    left = np.zeros((window + 1, COLUMNS + 1))
    here = np.zeros(COLUMNS + 1)
    for start in range(0, truth.size, window):
        here[:] = 0.0
        for t in range(start, min(start + window, truth.size)):
            _count(here, measures, truth, t, float(t - start))
            rest = left[t - start + 1]
            old = float(window - 1 - (t - start)) if start > 0 else 0.0
            new = float(t - start + 1)
            apart = here[COLUMNS] - rest[COLUMNS]
            for i in range(MEASURES):
                out[t, i] = (rest[i] + here[i]) / (old + new)
            between = apart * apart * (old * new / (old + new)) if old > 0.0 else 0.0
            out[t, MEASURES] = (rest[MEASURES] + here[MEASURES] + between) / (old + new)
        if start + window < truth.size:
            here[:] = 0.0
            left[window] = 0.0
            for back in range(window):
                _count(here, measures, truth, start + window - 1 - back, float(back))
                left[window - 1 - back] = here


@compiled
def _count(sums: NDArray[Any], measures: NDArray[Any], truth: NDArray[Any], t: int, before: float) -> None:
    """Add row t to sums of ``before`` rows."""
    for i in range(MEASURES):
        sums[i] += measures[t, i]
    apart = truth[t] - sums[COLUMNS]
    sums[COLUMNS] += apart / (before + 1.0)
    sums[MEASURES] += apart * (truth[t] - sums[COLUMNS])
