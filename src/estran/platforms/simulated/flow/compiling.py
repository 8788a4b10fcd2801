"""Compiles the kernels. Importing it imports numba, so only the flow engine does so, when it is used."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_BARE: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without counting references, which would take most of the time: such code can use arrays that it is given, and make none."""


def inlined(function: F) -> F:
    """Compile as a piece of those that call it: the tables that they hand on would cost more than the work."""
    return cast(F, numba.njit(forceinline=True, **_BARE)(function))


def compiled(function: F) -> F:
    """Compile at the first call, and keep the machine code; the function makes no arrays."""
    return _cached(function, _BARE)


def allocating(function: F) -> F:
    """Compile at the first call, and keep the machine code, of a function that makes arrays."""
    return _cached(function, {**_BARE, "_nrt": True})


def _cached(function: F, options: dict[str, Any]) -> F:
    """Keep the machine code on disk wherever numba finds a writable place.

    numba takes code from its cache as long as the file of the function itself is unchanged, whatever became of what it calls: see
    `_forget_stale`.
    """
    kernel: Any
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warnings.warn(f"{error}; the engine is compiled anew in every process", RuntimeWarning, stacklevel=3)
        kernel = numba.njit(**options)(function)
    return cast(F, kernel)


def _forget_stale() -> None:
    """Delete machine code beside this file that is older than any of our sources: it may hold pieces of what they were."""
    folder = Path(__file__).parent
    changed = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in folder.glob("__pycache__/*.nbi"):
        with suppress(FileNotFoundError, PermissionError):
            if index.stat().st_mtime < changed:
                index.unlink()


_forget_stale()
