"""Streams of recorded rows: as they are, class by class, domain by domain, permuted, rotated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels
from estran.learning.streams.stream import Chunk, Stream


@dataclass(frozen=True, eq=False)
class Recorded(Stream):
    """Rows in the order in which they were recorded; the stream ends with them.

    Parameters
    ----------
    x, y
        Shapes (n, d) and (n,), n > 0: finite numbers, and class indices from 0.

    Examples
    --------
    >>> stream = Recorded(np.arange(4.0)[:, None], np.array([0, 1, 1, 0]))
    >>> [y.tolist() for _, y in stream.chunks(np.random.default_rng(0), size=3)]
    [[0, 1, 1], [0]]
    """

    kind: ClassVar[str] = "recorded"

    x: Features = field(repr=False)
    y: Labels = field(repr=False)

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, dtype=np.float64), np.asarray(self.y)
        self.check(x.ndim == 2 and y.shape == (len(x),), f"rows of shape {x.shape}, labels of {y.shape}", "give one label a row")
        self.check(len(x) > 0, "there are no rows", "give one at least")
        self.check(y.dtype.kind in "iu" and y.min() >= 0, "labels are not class indices", "give integers from 0")
        self.check(bool(np.isfinite(x).all()), "a row holds a NaN or an infinity", "clean the data")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y.astype(np.int64))

    @property
    def features(self) -> int:
        """Width of a row."""
        return int(self.x.shape[1])

    @property
    def classes(self) -> int:
        """One more than the highest label."""
        return int(self.y.max()) + 1

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        yield self.x, self.y


@dataclass(frozen=True, eq=False)
class _Tasks(Recorded):
    """Rows in tasks, one after another; each task's in an order drawn by chance."""

    @property
    def starts(self) -> list[int]:
        """Row of the stream at which each task begins."""
        sizes = [len(rows) for rows in self._tasks()]
        return [0, *np.cumsum(sizes)[:-1].tolist()]

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        for task, rows in enumerate(self._tasks()):
            yield self._changed(task, rng.permutation(rows), rng)

    @abstractmethod
    def _tasks(self) -> list[NDArray[np.int64]]:
        """Which rows each task has."""

    def _changed(self, task: int, rows: NDArray[np.int64], rng: np.random.Generator) -> Chunk:
        return self.x[rows], self.y[rows]


@dataclass(frozen=True, eq=False)
class ClassIncremental(_Tasks):
    """Task after task brings classes that were not there before; labels stay what they are.

    Parameters
    ----------
    x, y
        As in `Recorded`.
    per_task
        How many classes come together, in increasing order; the last task may have fewer.

    Notes
    -----
    Class-incremental learning as in van de Ven, Tuytelaars and Tolias, *Three types of incremental learning*, Nature Machine
    Intelligence 4, 2022.

    Examples
    --------
    >>> x, y = np.zeros((6, 1)), np.array([2, 0, 1, 0, 3, 2])
    >>> stream = ClassIncremental(x, y, per_task=2)
    >>> stream.starts, sorted(stream.take(3, np.random.default_rng(0))[1].tolist())
    ([0, 3], [0, 0, 1])
    """

    kind: ClassVar[str] = "class-incremental"

    per_task: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_count("per_task", self.per_task)

    def _tasks(self) -> list[NDArray[np.int64]]:
        present = np.unique(self.y)
        groups = [present[start : start + self.per_task] for start in range(0, len(present), self.per_task)]
        return [np.flatnonzero(np.isin(self.y, group)) for group in groups]


