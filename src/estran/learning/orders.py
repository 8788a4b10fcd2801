"""In which order the rows of a dataset stream out, and which replica of a source has which rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Labels
from estran.learning.mistakes import SettingsError
from estran.units import Fraction

OrderKind: TypeAlias = Literal["as-is", "shuffled", "class-incremental"]
Partition: TypeAlias = Literal["iid", "by-class", "shared"]
Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """An order of rows. All but ``kind`` is for ``class-incremental``, where classes arrive one task after another.

    Attributes
    ----------
    kind
        ``as-is``; ``shuffled`` anew in every pass; ``class-incremental``.
    mix
        ``cumulative``: a task adds its classes to those already there, all equally likely, and once all have arrived they stay.
        ``strict``: a task has its own classes only, and every pass starts over.
    classes_per_task
        How many classes arrive together.
    task_size
        Samples per task; None for an equal share of the rows (``cumulative``), or all rows of its classes (``strict``).
    blur
        Probability that a sample comes from any class, regardless of the task.
    classes
        Which class arrives when; None for 0, 1, 2, …
    """

    kind: OrderKind = "as-is"
    mix: Literal["cumulative", "strict"] = "cumulative"
    classes_per_task: int = 1
    task_size: int | None = None
    blur: Fraction = 0.0
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.classes_per_task < 1 or (self.task_size is not None and self.task_size < 1):
            raise SettingsError("a task has at least one class and one sample", where="order", remedy="give positive numbers")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise SettingsError("a class arrives once", where="order.classes", remedy="name each class once")


@dataclass(frozen=True)
class Dealt:
    """Classes that replicas have unequal shares of.

    Attributes
    ----------
    dirichlet
        Concentration of the Dirichlet distribution that the shares of each class are drawn from: the smaller, the fewer replicas
        have most of a class; 100 is nearly alike.

    Notes
    -----
    Yurochkin et al., *Bayesian nonparametric federated learning of neural networks*, ICML 2019.
    """

    dirichlet: float

    def __post_init__(self) -> None:
        if not 0 < self.dirichlet < float("inf"):
            raise SettingsError(f"dirichlet is {self.dirichlet}", where="partition", remedy="give a number above 0, such as 0.5")


def order_choice(choice: OrderKind | Order) -> Order:
    """Read a short form."""
    return choice if isinstance(choice, Order) else Order(choice)


def passes(wanted: Order, y: Labels, rng: np.random.Generator) -> Iterator[Indices]:
    """Row numbers of one pass over the data after another, without end.

    Parameters
    ----------
    wanted
        The order.
    y
        Class of each row, shape (n,), n > 0.
    rng
        Source of every shuffle.

    Yields
    ------
    NDArray
        Indices into ``y``; never empty. A pass has as many as there are rows, unless ``task_size`` says otherwise.
    """
    if wanted.kind == "class-incremental":
        yield from _arriving(wanted, y, rng)
    while True:
        yield np.arange(len(y)) if wanted.kind == "as-is" else rng.permutation(len(y))


def partition(y: Labels, how: Partition | Dealt, index: int, replicas: int, seed: int = 0) -> Indices:
    """Rows that one replica of a source has; every row is somebody's, whatever the seed, as long as all replicas have the same.

    Parameters
    ----------
    how
        ``iid``: rows are dealt so that every replica has its share of every class. ``by-class``: classes are dealt to replicas.
        ``shared``: every replica has all rows. `Dealt`: unequal shares of every class.
    seed
        Of the shares that are drawn.
    """
    if isinstance(how, Dealt):
        return np.flatnonzero(dealt(y, how, replicas, seed) == index)
    if how == "shared" or replicas == 1:
        return np.arange(len(y))
    if how == "by-class":
        return np.flatnonzero(y % replicas == index)
    by_class = np.argsort(y, kind="stable")
    return np.sort(by_class[index::replicas])


def dealt(y: Labels, how: Dealt, replicas: int, seed: int) -> Indices:
    """Which replica has each row."""
    rng = np.random.default_rng(seed)
    owners = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        shares = rng.dirichlet(np.full(replicas, how.dirichlet))
        ends = np.rint(np.cumsum(shares) * len(rows))
        owners[rows] = np.minimum(np.searchsorted(ends, np.arange(len(rows)), side="right"), replicas - 1)
    return owners


def _arriving(wanted: Order, y: Labels, rng: np.random.Generator) -> Iterator[Indices]:
    """Passes in which classes arrive: one if they then stay, else without end."""
    tasks = _tasks(wanted, y)
    size = wanted.task_size
    while True:
        if wanted.mix == "cumulative":
            size = size or max(1, len(y) // len(tasks))
            pools = [np.flatnonzero(np.isin(y, np.concatenate(tasks[: i + 1]))) for i in range(len(tasks))]
        else:
            pools = [np.flatnonzero(np.isin(y, task)) for task in tasks]
        yield np.concatenate([_blurred(wanted.blur, len(y), _balanced(pool, y, size or len(pool), rng), rng) for pool in pools])
        if wanted.mix == "cumulative":
            return


def _tasks(wanted: Order, y: Labels) -> list[Labels]:
    present = np.unique(y)
    chosen = present if wanted.classes is None else np.array([c for c in wanted.classes if c in present], dtype=np.int64)
    if not len(chosen):
        raise SettingsError(
            f"none of the classes {wanted.classes} is in the data", where="order.classes", remedy="name classes from 0"
        )
    starts = range(0, len(chosen), wanted.classes_per_task)
    return [chosen[start : start + wanted.classes_per_task] for start in starts]


def _balanced(pool: Indices, y: Labels, size: int, rng: np.random.Generator) -> Indices:
    """Draw from a pool without repeating a row before all have been drawn."""
    rounds = [rng.permutation(pool) for _ in range(-(-size // len(pool)))]
    return np.concatenate(rounds)[:size]


def _blurred(blur: float, rows: int, drawn: Indices, rng: np.random.Generator) -> Indices:
    if blur == 0:
        return drawn
    return np.where(rng.random(len(drawn)) < blur, rng.integers(rows, size=len(drawn)), drawn)
