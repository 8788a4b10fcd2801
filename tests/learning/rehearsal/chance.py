"""Whether counts of draws are those of uniform draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2


def uniform_p(counts: NDArray[np.int64], at_once: int) -> float:
    """p of Pearson's χ² where each draw takes ``at_once`` different places of ``counts.size``.

    Places drawn together exclude each other, which makes counts vary less: by (n - r) / (n - 1).
    """
    expected = counts.sum() / counts.size
    statistic = ((counts - expected) ** 2).sum() / expected
    return float(chi2.sf(statistic * (counts.size - 1) / (counts.size - at_once), counts.size - 1))
