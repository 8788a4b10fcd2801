"""What a stream is: settings, from which a generator of randomness makes the same rows however they are cut."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features
from estran.learning.mistakes import SettingsError

Chunk: TypeAlias = tuple[Features, NDArray[Any]]
"""Rows of shape (n, d), and a label each: class indices (int64), or numbers (float64) where there is something to regress."""

BLOCK: Final = 1024
"""Rows drawn at a time. Part of what a seed means: another size would draw the same numbers for other rows."""


class Stream(ABC):
    """Settings of a stream; it holds no state, so that one may be read many times."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def features(self) -> int:
        """Width of a row."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of classes; 0 where labels are numbers to regress."""

    @abstractmethod
    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        """The stream in the pieces in which it is drawn, from its beginning."""

    def chunks(self, rng: np.random.Generator, size: int = 256, rows: int | None = None) -> Iterator[Chunk]:
        """The stream from its beginning, cut into chunks.

        Parameters
        ----------
        rng
            Source of all its randomness; to be used by nobody else as long as the stream is read.
        size
            Rows of each chunk; the last may have fewer. It decides only where the stream is cut, not what is in it.
        rows
            Where to end; None for as long as the stream is, which for generators is without end.

        Raises
        ------
        SettingsError
            If ``size`` is less than 1, or ``rows`` less than 0.
        """
        if size < 1 or (rows is not None and rows < 0):
            raise SettingsError(
                f"chunks of {size} rows, {rows} in all", where=f"stream {self.kind}", remedy="ask for chunks of 1 row or more"
            )
        return _recut(self.blocks(rng), size, rows)

    def take(self, rows: int, rng: np.random.Generator) -> Chunk:
        """The first rows, in one piece; fewer where the stream ends before."""
        first = list(self.chunks(rng, max(1, rows), rows))
        return first[0] if first else (np.empty((0, self.features)), np.empty(0, np.int64 if self.classes else np.float64))

    def check(self, holds: bool, what: str, remedy: str) -> None:
        """Refuse a setting.

        Raises
        ------
        SettingsError
            Unless it holds.
        """
        if not holds:
            raise SettingsError(what, where=f"stream {self.kind}", remedy=remedy)

    def check_share(self, name: str, value: float) -> None:
        """Refuse what is not from 0 to 1."""
        self.check(0 <= value <= 1, f"{name} is {value}", "give a number from 0 to 1")

    def check_count(self, name: str, value: int, least: int = 1) -> None:
        """Refuse a count that is too small."""
        self.check(value >= least, f"{name} is {value}", f"give {least} or more")


def _recut(blocks: Iterator[Chunk], size: int, rows: int | None) -> Iterator[Chunk]:
    left = math.inf if rows is None else rows
    parts: list[Chunk] = []
    held = 0
    while left > 0 and (block := next(blocks, None)) is not None:
        x, y = block
        start = 0
        while start < len(y) and left > 0:
            taken = int(min(size - held, len(y) - start, left))
            parts.append((x[start : start + taken], y[start : start + taken]))
            start, held, left = start + taken, held + taken, left - taken
            if held == size:
                yield _joined(parts)
                parts, held = [], 0
    if parts:
        yield _joined(parts)


def _joined(parts: list[Chunk]) -> Chunk:
    """Copies, which may be written to."""
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def flipped(y: NDArray[np.int64], noise: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels of two classes, each of them the wrong one with probability ``noise``."""
    return np.asarray(y ^ (rng.random(len(y)) < noise), dtype=np.int64)
