"""Labelled rows: datasets by name, and the user's files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import DataError
from estran.learning.bundled import fetch
from estran.learning.learner import Features, Labels
from estran.learning.mistakes import SettingsError, check_known
from estran.learning.tables import SUFFIXES, Columns, read_columns

Scale = Literal["none", "range", "columns", "standard"]

BUNDLED: Final[dict[str, tuple[str, Scale]]] = {
    "digits": ("load_digits", "range"),
    "iris": ("load_iris", "standard"),
    "wine": ("load_wine", "standard"),
    "breast-cancer": ("load_breast_cancer", "standard"),
}
"""Datasets that scikit-learn carries, with its loader and the scale they come in unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows and their classes.

    Attributes
    ----------
    x
        Shape (n, d), finite.
    y
        Shape (n,), class indices from 0.
    labels
        What each class is called in the source, by index.
    columns
        Names of the features.
    """

    name: str
    x: Features
    y: Labels
    labels: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def features(self) -> int:
        """Width of a row."""
        return int(self.x.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """Which data, and how to read it.

    Attributes
    ----------
    name
        A dataset by name: digits, iris, wine, breast-cancer.
    file
        Instead of a name: a CSV, TSV, Parquet or NPZ file, from the experiment file's folder. An NPZ holds the rows as ``x``.
    label
        The column (NPZ: the array) that holds the class; ``label`` unless told otherwise, ``y`` in an NPZ.
    columns
        The feature columns of a file; all but the label's unless told otherwise.
    scale
        ``none``; ``range``: the whole table to [0, 1] (images); ``columns``: each column to [0, 1]; ``standard``: each column to
        mean 0 and standard deviation 1. A dataset by name has its own usual one, a file has none. Scales are taken from the
        whole table, rows to come included.
    """

    name: str | None = None
    file: str | None = None
    label: str | None = None
    columns: tuple[str, ...] | None = None
    scale: Scale | None = None

    def __post_init__(self) -> None:
        if (self.name is None) == (self.file is None):
            raise SettingsError(
                "data has a name or a file, one of them", where="data", remedy="write {name: digits} or {file: rows.csv}"
            )
        if self.name is not None:
            check_known(self.name, BUNDLED, kind="dataset", where="data")
            if self.label is not None or self.columns is not None:
                raise SettingsError("label and columns are for files", where="data", remedy="leave them out, or write {file: …}")


def data_choice(choice: str | Data) -> Data:
    """Read a short form: a dataset's name, or a file's path.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    if isinstance(choice, Data):
        return choice
    return Data(file=choice) if choice.endswith(SUFFIXES) else Data(name=choice)


def load(choice: str | Data, folder: str | Path = ".") -> Dataset:
    """Load labelled rows.

    Parameters
    ----------
    choice
        What to load.
    folder
        Where a file's relative path starts.

    Returns
    -------
    Dataset
        Its arrays are read-only: who loads the same again gets the same ones.

    Raises
    ------
    DataError
        If a file or column is missing, a value is not a finite number, or scikit-learn is not installed.
    SettingsError
        If the choice is wrong.
    """
    wanted = data_choice(choice)
    if wanted.file is not None:
        path = Path(folder) / wanted.file
        return _from_file(wanted, path, _stamp(path))
    assert wanted.name is not None
    return _bundled(wanted.name, wanted.scale)


def _stamp(path: Path) -> tuple[int, int]:
    """When a file was changed last, and its size; zeros for one that is not there, which its reader tells of."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_mtime_ns, facts.st_size


def _shared(data: Dataset) -> Dataset:
    """Many sources of one process may hold it, so nobody may change it."""
    data.x.setflags(write=False)
    data.y.setflags(write=False)
    return data


@lru_cache(maxsize=4)
def _bundled(name: str, scale: Scale | None) -> Dataset:
    loader, usual = BUNDLED[name]
    bunch = fetch(name, loader)
    x = _SCALES[scale or usual](bunch.data)
    return _shared(Dataset(name, x, bunch.target, tuple(map(str, bunch.target_names)), tuple(map(str, bunch.feature_names))))


@lru_cache(maxsize=4)
def _from_file(wanted: Data, path: Path, stamp: tuple[int, int]) -> Dataset:
    found = read_columns(path)
    archive = path.suffix == ".npz"
    label = wanted.label or ("y" if archive else "label")
    features = wanted.columns or (("x",) if archive else tuple(name for name in found if name != label))
    for name in (*features, label):
        _check_column(name, found, path)
    if not features:
        raise DataError(f"it has no column besides {label!r}", where=str(path), remedy="add feature columns")
    if not len(found[label]):
        raise DataError("it has no rows", where=str(path), remedy="add some")
    x = np.hstack([_numbers(found[name], name, path) for name in features])
    classes, y = np.unique(found[label], return_inverse=True)
    if len(y) != len(x):
        raise DataError(f"it has {len(x)} rows but {len(y)} labels", where=str(path), remedy="give each row one label")
    if classes.dtype.kind == "f" and np.isnan(classes).any():
        raise DataError(f"column {label!r} has rows without a class", where=str(path), remedy="drop such rows first")
    names = features if len(features) == x.shape[1] else tuple(f"x{i}" for i in range(x.shape[1]))
    scaled = _SCALES[wanted.scale or "none"](x)
    return _shared(Dataset(path.stem, scaled, y.astype(np.int64).reshape(-1), tuple(map(str, classes.tolist())), names))


def _check_column(name: str, found: Columns, path: Path) -> None:
    try:
        check_known(name, found, kind="column", where=str(path))
    except SettingsError as error:
        raise DataError(error.what, where=str(path), remedy=error.remedy) from error


def _numbers(column: NDArray[Any], name: str, path: Path) -> Features:
    """A column, or an array of rows of any shape, as a table of finite numbers."""
    if column.dtype.kind not in "biuf":
        raise DataError(
            f"column {name!r} holds {column.dtype} values, not numbers", where=str(path), remedy="leave it out by columns: […]"
        )
    table = column.astype(np.float64).reshape(len(column), -1)
    bad = ~np.isfinite(table)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        raise DataError(
            f"column {name!r} is not a finite number in row {row + 1}", where=str(path), remedy="drop or fill such rows first"
        )
    return table


def _stretch(x: Features, low: Any, high: Any) -> Features:
    width = np.asarray(high - low)
    return np.asarray((x - low) / np.where(width > 0, width, 1))


def _standard(x: Features) -> Features:
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1))


_SCALES: Final[dict[Scale, Callable[[Features], Features]]] = {
    "none": lambda x: x,
    "range": lambda x: _stretch(x, x.min(), x.max()),
    "columns": lambda x: _stretch(x, x.min(axis=0), x.max(axis=0)),
    "standard": _standard,
}
