"""Histograms with bins of 1/128 relative width, found from the bits of a number: no logarithm, no storage per message.

A bin is an exponent of two and the seven highest bits of the mantissa. From 2⁻³⁰ s (1 ns) to 2²⁰ s (12 days) there are 6400;
what is less, zero above all, is in the first one, what is more in the last.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.platforms.simulated.flow.compiling import inlined

_LOW, _HIGH, _SHIFT = -30, 20, 45
BINS: Final = ((_HIGH - _LOW) << 7) + 1
_OFFSET: Final = ((_LOW + 1023) << 7) - 1


@inlined
def bin_of(value: Any) -> Any:
    """The bin of a value; 0 for what is below the lowest edge."""
    found = (np.float64(value).view(np.int64) >> _SHIFT) - _OFFSET
    return min(max(found, 0), BINS - 1)


def edges() -> NDArray[np.float64]:
    """Lower edges of all bins and the upper edge of the last, shape (BINS + 1,)."""
    numbers = np.arange(BINS, dtype=np.int64) + 1 + _OFFSET
    bounds: NDArray[np.float64] = (numbers << _SHIFT).view(np.float64)
    return np.concatenate([[0.0], bounds])


def quantile(counts: NDArray[Any], level: float) -> float:
    """Quantile of a histogram, interpolated within its bin."""
    total = float(counts.sum())
    below = np.cumsum(counts, dtype=np.float64)
    place = int(np.searchsorted(below, level * total))
    place = min(place, BINS - 1)
    bounds = edges()
    inside = float(counts[place])
    share = (level * total - (below[place] - inside)) / inside if inside else 0.0
    return float(bounds[place] + min(max(share, 0.0), 1.0) * (bounds[place + 1] - bounds[place]))
