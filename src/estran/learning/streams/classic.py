"""Generators of the literature with a closed form: SEA, rotating hyperplane, LED, and Friedman's function to regress."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels
from estran.learning.streams.stream import BLOCK, Chunk, Stream, flipped

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Sea(Stream):
    """SEA concepts: class 1 where the first two of three features, each uniform in [0, 10], sum to a threshold at most.

    Parameters
    ----------
    thresholds
        One for each concept, in the order in which they come; after the last, the first comes again.
    block
        Rows that each concept lasts.
    noise
        Probability that a label is the wrong one.

    Notes
    -----
    Street and Kim, *A streaming ensemble algorithm (SEA) for large-scale classification*, KDD 2001, section 4: four blocks of
    12 500 rows, 10 % class noise. River and MOA name the two classes the other way round.

    Examples
    --------
    >>> x, y = Sea(noise=0).take(4, np.random.default_rng(0))
    >>> (x[:, 0] + x[:, 1]).round(1).tolist(), y.tolist()
    ([9.1, 8.3, 13.4, 17.5], [0, 0, 0, 0])
    """

    kind: ClassVar[str] = "sea"
    features: ClassVar[int] = 3
    classes: ClassVar[int] = 2

    thresholds: tuple[float, ...] = (8.0, 9.0, 7.0, 9.5)
    block: int = 12_500
    noise: float = 0.1

    def __post_init__(self) -> None:
        self.check(len(self.thresholds) > 0, "there is no threshold", "give one for each concept")
        self.check_count("block", self.block)
        self.check_share("noise", self.noise)

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        thresholds, at = np.array(self.thresholds), np.arange(BLOCK)
        while True:
            x = rng.uniform(0, 10, (BLOCK, 3))
            y = sea_label(x, thresholds[at // self.block % len(thresholds)])
            yield x, flipped(y, self.noise, rng)
            at += BLOCK


def sea_label(x: Features, threshold: NDArray[np.float64] | float) -> Labels:
    """SEA's concept, without noise."""
    return np.asarray(x[:, 0] + x[:, 1] <= threshold, dtype=np.int64)


@dataclass(frozen=True)
class Hyperplane(Stream):
    """Rotating hyperplane: class 1 on the side of it where ``w·x >= sum(w) / 2``, with x uniform in the unit cube.

    Parameters
    ----------
    features
        Number of dimensions d.
    turning
        Of how many dimensions the weights change (k).
    change
        How much each of them changes in a period (t).
    period
        After how many rows (N) each direction of change reverses, with probability ``reversal``. A weight changes by
        ``change / period`` with every row.
    reversal, noise
        Probabilities that a direction reverses, and that a label is the wrong one.

    Notes
    -----
    Hulten, Spencer and Domingos, *Mining time-changing data streams*, KDD 2001, for the hyperplane; the parameters k, t, N and
    their defaults (reversal 10 %, noise 5 %) are of Wang, Fan, Yu and Han, *Mining concept-drifting data streams using
    ensemble classifiers*, KDD 2003, section 6.1. River and MOA reverse after each row, which is ``period=1``.

    Examples
    --------
    >>> x, y = Hyperplane(features=4, turning=2, change=0.5).take(1000, np.random.default_rng(0))
    >>> x.shape, bool(0.4 < y.mean() < 0.6)
    ((1000, 4), True)
    """

    kind: ClassVar[str] = "hyperplane"
    classes: ClassVar[int] = 2

    features: int = 10
    turning: int = 2
    change: float = 0.1
    period: int = 1000
    reversal: float = 0.1
    noise: float = 0.05

    def __post_init__(self) -> None:
        self.check_count("features", self.features)
        self.check(0 <= self.turning <= self.features, f"turning is {self.turning}", f"give 0 to {self.features}, the features")
        self.check(np.isfinite(self.change), f"change is {self.change}", "give a finite number")
        self.check_count("period", self.period)
        self.check_share("reversal", self.reversal)
        self.check_share("noise", self.noise)

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        weights = rng.random(self.features)
        direction = rng.choice([-1.0, 1.0], self.turning)
        at = np.arange(BLOCK)
        while True:
            x = rng.random((BLOCK, self.features))
            directions = direction * self._reversals(at, rng)
            moved = np.cumsum(np.vstack([weights[: self.turning], directions * (self.change / self.period)]), axis=0)
            w = np.tile(weights, (BLOCK, 1))
            w[:, : self.turning] = moved[:-1]
            yield x, flipped(hyperplane_label(x, w), self.noise, rng)
            weights[: self.turning], direction = moved[-1], directions[-1]
            at += BLOCK

    def _reversals(self, at: NDArray[np.int64], rng: np.random.Generator) -> Numbers:
        """Of each row and turning dimension, 1 where the direction is that before the block, -1 where it is the other."""
        due = (at % self.period == 0) & (at > 0)
        factor = np.ones((BLOCK, self.turning))
        factor[due] = np.where(rng.random((int(due.sum()), self.turning)) < self.reversal, -1.0, 1.0)
        return np.asarray(factor.cumprod(axis=0))


