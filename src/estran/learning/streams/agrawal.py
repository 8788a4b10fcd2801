"""Agrawal's loan applicants: nine attributes, ten functions that part them into two groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, Labels
from estran.learning.streams.stream import BLOCK, Chunk, Stream

COLUMNS: Final = ("salary", "commission", "age", "elevel", "car", "zipcode", "hvalue", "hyears", "loan")
"""The attributes, in the order of a row's features."""

Column: TypeAlias = NDArray[np.float64]
Group: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Agrawal(Stream):
    """Applicants in group A (class 0) or B (class 1), by one of ten functions of their attributes.

    Parameters
    ----------
    functions
        Numbers of the functions, 1 to 10, in the order in which they apply; after the last, the first comes again.
    block
        Rows for which each function applies, where there are several.
    perturbation
        p: a numeric attribute is changed by ``r p a``, with a the width of its range and r uniform in [-0.5, 0.5], after its
        group has been decided; it stays in its range.

    Notes
    -----
    Agrawal, Imielinski and Swami, *Database mining: a performance perspective*, IEEE TKDE 5(6), 1993, appendix. Groups A
    of functions 7 to 10 have ``0.67 (salary + commission) …`` greater than 0. River 0.26 differs from it: its function 5 compares
    the salary where the loan is meant, 0.67 is 2/3, commissions reach 85 000 instead of 75 000, houses in one of its zip codes
    are worth nothing, and the group that is class 1 differs between functions.

    Examples
    --------
    >>> x, y = Agrawal(functions=(1,)).take(3, np.random.default_rng(0))
    >>> [(int(age), int(group)) for age, group in zip(x[:, COLUMNS.index("age")], y)]
    [(48, 1), (37, 0), (34, 0)]
    """

    kind: ClassVar[str] = "agrawal"
    features: ClassVar[int] = 9
    classes: ClassVar[int] = 2

    functions: tuple[int, ...] = (1,)
    block: int = 10_000
    perturbation: float = 0.05

    def __post_init__(self) -> None:
        known = bool(self.functions) and all(1 <= function <= 10 for function in self.functions)
        self.check(known, f"functions are {self.functions}", "give numbers from 1 to 10")
        self.check_count("block", self.block)
        self.check_share("perturbation", self.perturbation)

    def blocks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        at = np.arange(BLOCK)
        while True:
            x = _applicants(rng)
            function = np.array(self.functions)[at // self.block % len(self.functions)]
            y = np.empty(BLOCK, dtype=np.int64)
            for number in np.unique(function):
                y[function == number] = agrawal_label(x[function == number], int(number))
            yield self._perturbed(x, rng), y
            at += BLOCK

    def _perturbed(self, x: Features, rng: np.random.Generator) -> Features:
        for name, (low, high) in _RANGES.items():
            column = COLUMNS.index(name)
            changed = x[:, column] + rng.uniform(-0.5, 0.5, BLOCK) * self.perturbation * (high - low)
            if name in ("age", "hyears"):
                changed = np.round(changed)
            # Who has no commission has none: it is not a value in the range.
            x[:, column] = np.where(x[:, column] > 0, np.clip(changed, low, high), x[:, column])
        worth = 100_000 * (9 - x[:, COLUMNS.index("zipcode")])
        house = x[:, COLUMNS.index("hvalue")] + rng.uniform(-0.5, 0.5, BLOCK) * self.perturbation * worth
        x[:, COLUMNS.index("hvalue")] = np.clip(house, 0.5 * worth, 1.5 * worth)
        return x


_RANGES: Final = {
    "salary": (20_000, 150_000),
    "commission": (10_000, 75_000),
    "age": (20, 80),
    "hyears": (1, 30),
    "loan": (0, 500_000),
}


def agrawal_label(x: Features, function: int) -> Labels:
    """Group of each applicant by a function, 1 to 10: 0 for group A, 1 for B."""
    row = dict(zip(COLUMNS, x.T, strict=True))
    return np.asarray(~_FUNCTIONS[function](row), dtype=np.int64)


def _applicants(rng: np.random.Generator) -> Features:
    salary = rng.uniform(20_000, 150_000, BLOCK)
    commission = np.where(salary >= 75_000, 0, rng.uniform(10_000, 75_000, BLOCK))
    age, elevel = rng.integers(20, 81, BLOCK), rng.integers(0, 5, BLOCK)
    car, zipcode = rng.integers(1, 21, BLOCK), rng.integers(0, 9, BLOCK)
    hvalue = (9 - zipcode) * 100_000 * rng.uniform(0.5, 1.5, BLOCK)
    hyears, loan = rng.integers(1, 31, BLOCK), rng.uniform(0, 500_000, BLOCK)
    return np.column_stack([salary, commission, age, elevel, car, zipcode, hvalue, hyears, loan]).astype(np.float64)


def _by_age(row: dict[str, Column], young: Group, middle: Group, old: Group) -> Group:
    return np.where(row["age"] < 40, young, np.where(row["age"] < 60, middle, old))


def _in(column: Column, low: float, high: float) -> Group:
    return np.asarray((low <= column) & (column <= high))


def _f1(row: dict[str, Column]) -> Group:
    return np.asarray((row["age"] < 40) | (row["age"] >= 60))


def _earning(row: dict[str, Column], earned: Column) -> Group:
    return _by_age(row, _in(earned, 50e3, 100e3), _in(earned, 75e3, 125e3), _in(earned, 25e3, 75e3))


def _f3(row: dict[str, Column]) -> Group:
    level = row["elevel"]
    return _by_age(row, _in(level, 0, 1), _in(level, 1, 3), _in(level, 2, 4))


def _f4(row: dict[str, Column]) -> Group:
    level, salary = row["elevel"], row["salary"]
    low, middle, high = _in(salary, 25e3, 75e3), _in(salary, 50e3, 100e3), _in(salary, 75e3, 125e3)
    young = np.where(_in(level, 0, 1), low, middle)
    return _by_age(row, young, np.where(_in(level, 1, 3), middle, high), np.where(_in(level, 2, 4), middle, low))


def _f5(row: dict[str, Column]) -> Group:
    salary, loan = row["salary"], row["loan"]
    young = np.where(_in(salary, 50e3, 100e3), _in(loan, 100e3, 300e3), _in(loan, 200e3, 400e3))
    middle = np.where(_in(salary, 75e3, 125e3), _in(loan, 200e3, 400e3), _in(loan, 300e3, 500e3))
    old = np.where(_in(salary, 25e3, 75e3), _in(loan, 300e3, 500e3), _in(loan, 100e3, 300e3))
    return _by_age(row, young, middle, old)


def _disposable(row: dict[str, Column], *, level: float, loan: float, equity: float, less: float) -> Group:
    built_up = row["hvalue"] * np.maximum(row["hyears"] - 20, 0) / 10
    income = 0.67 * (row["salary"] + row["commission"])
    return np.asarray(income - level * row["elevel"] - loan * row["loan"] + equity * built_up - less > 0)


_FUNCTIONS: Final[dict[int, Callable[[dict[str, Column]], Group]]] = {
    1: _f1,
    2: lambda row: _earning(row, row["salary"]),
    3: _f3,
    4: _f4,
    5: _f5,
    6: lambda row: _earning(row, row["salary"] + row["commission"]),
    7: lambda row: _disposable(row, level=0, loan=0.2, equity=0, less=20e3),
    8: lambda row: _disposable(row, level=5e3, loan=0, equity=0, less=20e3),
    9: lambda row: _disposable(row, level=5e3, loan=0.2, equity=0, less=10e3),
    10: lambda row: _disposable(row, level=5e3, loan=0, equity=0.2, less=10e3),
}
