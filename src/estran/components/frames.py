"""Arrays that another process writes, one after the other as ``.npy``, read without ever waiting for long."""

from __future__ import annotations

import math
import os
import select
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from estran.errors import EstranError

LARGEST: Final = 2**28
"""Bytes of an array; what claims to be larger is taken for garbage."""
_CHUNK: Final = 2**20
_HEADERS: Final[dict[tuple[int, int], Any]] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class SimulationError(EstranError):
    """One simulation failed: its simulator crashed, fell silent, or wrote what is no time step."""


class Frames:
    """Reads arrays from a pipe.

    Parameters
    ----------
    fd
        The pipe's end; it stays the caller's.
    timeout
        Seconds without a byte after which the writer counts as hung.
    """

    def __init__(self, fd: int, timeout: float) -> None:
        self._fd, self._timeout = fd, timeout
        self._held = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLHUP)

    def next(self, patience: float | None = None) -> NDArray[Any] | None:
        """The next array; None at the end.

        Parameters
        ----------
        patience
            Seconds to wait for its first byte, if not the timeout.

        Raises
        ------
        SimulationError
            If the writer falls silent, what it writes is no array of numbers, or it ends in the middle of one.
        """
        if not self._more(1, patience):
            return None
        shape, by_columns, dtype = self._header()
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "fiub" or min(shape, default=0) < 0 or size > LARGEST:
            raise SimulationError(f"wrote an array of {dtype} and shape {shape}, which is no time step")
        data = self.read(size)
        if len(data) < size:
            raise SimulationError("ended in the middle of an array")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")

    def _header(self) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        """Shape, order and type of the array that begins."""
        try:
            found: tuple[tuple[int, ...], bool, np.dtype[Any]] = _HEADERS[npy.read_magic(self)](self)  # type: ignore[arg-type]
            return found
        except SimulationError:
            raise
        except Exception as error:  # whatever NumPy's reader, and Python's own beneath it, make of garbage
            raise SimulationError(f"wrote garbage where an array should begin: {error}") from error

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        self._more(size)
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _more(self, size: int, patience: float | None = None) -> bool:
        """Hold so many bytes, if there are; whether there are."""
        seconds = self._timeout if patience is None else patience
        parts, held = [self._held], len(self._held)
        while held < size:
            if not self._poll.poll(seconds * 1e3):
                raise SimulationError(f"fell silent for {seconds:g}s")
            part = os.read(self._fd, _CHUNK)
            if not part:
                break
            parts.append(part)
            held += len(part)
        self._held = b"".join(parts)
        return held >= size
