"""Arrays whose first element begins a cache line, so that a vector of 64 bytes is fetched from one line and not from two."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LINE: Final = 64
"""Bytes of a cache line."""


def zeros(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin at a multiple of `LINE`.

    Examples
    --------
    >>> array = zeros((3, 5), np.dtype(np.float32))
    >>> array.shape, array.ctypes.data % 64, array.flags.c_contiguous
    ((3, 5), 0, True)
    """
    count = int(np.prod(shape))
    room = np.zeros(count + LINE // dtype.itemsize, dtype)
    # NumPy begins at multiples of 16, which elements divide.
    start = -room.ctypes.data % LINE // dtype.itemsize
    return room[start : start + count].reshape(shape)


def padded(count: int, dtype: np.dtype[Any]) -> int:
    """How many elements a row of ``count`` needs, for the next one to begin a line, too."""
    each = LINE // dtype.itemsize
    return -(-count // each) * each
