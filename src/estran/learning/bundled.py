"""Datasets that scikit-learn carries, kept as arrays in the user's cache: importing scikit-learn takes seconds on a slow device."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from estran.errors import DataError


@dataclass(frozen=True, slots=True)
class Bunch:
    """A dataset as scikit-learn gives it: rows, class indices, names of classes and of features."""

    data: NDArray[np.float64]
    target: NDArray[np.int64]
    target_names: NDArray[np.str_]
    feature_names: NDArray[np.str_]


def fetch(name: str, loader: str) -> Bunch:
    """A dataset by its name and the loader's, from the cache or else from scikit-learn.

    Raises
    ------
    DataError
        If scikit-learn is not installed.
    """
    try:
        version = metadata.version("scikit-learn")
    except metadata.PackageNotFoundError as error:
        raise DataError(
            f"the dataset {name} comes with scikit-learn, which is not installed",
            where="data",
            remedy="pip install 'estran[sklearn]'",
        ) from error
    kept = cache_folder() / f"{name}-{version}.npz"
    # Absent or unreadable: made anew.
    with suppress(OSError, ValueError, KeyError, BadZipFile, EOFError), np.load(kept, allow_pickle=False) as found:
        return Bunch(found["data"], found["target"], found["target_names"], found["feature_names"])
    from sklearn import datasets

    raw: Any = getattr(datasets, loader)()
    bunch = Bunch(
        np.asarray(raw.data, dtype=np.float64),
        np.asarray(raw.target, dtype=np.int64),
        np.array([str(one) for one in raw.target_names]),
        np.array([str(one) for one in raw.feature_names]),
    )
    with suppress(OSError):  # a cache that cannot be written only costs time
        _keep(bunch, kept)
    return bunch


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/estran/datasets``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "estran" / "datasets"


def _keep(bunch: Bunch, path: Path) -> None:
    """Write whole or not at all: several sources may do this at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez(file, data=bunch.data, target=bunch.target, target_names=bunch.target_names, feature_names=bunch.feature_names)
    Path(file.name).replace(path)
