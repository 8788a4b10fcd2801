"""Compiles the kernels. Importing it imports numba, so only the flow engine does so, when it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba

from estran.learning.compiled import kept

F = TypeVar("F", bound=Callable[..., Any])

_BARE: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without counting references, which would take most of the time: such code can use arrays that it is given, and make none."""


def inlined(function: F) -> F:
    """Compile as a piece of those that call it: the tables that they hand on would cost more than the work."""
    return cast(F, numba.njit(forceinline=True, **_BARE)(function))


def compiled(function: F) -> F:
    """Compile at the first call, and keep the machine code; the function makes no arrays."""
    return kept(function, _BARE)


def allocating(function: F) -> F:
    """Compile at the first call, and keep the machine code, of a function that makes arrays."""
    return kept(function, {**_BARE, "_nrt": True})
