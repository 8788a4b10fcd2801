"""Columns of the user's files: CSV, NPZ, Parquet."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import DataError

Columns = dict[str, NDArray[Any]]

_READERS: Final = {".csv": "read_csv", ".tsv": "read_csv", ".parquet": "read_parquet"}
_DAMAGED: Final = (
    ValueError, OSError, EOFError, MemoryError, OverflowError, RuntimeError, KeyError, struct.error, zlib.error, zipfile.BadZipFile
)  # fmt: skip
"""What reading an archive of arrays may raise; one that claims more than there is memory for, too."""
SUFFIXES: Final = (*_READERS, ".npz")


def read_columns(path: Path) -> Columns:
    """Read a table: columns by name; missing values are NaN in numbers, and refused elsewhere.

    Parameters
    ----------
    path
        A CSV or TSV file with a header line, a Parquet file, or an NPZ archive of arrays.

    Raises
    ------
    DataError
        If there is no such file, its kind is unknown, or it cannot be read.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), remedy="relative paths start at the experiment file's folder")
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix not in _READERS:
        raise DataError(
            f"{path.suffix or 'no suffix'} is not a known kind of table", where=str(path), remedy=f"known: {', '.join(SUFFIXES)}"
        )
    return _read_sql(path)


def _read_npz(path: Path) -> Columns:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGED as error:
        raise DataError(
            f"it cannot be read: {error}", where=str(path), remedy="write it by numpy.savez, without objects"
        ) from error


def _read_sql(path: Path) -> Columns:
    import duckdb

    options = ", header = true" if path.suffix != ".parquet" else ""
    with duckdb.connect() as database:
        try:
            found = database.execute(f"SELECT * FROM {_READERS[path.suffix]}(?{options})", [str(path)]).fetchnumpy()  # noqa: S608 - fixed names
        except duckdb.Error as error:
            raise DataError(f"it cannot be read: {str(error).splitlines()[0]}", where=str(path), remedy="look at it") from error
    return {name: _filled(column, name, path) for name, column in found.items()}


def _filled(column: Any, name: str, path: Path) -> NDArray[Any]:
    if not np.ma.is_masked(column):
        return np.asarray(column)
    if column.dtype.kind in "iuf":
        return np.ma.filled(column.astype(np.float64), np.nan)
    row = int(np.argmax(np.ma.getmaskarray(column)))
    raise DataError(f"column {name!r} has no value in row {row + 1}", where=str(path), remedy="drop or fill such rows first")
