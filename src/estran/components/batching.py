"""Many small messages as one piece of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.components.messages import Samples
from estran.errors import DataError
from estran.learning.learner import Features, Labels
from estran.learning.mistakes import SettingsError
from estran.units import Duration


@dataclass(frozen=True)
class BatchSettings:
    """How messages that wait are taken together.

    Attributes
    ----------
    max_size
        Messages per batch at the most.
    max_delay
        How long to linger for a fuller batch; 0 takes what is there at once.
    """

    max_size: int = 64
    max_delay: Duration = 0.0

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise SettingsError(f"max_size is {self.max_size}", where="batch", remedy="give 1 or more")


def stacked(parts: Sequence[Samples]) -> tuple[Features, Labels]:
    """Rows and classes of several messages, in order.

    Raises
    ------
    DataError
        If they are of different widths.
    """
    if len(parts) == 1:
        return parts[0].x.astype(np.float64), parts[0].y
    widths = {part.x.shape[1] for part in parts}
    if len(widths) != 1:
        raise DataError(
            f"samples of {sorted(widths)} features came together", remedy="let all sources of one stream send the same data"
        )
    x = np.concatenate([part.x for part in parts]).astype(np.float64, copy=False)
    return x, np.concatenate([part.y for part in parts])


def split(whole: NDArray[Any], parts: Sequence[Samples]) -> list[NDArray[Any]]:
    """What was computed for all rows of `stacked`, message by message."""
    if len(parts) == 1:
        return [whole]
    return np.split(whole, np.cumsum([len(part) for part in parts])[:-1])