def hyperplane_label(x: Features, w: Numbers) -> Labels:
    """Side of the hyperplane with weights ``w``, one for all rows or one for each."""
    return np.asarray((w * x).sum(axis=1) >= np.atleast_2d(w).sum(axis=1) / 2, dtype=np.int64)


DIGITS: Final = np.array(
    [[int(segment) for segment in code] for code in (
        "1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011"
    )],
    dtype=np.int64,
)  # fmt: skip
"""Which of the seven segments each digit lights: top, upper left, upper right, middle, lower left, lower right, bottom."""


@dataclass(frozen=True)
class Led(Stream):
    """Digits on a seven-segment display whose segments err, among attributes that say nothing.

    Parameters
    ----------
    noise
        Probability that a segment is the wrong way; with .1, no classifier is right more often than 74 %.
    irrelevant
        Attributes that are 0 or 1 by chance.
    swapped
        How many segments change places with an irrelevant attribute at each drift.
    period
        Rows between drifts; None for no drift.

    Notes
    -----
    Breiman, Friedman, Olshen and Stone, *Classification and regression trees*, 1984, section 2.6.1. Drift by changing places
    as in MOA's LEDGeneratorDrift, where it happens once, before the first row; here it is drawn anew every ``period`` rows.

    Examples
    --------
    >>> x, y = Led(noise=0, irrelevant=0).take(1, np.random.default_rng(0))
    >>> bool((x[0] == DIGITS[y[0]]).all())
    True
    """

    kind: ClassVar[str] = "led"
    classes: ClassVar[int] = 10

    noise: float = 0.1
    irrelevant: int = 17
    swapped: int = 3
    period: int | None = None

    def __post_init__(self) -> None:
        self.check_share("noise", self.noise)
        self.check_count("irrelevant", self.irrelevant, 0)
        if self.period is not None:
            self.check_count("period", self.period)
            most = min(7, self.irrelevant)
            self.check(1 <= self.swapped <= most, f"swapped is {self.swapped}", f"give 1 to {most}")

    @property
    def features(self) -> int:
        """Seven segments and the irrelevant attributes."""
        return 7 + self.irrelevant

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        places, done = np.arange(self.features), 0
        while True:
            y = rng.integers(10, size=BLOCK)
            segments = DIGITS[y] ^ (rng.random((BLOCK, 7)) < self.noise)
            drawn = np.hstack([segments, rng.integers(2, size=(BLOCK, self.irrelevant))]).astype(np.float64)
            x = np.empty_like(drawn)
            for first, last in self._spans(done):
                if first + done and self.period is not None and (first + done) % self.period == 0:
                    places = self._swap(places, rng)
                x[first:last, places] = drawn[first:last]
            yield x, y
            done += BLOCK

    def _spans(self, done: int) -> list[tuple[int, int]]:
        """Parts of a block, given the rows before it, between which drifts are due."""
        due = [] if self.period is None else list(range(-done % self.period, BLOCK, self.period))
        edges = sorted({0, *due, BLOCK})
        return list(pairwise(edges))

    def _swap(self, places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        relevant = rng.permutation(7)[: self.swapped]
        others = 7 + rng.permutation(self.irrelevant)[: self.swapped]
        moved = places.copy()
        moved[relevant], moved[others] = places[others], places[relevant]
        return moved


Kind: TypeAlias = Literal["none", "local", "recurring", "gradual"]


@dataclass(frozen=True)
class Friedman(Stream):
    """Friedman's function of five of ten features, uniform in [0, 1], to regress; with the drifts of Ikonomovska et al.

    Parameters
    ----------
    drift
        ``none``; ``local`` (expanding, abrupt): in two regions of the cube, which grow at the second and third position;
        ``recurring`` (global, abrupt): another function, from the first position to the second; ``gradual`` (global, slow):
        a second function from the first position on and a third from the second on, each for ``over`` rows mixed half and half
        with the one before.
    positions
        Rows at which drifts set in: three for ``local``, else the first two are used.
    over
        Rows that a gradual drift takes.
    noise
        Standard deviation of the normal noise on the label.

    Notes
    -----
    Friedman, *Multivariate adaptive regression splines*, Annals of Statistics 19, 1991, section 4.3; Ikonomovska, Gama and
    Džeroski, *Learning model trees from evolving data streams*, Data Mining and Knowledge Discovery 23, 2011, section 5.1.
    River 0.26 reads the sixth feature, which is irrelevant, where the recurring drift should read the fifth.

    Examples
    --------
    >>> x, y = Friedman(noise=0).take(1, np.random.default_rng(0))
    >>> bool(abs(y[0] - friedman(x, 0)[0]) < 1e-12)
    True
    """

    kind: ClassVar[str] = "friedman"
    features: ClassVar[int] = 10
    classes: ClassVar[int] = 0

    drift: Kind = "none"
    positions: tuple[int, ...] = (50_000, 100_000, 150_000)
    over: int = 10_000
    noise: float = 1.0

    def __post_init__(self) -> None:
        needed = {"none": 0, "local": 3, "recurring": 2, "gradual": 2}
        self.check(self.drift in needed, f"there is no drift {self.drift!r}", f"known: {', '.join(needed)}")
        positions = self.positions[: needed[self.drift]]
        self.check(len(positions) == needed[self.drift], f"{self.drift} drift has {len(positions)} positions", "give more")
        self.check(list(positions) == sorted(set(positions)), f"positions are {self.positions}", "give increasing rows")
        self.check_count("over", self.over, 0)
        if self.drift == "gradual":
            self.check(self.over <= positions[1] - positions[0], f"over is {self.over}", "end a drift before the next begins")
        self.check(0 <= self.noise < np.inf, f"noise is {self.noise}", "give a standard deviation of 0 or more")

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        at = np.arange(BLOCK)
        while True:
            x = rng.random((BLOCK, 10))
            y = self._target(x, at, rng.random(BLOCK) < 0.5)
            yield x, y + self.noise * rng.standard_normal(BLOCK)
            at += BLOCK

    def _target(self, x: Features, at: NDArray[np.int64], coin: NDArray[np.bool_]) -> Numbers:
        y = friedman(x, 0)
        if self.drift == "local":
            return np.asarray(_local(x, (at[:, None] >= self.positions[:3]).sum(axis=1), y))
        if self.drift == "none":
            return y
        first, second = self.positions[:2]
        if self.drift == "recurring":
            return np.asarray(np.where((at >= first) & (at < second), friedman(x, 1), y))
        phase = (at >= first).astype(np.int64) + (at >= second)
        mixed = ((at >= first) & (at < first + self.over)) | ((at >= second) & (at < second + self.over))
        phase -= mixed & coin
        return np.asarray(np.choose(phase, [y, friedman(x, 1), friedman(x, 2)]))


_FEATURES: Final = ((0, 1, 2, 3, 4), (3, 4, 1, 0, 2), (1, 4, 3, 2, 0))


def friedman(x: Features, concept: int) -> Numbers:
    """Friedman's function without noise; concepts 1 and 2 have the features in other places."""
    a, b, c, d, e = (x[:, feature] for feature in _FEATURES[concept])
    return np.asarray(10 * np.sin(np.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e)


def _local(x: Features, grown: NDArray[np.int64], y: Numbers) -> Numbers:
    """The target where two regions follow other functions; ``grown`` counts the positions passed."""
    a, b, c, d, e = x[:, :5].T
    low, high = (b < 0.3) & (c < 0.3), (b > 0.7) & (c > 0.7)
    low &= ((d > 0.7) | (grown > 2)) & ((e < 0.3) | (grown > 1)) & (grown > 0)
    high &= ((d < 0.3) | (grown > 2)) & ((e > 0.7) | (grown > 1)) & (grown > 0)
    in_low = 10 * a * b + 20 * (c - 0.5) + 10 * d + 5 * e
    in_high = 10 * np.cos(a * b) + 20 * (c - 0.5) + np.exp(d) + 5 * e**2
    return np.where(low, in_low, np.where(high, in_high, y))