@dataclass(frozen=True, eq=False)
class DomainIncremental(ClassIncremental):
    """The same tasks, but a label says only which of its task's classes a row is of: 0 for the first, and so on.

    Parameters
    ----------
    x, y, per_task
        As in `ClassIncremental`.

    Notes
    -----
    Domain-incremental learning as in van de Ven, Tuytelaars and Tolias, 2022: the question stays, what it is asked about changes.

    Examples
    --------
    >>> stream = DomainIncremental(np.zeros((4, 1)), np.array([3, 0, 1, 2]))
    >>> stream.classes, sorted(stream.take(2, np.random.default_rng(0))[1].tolist())
    (2, [0, 1])
    """

    kind: ClassVar[str] = "domain-incremental"

    @property
    def classes(self) -> int:
        """Classes of a task."""
        return min(self.per_task, len(np.unique(self.y)))

    def _changed(self, task: int, rows: NDArray[np.int64], rng: np.random.Generator) -> Chunk:
        place = np.searchsorted(np.unique(self.y), self.y[rows])
        return self.x[rows], (place % self.per_task).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Permuted(_Tasks):
    """All rows again in every task, with the features in another order; the first task has them as they are.

    Parameters
    ----------
    x, y
        As in `Recorded`.
    tasks
        How many tasks.

    Notes
    -----
    Goodfellow, Mirza, Xiao, Courville and Bengio, *An empirical investigation of catastrophic forgetting*, ICLR 2014.

    Examples
    --------
    >>> x, y = Permuted(np.array([[1.0, 2.0, 3.0]]), np.array([0]), tasks=2).take(2, np.random.default_rng(0))
    >>> x[0].tolist(), sorted(x[1].tolist())
    ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    """

    kind: ClassVar[str] = "permuted"

    tasks: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_count("tasks", self.tasks)

    def _tasks(self) -> list[NDArray[np.int64]]:
        return [np.arange(len(self.y))] * self.tasks

    def _changed(self, task: int, rows: NDArray[np.int64], rng: np.random.Generator) -> Chunk:
        columns = rng.permutation(self.features) if task else np.arange(self.features)
        return self.x[rows][:, columns], self.y[rows]


@dataclass(frozen=True, eq=False)
class Rotated(_Tasks):
    """All rows again in every task, as images turned about their middle; what comes in from outside is 0.

    Parameters
    ----------
    x, y
        As in `Recorded`.
    shape
        Height and width of the image that a row is, line by line.
    angles
        Of each task, in degrees, anticlockwise. Pixels between pixels are interpolated from the four around.

    Notes
    -----
    Rotated images as in Lopez-Paz and Ranzato, *Gradient episodic memory for continual learning*, NeurIPS 2017, section 4.

    Examples
    --------
    >>> stream = Rotated(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([0]), shape=(2, 2), angles=(0, 90))
    >>> stream.take(2, np.random.default_rng(0))[0].round(9).tolist()
    [[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 1.0, 3.0]]
    """

    kind: ClassVar[str] = "rotated"

    shape: tuple[int, int] = (28, 28)
    angles: tuple[float, ...] = (0.0, 20.0, 40.0, 60.0, 80.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width = self.shape
        self.check(
            height * width == self.features, f"{height} by {width} is not {self.features} features", "give the images' shape"
        )
        self.check(len(self.angles) > 0 and bool(np.isfinite(self.angles).all()), f"angles are {self.angles}", "give degrees")

    def _tasks(self) -> list[NDArray[np.int64]]:
        return [np.arange(len(self.y))] * len(self.angles)

    def _changed(self, task: int, rows: NDArray[np.int64], rng: np.random.Generator) -> Chunk:
        return rotated(self.x[rows], self.shape, self.angles[task]), self.y[rows]


def rotated(x: Features, shape: tuple[int, int], degrees: float) -> Features:
    """Images, one a row, turned anticlockwise about their middle with bilinear interpolation."""
    height, width = shape
    line, column = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    up, right = line - (height - 1) / 2, column - (width - 1) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # Where each pixel of the result comes from; rounding keeps a right angle on the grid.
    source_line = np.round(cosine * up + sine * right + (height - 1) / 2, 9)
    source_column = np.round(-sine * up + cosine * right + (width - 1) / 2, 9)
    top, left = np.floor(source_line).astype(np.int64), np.floor(source_column).astype(np.int64)
    turned = np.zeros_like(x)
    for below in (0, 1):
        for beside in (0, 1):
            i, j = top + below, left + beside
            share = (1 - np.abs(source_line - i)) * (1 - np.abs(source_column - j))
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            turned[:, inside] += share[inside] * x[:, (i * width + j)[inside]]
    return turned
