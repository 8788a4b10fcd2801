"""The synthetic streams of the Hedge Backpropagation paper: Syn8, CD1 and CD2, by a recipe that its text leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, TypeAlias

import numpy as np

from estran.learning.learner import Features
from estran.learning.streams.stream import BLOCK, Chunk, Stream

Net: TypeAlias = list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]

_PROBED: Final = 4096
"""Rows from which a network's median and spread are taken."""


@dataclass(frozen=True)
class Networks(Stream):
    """Two classes, drawn with the probability that a random ReLU network gives; one network after another.

    Rows are standard normal. A network's weights are normal with variance 2 / inputs; its output, less its median and over its
    standard deviation (of 4096 rows of their own), is the logit of class 1.

    Parameters
    ----------
    depths
        Hidden layers of each network.
    sequence
        Which network each part of the stream follows, by its index in ``depths``.
    rows
        Length of the stream, in equal parts; afterwards the last network stays.
    features, width
        Width of a row, and of every hidden layer.

    Notes
    -----
    Sahoo, Pham, Lu and Hoi, *Online deep learning: learning deep neural networks on the fly*, IJCAI 2018, section 4.1, says that
    Syn8 is made by a random network of 8 layers of 100, CD1 by concepts C1-C2-C1 and CD2 by C1-C2-C3 in thirds. How weights and
    labels are drawn it does not say; that is ours, so errors are comparable in order only.

    Examples
    --------
    >>> x, y = SYN8.take(2000, np.random.default_rng(0))
    >>> x.shape, bool(0.4 < y.mean() < 0.6)
    ((2000, 50), True)
    """

    kind: ClassVar[str] = "networks"
    classes: ClassVar[int] = 2

    depths: tuple[int, ...] = (8,)
    sequence: tuple[int, ...] = (0,)
    rows: int = 300_000
    features: int = 50
    width: int = 100

    def __post_init__(self) -> None:
        known = bool(self.depths) and all(depth >= 1 for depth in self.depths)
        self.check(known, f"depths are {self.depths}", "give a number of hidden layers for each network")
        fits = bool(self.sequence) and all(0 <= part < len(self.depths) for part in self.sequence)
        self.check(fits, f"sequence is {self.sequence}", f"give indices from 0 to {len(self.depths) - 1}")
        self.check_count("rows", self.rows, len(self.sequence))
        self.check_count("features", self.features)
        self.check_count("width", self.width)

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        networks = [_Network(depth, self.features, self.width, rng) for depth in self.depths]
        at = np.arange(BLOCK)
        while True:
            x = rng.standard_normal((BLOCK, self.features))
            part = np.minimum(at * len(self.sequence) // self.rows, len(self.sequence) - 1)
            followed = np.array(self.sequence)[part]
            probability = np.empty(BLOCK)
            for index in np.unique(followed):
                probability[followed == index] = networks[index].probability(x[followed == index])
            yield x, (rng.random(BLOCK) < probability).astype(np.int64)
            at += BLOCK


SYN8: Final = Networks()
CD1: Final = Networks(depths=(8, 8), sequence=(0, 1, 0))
CD2: Final = Networks(depths=(8, 6, 8), sequence=(0, 1, 2))


class _Network:
    def __init__(self, depth: int, features: int, width: int, rng: np.random.Generator) -> None:
        sizes = [features, *[width] * depth, 1]
        self._weights: Net = [rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs) for inputs, outputs in pairwise(sizes)]
        probe = self._output(rng.standard_normal((_PROBED, features)))
        self._median, self._spread = float(np.median(probe)), float(probe.std())

    def probability(self, x: Features) -> Features:
        return np.asarray(1 / (1 + np.exp(-(self._output(x) - self._median) / self._spread)))

    def _output(self, x: Features) -> Features:
        for weights in self._weights[:-1]:
            x = np.maximum(x @ weights, 0)
        return np.asarray((x @ self._weights[-1])[:, 0])
