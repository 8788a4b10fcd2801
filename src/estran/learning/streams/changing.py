"""From one stream to another: abruptly, or more and more likely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estran.learning.streams.stream import BLOCK, Chunk, Stream


@dataclass(frozen=True)
class Changing(Stream):
    """Rows of one stream, then of another.

    Parameters
    ----------
    before, after
        Streams of equally wide rows and the same number of classes.
    at
        The row at which both are equally likely; with no ``width``, the first of the new stream.
    width
        Rows in which the chance of the new stream rises from about .12 to .88: it is ``1 / (1 + exp(-4 (t - at) / width))``.

    Notes
    -----
    Bifet, Holmes, Pfahringer, Kirkby and Gavaldà, *New ensemble methods for evolving data streams*, KDD 2009, section 3,
    definition 1. The rows of the stream that is not chosen are passed over, so that both go on at the same pace. It ends where
    either of the two ends.

    Examples
    --------
    >>> from estran.learning.streams.classic import Sea
    >>> stream = Changing(Sea((9.0,), noise=0), Sea((1.0,), noise=0), at=100)
    >>> _, y = stream.take(200, np.random.default_rng(0))
    >>> float(y[:100].mean().round(2)), float(y[100:].mean().round(2))
    (0.38, 0.0)
    """

    kind: ClassVar[str] = "changing"

    before: Stream
    after: Stream
    at: int
    width: int = 0

    def __post_init__(self) -> None:
        one, other = (self.before.features, self.before.classes), (self.after.features, self.after.classes)
        self.check(one == other, f"streams of {one} and {other} features and classes", "join streams that look alike")
        self.check_count("at", self.at, 0)
        self.check_count("width", self.width, 0)

    @property
    def features(self) -> int:
        """Those of both."""
        return self.before.features

    @property
    def classes(self) -> int:
        """Those of both."""
        return self.before.classes

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        first, second = rng.spawn(2)
        pairs = zip(self.before.chunks(first, BLOCK), self.after.chunks(second, BLOCK), strict=False)
        start = 0
        for (x, y), (new_x, new_y) in pairs:
            rows = min(len(y), len(new_y))
            new = rng.random(rows) < self._chance(np.arange(start, start + rows))
            yield np.where(new[:, None], new_x[:rows], x[:rows]), np.where(new, new_y[:rows], y[:rows])
            start += rows

    def _chance(self, row: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if not self.width:
            return np.asarray(row >= self.at, dtype=np.float64)
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (row - self.at) / self.width, -700, 700))))
